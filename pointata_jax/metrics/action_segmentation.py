"""Scores of action segmentation: frame accuracy, segmental edit score, F1 of matched segments.

There are two modes. "official" reproduces the evaluator of the HOI4D benchmark (`train_p4.py` of
github.com/hoi4d/HOI4D_ActionSeg) with its errors, for comparison with published numbers.
"corrected" computes what that evaluator intends. The modes differ in three ways:

- In "official" the last segment ends one frame early. A last segment of one frame is then empty and
  its overlap is 0/0, so a correct one counts as a false positive and as a false negative.
- "official" averages the accuracies of batches, so a short last batch has too much weight.
  "corrected" averages over frames.
- "corrected" removes frames with the target -1 from both sequences. "official" treats -1 as a label
  like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

from pointata_jax.errors import InputError

THRESHOLDS = (0.10, 0.25, 0.50)
"""Minimum overlap (intersection over union) of a matched pair of segments, one F1 score each."""

OFFICIAL_BATCH = 8
"""Number of videos in a batch of the official evaluator."""

Runs = tuple[
    Int[np.ndarray, " segments"], Int[np.ndarray, " segments"], Int[np.ndarray, " segments"]
]
"""Label, first frame and end frame (exclusive) of each segment."""


def segments(labels: Int[np.ndarray, " t"], *, last_end: int = 0) -> Runs:
    """The runs of equal labels.

    Args:
      labels: classes of at least one frame.
      last_end: offset that is added to the end of the last run; -1 in the official evaluator.
    """
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    ends = np.r_[starts[1:], len(labels) + last_end]
    return labels[starts], starts, ends


def edit_distance(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " m"]) -> int:
    """Minimum number of insertions, deletions and replacements between two sequences.

    Source: Levenshtein, Soviet Physics Doklady 10(8), 1966.
    """
    row = np.arange(len(second) + 1)
    offsets = np.arange(len(second) + 1)
    for index, item in enumerate(first):
        # The best without an insertion. Insertions from the left are then a running minimum.
        step = np.r_[index + 1, np.minimum(row[1:] + 1, row[:-1] + (second != item))]
        row = np.minimum.accumulate(step - offsets) + offsets
    return int(row[-1])


def match_counts(
    predicted: Int[np.ndarray, " t"], target: Int[np.ndarray, " t"], *, last_end: int = 0
) -> Int[np.ndarray, "3 3"]:
    """Numbers of true positives, false positives and false negatives of one video.

    Each predicted segment is compared with the true segment of its label that it overlaps most. It
    is a true positive if the overlap reaches the threshold and the true segment is not matched yet,
    else a false positive. True segments without a match are false negatives.

    Args:
      predicted: predicted class of each frame.
      target: true class of each frame.
      last_end: see `segments`.

    Returns:
      One row for each of `THRESHOLDS`, with columns TP, FP and FN.
    """
    p_labels, p_starts, p_ends = segments(predicted, last_end=last_end)
    labels, starts, ends = segments(target, last_end=last_end)
    intersection = np.minimum(p_ends[:, None], ends) - np.maximum(p_starts[:, None], starts)
    union = np.maximum(p_ends[:, None], ends) - np.minimum(p_starts[:, None], starts)
    with np.errstate(invalid="ignore"):  # 0/0 occurs in official mode only, on purpose.
        overlap = intersection / union * (p_labels[:, None] == labels)
    # NaN is the maximum here and below every threshold later, as in the official evaluator.
    best = overlap.argmax(axis=1)
    highest = overlap[np.arange(len(best)), best]
    counts = []
    for threshold in THRESHOLDS:
        # Several predicted segments can reach one true segment; only one of them is a hit.
        hits = len(np.unique(best[highest >= threshold]))
        counts.append((hits, len(p_labels) - hits, len(labels) - hits))
    return np.array(counts)


def scores(
    predictions: Sequence[Int[np.ndarray, " _"]],
    targets: Sequence[Int[np.ndarray, " _"]],
    *,
    mode: Literal["corrected", "official"] = "corrected",
    batch_size: int = OFFICIAL_BATCH,
) -> dict[str, float]:
    """Accuracy, edit score and F1 of label sequences, in per cent.

    The edit score of a video is 1 - (edit distance of the segment labels) / (number of segments of
    the sequence with more). It is averaged over videos. F1 uses the counts of `match_counts`,
    summed over all videos.

    Args:
      predictions: predicted class of each frame, one array per video.
      targets: true class of each frame, one array per video. In "corrected" mode frames with a
        negative target are left out, and so are videos that have no other frames.
      mode: "corrected", or "official" for the numbers of the benchmark's own evaluator.
      batch_size: number of videos in a batch of the official evaluator, which affects its accuracy.

    Returns:
      "acc", "edit", "f1@10", "f1@25" and "f1@50".

    Raises:
      InputError: an unknown mode, a batch size below 1, nothing to score, sequences that do not
        belong together, or labels that are not integers.
    """
    if mode not in ("corrected", "official"):
        raise InputError(f"Unknown scoring mode {mode!r}: use 'corrected' or 'official'.")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, it is {batch_size}.")
    pairs = _checked_pairs(predictions, targets)
    last_end = -1 if mode == "official" else 0
    if mode == "corrected":
        scored = ((p[t >= 0], t[t >= 0]) for p, t in pairs)
        pairs = [(p, t) for p, t in scored if len(t)]
        if not pairs:
            raise InputError("There is nothing to score: every target frame is -1 (ignored).")
    edit = 0.0
    counts = np.zeros((len(THRESHOLDS), 3))
    for predicted, target in pairs:
        p_labels, labels = segments(predicted)[0], segments(target)[0]
        longer = max(len(p_labels), len(labels))
        edit += (1 - edit_distance(p_labels, labels) / longer) * 100
        counts += match_counts(predicted, target, last_end=last_end)
    result = {"acc": 100.0 * _accuracy(pairs, mode, batch_size), "edit": edit / len(pairs)}
    for threshold, row in zip(THRESHOLDS, counts, strict=True):
        result[f"f1@{round(100 * threshold)}"] = _f1(*row)
    return result


def _accuracy(pairs: Sequence[tuple[np.ndarray, np.ndarray]], mode: str, batch_size: int) -> float:
    right = [predicted == target for predicted, target in pairs]
    if mode == "corrected":
        return float(np.mean(np.concatenate(right)))
    batches = [right[i : i + batch_size] for i in range(0, len(right), batch_size)]
    return float(np.mean([np.mean(np.concatenate(batch)) for batch in batches]))


def _f1(hits: float, false_positives: float, false_negatives: float) -> float:
    if not hits:
        return 0.0
    precision, recall = hits / (hits + false_positives), hits / (hits + false_negatives)
    return float(2.0 * (precision * recall) / (precision + recall) * 100)


def _checked_pairs(
    predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(predictions) != len(targets) or not len(targets):
        raise InputError(
            f"Cannot score {len(predictions)} predicted sequences against {len(targets)} targets: "
            "give one of each for every video, and at least one video."
        )
    pairs = []
    for index, (predicted, target) in enumerate(zip(predictions, targets, strict=True)):
        predicted, target = np.asarray(predicted), np.asarray(target)
        if predicted.shape != target.shape or predicted.ndim != 1 or not len(target):
            raise InputError(
                f"Video {index}: predictions {predicted.shape} and targets {target.shape} must "
                "have one label per frame, the same number of frames and at least one."
            )
        for name, array in (("predictions", predicted), ("targets", target)):
            if not np.issubdtype(array.dtype, np.integer):
                raise InputError(f"Video {index}: {name} are {array.dtype}, expected integers.")
        pairs.append((predicted, target))
    return pairs

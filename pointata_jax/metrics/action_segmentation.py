"""Scores of action segmentation: frame accuracy, segmental edit score, F1 of matched segments.

Two modes. "official" repeats the evaluator of the HOI4D benchmark (`train_p4.py` of
github.com/hoi4d/HOI4D_ActionSeg) with its oddities, for comparison with published numbers;
"corrected" is what that evaluator means to measure. They differ in three places:

- The last segment ends one frame early in "official". A last segment of one frame is then empty and
  its overlap 0/0, so that it counts as a false positive and a false negative though it is right.
- "official" averages the accuracies of batches, so a short last batch weighs too much; "corrected"
  counts frames.
- Frames with the target -1 are cut out of both sequences by "corrected"; to "official" -1 is a
  label like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pointata_jax.errors import InputError

THRESHOLDS = (0.10, 0.25, 0.50)
"""Least overlap (intersection over union) of a matched pair of segments, one F1 score each."""

OFFICIAL_BATCH = 8
"""Videos in a batch of the official evaluator."""


def segments(labels: np.ndarray, *, last_end: int = 0) -> tuple[np.ndarray, ...]:
    """Label, first frame and end (exclusive) of each run of equal labels `[T]`.

    Args:
      labels: int `[T]`, at least one frame.
      last_end: added to the end of the last run; -1 in the official evaluator.
    """
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    ends = np.r_[starts[1:], len(labels) + last_end]
    return labels[starts], starts, ends


def edit_distance(first: np.ndarray, second: np.ndarray) -> int:
    """Least number of insertions, deletions and replacements that turn one sequence into another.

    Levenshtein, Soviet Physics Doklady 10(8), 1966.
    """
    row = np.arange(len(second) + 1)
    offsets = np.arange(len(second) + 1)
    for index, item in enumerate(first):
        # Best without an insertion; then insertions from the left: a running minimum.
        step = np.r_[index + 1, np.minimum(row[1:] + 1, row[:-1] + (second != item))]
        row = np.minimum.accumulate(step - offsets) + offsets
    return int(row[-1])


def match_counts(predicted: np.ndarray, target: np.ndarray, *, last_end: int = 0) -> np.ndarray:
    """Matched segments of one video, int `[3, 3]`: for each threshold TP, FP and FN.

    Each predicted segment looks at the true segment of its label with the highest overlap. It is a
    true positive if the overlap reaches the threshold and that segment is not taken yet, else a
    false positive; true segments that nobody took are false negatives.

    Args:
      predicted, target: int `[T]`.
      last_end: see `segments`.
    """
    p_labels, p_starts, p_ends = segments(predicted, last_end=last_end)
    labels, starts, ends = segments(target, last_end=last_end)
    intersection = np.minimum(p_ends[:, None], ends) - np.maximum(p_starts[:, None], starts)
    union = np.maximum(p_ends[:, None], ends) - np.minimum(p_starts[:, None], starts)
    with np.errstate(invalid="ignore"):  # 0/0 only in official mode, where it is wanted.
        overlap = intersection / union * (p_labels[:, None] == labels)
    # NaN counts as the maximum here and as too little below, as in the official evaluator.
    best = overlap.argmax(axis=1)
    highest = overlap[np.arange(len(best)), best]
    counts = []
    for threshold in THRESHOLDS:
        # Of several claims on a segment the first one gets it.
        hits = len(np.unique(best[highest >= threshold]))
        counts.append((hits, len(p_labels) - hits, len(labels) - hits))
    return np.array(counts)


def scores(
    predictions: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    mode: Literal["corrected", "official"] = "corrected",
    batch_size: int = OFFICIAL_BATCH,
) -> dict[str, float]:
    """Accuracy, edit score and F1 of label sequences, in per cent.

    Edit is the mean over videos of 1 - (edit distance of the segment labels) / (the larger number
    of segments). F1 pools the counts of `match_counts` over all videos.

    Args:
      predictions: per video, the class of each frame, int `[T]`.
      targets: per video, the true classes, int `[T]`; in "corrected" mode frames with a negative
        target are left out, and videos without any other frame.
      mode: "corrected", or "official" for the numbers of the benchmark's own evaluator.
      batch_size: videos of a batch of the official evaluator; its accuracy depends on that.

    Returns:
      "acc", "edit", "f1@10", "f1@25" and "f1@50".

    Raises:
      InputError: nothing to score, sequences that do not belong together, or labels that are not
        integers.
    """
    if mode not in ("corrected", "official"):
        raise InputError(f"Unknown mode {mode!r} of scoring: use 'corrected' or 'official'.")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, it is {batch_size}.")
    pairs = _checked_pairs(predictions, targets)
    last_end = -1 if mode == "official" else 0
    if mode == "corrected":
        scored = ((p[t >= 0], t[t >= 0]) for p, t in pairs)
        pairs = [(p, t) for p, t in scored if len(t)]
        if not pairs:
            raise InputError("Every target frame is -1 (ignored), so there is nothing to score.")
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
            "need at least one, and one of each for every video."
        )
    pairs = []
    for index, (predicted, target) in enumerate(zip(predictions, targets, strict=True)):
        predicted, target = np.asarray(predicted), np.asarray(target)
        if predicted.shape != target.shape or predicted.ndim != 1 or not len(target):
            raise InputError(
                f"Video {index}: predictions {predicted.shape} and targets {target.shape} must be "
                "one label per frame, equally many and at least one."
            )
        for name, array in (("predictions", predicted), ("targets", target)):
            if not np.issubdtype(array.dtype, np.integer):
                raise InputError(f"Video {index}: {name} are {array.dtype}, expected integers.")
        pairs.append((predicted, target))
    return pairs

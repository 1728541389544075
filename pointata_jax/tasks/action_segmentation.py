"""Action segmentation: one label per frame, scored on whole videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.metrics.action_segmentation import scores
from pointata_jax.metrics.classification import per_class_accuracy, softmax
from pointata_jax.tasks.gathering import Batches, Predict, gather_rows


def join_windows(
    probabilities: np.ndarray, frames: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One sequence of a video from its windows; frames in several windows are averaged.

    Args:
      probabilities: `[W, T, K]`.
      frames: int `[W, T]`, the frame of the video.
      labels: int `[W, T]`.

    Returns:
      Predicted and true classes of the frames that were seen, in order, both `[F]`.
    """
    found, position = np.unique(frames.reshape(-1), return_inverse=True)
    total = np.zeros((len(found), probabilities.shape[-1]))
    np.add.at(total, position, probabilities.reshape(-1, probabilities.shape[-1]))
    truth = np.empty(len(found), np.int64)
    truth[position] = labels.reshape(-1)
    return total.argmax(1), truth


def sequences(predict: Predict, batches: Batches) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Runs `predict` (this host's batch → its logits `[b, T, K]`) over the windows of all hosts.

    Returns:
      By video: its predicted and its true classes, see `join_windows`.
    """
    logits, labels, frames, videos = gather_rows(
        (
            np.asarray(predict(batch)),
            batch["label"],
            batch["frame"],
            batch["video"],
            batch["weight"],
        )
        for batch in batches
    )
    if logits.shape[:-1] != labels.shape:
        raise InputError(
            f"logits {logits.shape} do not belong to labels {labels.shape}: need one row per frame."
        )
    probabilities = softmax(logits)
    return {
        int(video): join_windows(
            *(part[videos == video] for part in (probabilities, frames, labels))
        )
        for video in np.unique(videos)
    }


def score(
    predict: Predict, batches: Batches, class_names: Sequence[str], seen: Sequence[int] = ()
) -> dict[str, Any]:
    """Runs `predict` (see `sequences`) and scores the videos of all hosts.

    Args:
      predict: the model.
      batches: of `data.pipeline`, with "frame".
      class_names: K names.
      seen: classes that occur in training; none for all. Where some are missing, the accuracy over
        the frames of the others is reported beside that over all.

    Returns:
      Percentages: `frame_accuracy`, `edit`, `f1@10`, `f1@25`, `f1@50` (corrected mode),
      `seen_frame_accuracy`, `per_class` (accuracy of its frames), `official` (the scores of the
      HOI4D benchmark's own evaluator); and `num_videos`, `num_frames`.
    """
    pairs = sequences(predict, batches)
    predictions, targets = (list(part) for part in zip(*pairs.values(), strict=True))
    found = scores(predictions, targets)
    said, truth = np.concatenate(predictions), np.concatenate(targets)
    counted = truth >= 0
    said, truth = said[counted], truth[counted]
    known = np.isin(truth, list(seen)) if len(seen) else np.ones(len(truth), bool)
    per_class = per_class_accuracy(said, truth, len(class_names))
    return {
        "frame_accuracy": found.pop("acc"),
        **found,
        "seen_frame_accuracy": 100.0 * float(np.mean(said[known] == truth[known])),
        "per_class": {
            name: None if np.isnan(value) else round(float(value), 2)
            for name, value in zip(class_names, per_class, strict=True)
        },
        # The evaluator knows no frames to ignore.
        "official": scores(predictions, targets, mode="official") if counted.all() else None,
        "num_videos": len(pairs),
        "num_frames": len(truth),
        "num_seen_frames": int(known.sum()),
    }

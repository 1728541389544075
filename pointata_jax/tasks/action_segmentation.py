"""Action segmentation: one label per frame, scored on whole videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pointata_jax.errors import InputError
from pointata_jax.metrics.action_segmentation import scores
from pointata_jax.metrics.classification import (
    accuracy_on_classes,
    by_class_name,
    per_class_accuracy,
    softmax,
)
from pointata_jax.tasks.gathering import Batches, Predict, gather_rows


def join_windows(
    probabilities: Float[np.ndarray, "windows t classes"],
    frames: Int[np.ndarray, "windows t"],
    labels: Int[np.ndarray, "windows t"],
) -> tuple[Int[np.ndarray, " frames"], Int[np.ndarray, " frames"]]:
    """One sequence of a video from its windows; frames in several windows are averaged.

    Args:
      probabilities: class probabilities of each frame of each window.
      frames: the frame of the video that each frame of a window shows.
      labels: the true class of each frame of each window.

    Returns:
      Predicted and true classes of the frames that a window covers, in order of the video.
    """
    found, position = np.unique(frames.reshape(-1), return_inverse=True)
    total = np.zeros((len(found), probabilities.shape[-1]))
    np.add.at(total, position, probabilities.reshape(-1, probabilities.shape[-1]))
    truth = np.empty(len(found), np.int64)
    truth[position] = labels.reshape(-1)
    return total.argmax(1), truth


def sequences(
    predict: Predict, batches: Batches
) -> dict[int, tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]]:
    """Predicted and true sequences of all videos.

    Args:
      predict: from this host's batch to its logits `[b, t, classes]`.
      batches: this host's batches of `data.pipeline`, with "frame".

    Returns:
      Predicted and true classes of each video (see `join_windows`), from the windows of all hosts.

    Raises:
      InputError: logits that do not have one row per labeled frame.
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
    """Runs `predict` and scores the videos of all hosts.

    Args:
      predict: see `sequences`.
      batches: see `sequences`.
      class_names: names of the classes.
      seen: classes that occur in training; empty for all classes.

    Returns:
      In per cent: `frame_accuracy`, `edit`, `f1@10`, `f1@25`, `f1@50` (corrected mode);
      `seen_frame_accuracy`, over the frames of the classes `seen`; `per_class`, the frame accuracy
      by name; `official`, the scores of the HOI4D benchmark's own evaluator (None where frames are
      ignored, which it does not support). Numbers: `num_videos`, `num_frames`, `num_seen_frames`.
    """
    pairs = sequences(predict, batches)
    predictions, targets = (list(part) for part in zip(*pairs.values(), strict=True))
    found = scores(predictions, targets)
    predicted, truth = np.concatenate(predictions), np.concatenate(targets)
    counted = truth >= 0
    predicted, truth = predicted[counted], truth[counted]
    classes = range(len(class_names))
    seen_accuracy, num_seen = accuracy_on_classes(predicted, truth, seen or classes)
    return {
        "frame_accuracy": found.pop("acc"),
        **found,
        "seen_frame_accuracy": seen_accuracy,
        "per_class": by_class_name(per_class_accuracy(predicted, truth, len(classes)), class_names),
        "official": scores(predictions, targets, mode="official") if counted.all() else None,
        "num_videos": len(pairs),
        "num_frames": len(truth),
        "num_seen_frames": num_seen,
    }

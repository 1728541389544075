"""Accuracy of labels, and of videos whose windows vote by averaged softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from pointata_jax.errors import InputError


def softmax(logits: Num[np.ndarray, "*batch classes"]) -> Float[np.ndarray, "*batch classes"]:
    """Probabilities of logits, in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def video_probabilities(
    probabilities: Float[np.ndarray, "windows classes"],
    videos: Int[np.ndarray, " windows"],
    num_videos: int,
) -> tuple[Float[np.ndarray, "{num_videos} classes"], Int[np.ndarray, " {num_videos}"]]:
    """Mean probability of the windows of each video, and the number of windows.

    Args:
      probabilities: one row per window.
      videos: the video of each window.
      num_videos: number of videos.

    Returns:
      Probabilities (zero for a video without windows), and the number of windows of each video.
    """
    total = np.zeros((num_videos, probabilities.shape[1]))
    np.add.at(total, videos, probabilities)
    windows = np.bincount(videos, minlength=num_videos)
    return total / np.maximum(windows, 1)[:, None], windows


def per_class_accuracy(
    predictions: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], num_classes: int
) -> Float[np.ndarray, " {num_classes}"]:
    """Accuracy (per cent) of each class; NaN for a class that does not occur."""
    count = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[predictions == labels], minlength=num_classes)
    return 100.0 * hits / np.where(count, count, np.nan)


def accuracy_on_classes(
    predictions: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], classes: Sequence[int]
) -> tuple[float, int]:
    """Accuracy (per cent) over the labels that belong to some classes, and the number of these.

    It is used where training lacks classes of the test data, which no model can predict then. The
    accuracy is NaN if no label belongs to the classes.
    """
    counted = np.isin(labels, list(classes))
    hits = predictions[counted] == labels[counted]
    return 100.0 * float(hits.mean()) if len(hits) else float("nan"), len(hits)


def by_class_name(
    values: Float[np.ndarray, " classes"], class_names: Sequence[str]
) -> dict[str, float | None]:
    """The value of each class by name, rounded to two digits; None for NaN."""
    return {
        name: None if np.isnan(value) else round(float(value), 2)
        for name, value in zip(class_names, values, strict=True)
    }


def recognition_scores(
    logits: Num[np.ndarray, "windows classes"],
    labels: Int[np.ndarray, " windows"],
    videos: Int[np.ndarray, " windows"],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Scores of window logits, in per cent, and the numbers of windows and videos.

    Args:
      logits: one row per window.
      labels: the label of the window's video.
      videos: the video of each window.
      class_names: names of the classes.

    Returns:
      `window_accuracy`; `video_accuracy` (argmax of the averaged softmax); `mean_class_accuracy`
      (of videos); `per_class` and `per_class_windows`, the accuracy of videos and windows by name
      (None where a class is absent); `num_windows`; `num_videos`.

    Raises:
      InputError: no windows, or arrays that do not belong together.
    """
    logits, labels, videos = np.asarray(logits), np.asarray(labels), np.asarray(videos)
    if not len(logits) or logits.shape != (len(labels), len(class_names)):
        raise InputError(
            f"cannot score logits {logits.shape} against {len(labels)} labels of "
            f"{len(class_names)} classes: need one row per window and one column per class."
        )
    present, dense = np.unique(videos, return_inverse=True)
    by_video, _ = video_probabilities(softmax(logits), dense, len(present))
    video_labels = np.zeros(len(present), int)
    video_labels[dense] = labels
    predicted = by_video.argmax(1)
    per_class = per_class_accuracy(predicted, video_labels, len(class_names))
    return {
        "window_accuracy": 100.0 * float(np.mean(logits.argmax(1) == labels)),
        "video_accuracy": 100.0 * float(np.mean(predicted == video_labels)),
        "mean_class_accuracy": float(np.nanmean(per_class)),
        "per_class": by_class_name(per_class, class_names),
        "per_class_windows": by_class_name(
            per_class_accuracy(logits.argmax(1), labels, len(class_names)), class_names
        ),
        "num_windows": len(logits),
        "num_videos": len(present),
    }

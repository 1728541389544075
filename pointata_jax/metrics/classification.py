"""Accuracy of clips and of videos, whose clips vote by averaged softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits `[..., K]`, in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def video_probabilities(
    probabilities: np.ndarray, videos: np.ndarray, num_videos: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean probability of the windows of each video, and the number of windows.

    Args:
      probabilities: `[W, K]`, one row per window.
      videos: int `[W]`, the video of each window.
      num_videos: V.

    Returns:
      `[V, K]` (rows of videos without windows are 0) and `[V]`.
    """
    total = np.zeros((num_videos, probabilities.shape[1]))
    np.add.at(total, videos, probabilities)
    windows = np.bincount(videos, minlength=num_videos)
    return total / np.maximum(windows, 1)[:, None], windows


def per_class_accuracy(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Accuracy (per cent) of each class `[K]`; NaN for a class that does not occur."""
    count = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[predictions == labels], minlength=num_classes)
    return 100.0 * hits / np.where(count, count, np.nan)


def recognition_scores(
    logits: np.ndarray, labels: np.ndarray, videos: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Scores of window logits, as percentages with their denominators.

    Args:
      logits: `[W, K]`.
      labels: int `[W]`, the label of the window's video.
      videos: int `[W]`.
      class_names: K names.

    Returns:
      `window_accuracy`, `video_accuracy` (argmax of the averaged softmax), `mean_class_accuracy`
      (of videos), `per_class` by name (None where a class is absent), `num_windows`, `num_videos`.

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
        "per_class": {
            name: None if np.isnan(value) else round(float(value), 2)
            for name, value in zip(class_names, per_class, strict=True)
        },
        "num_windows": len(logits),
        "num_videos": len(present),
    }

"""Majority vote and linear models on mocap6, leaving one trial out at a time.

The accuracy of a linear model depends on its features, so there are three. A result should name the
one that it is compared with:

  linear_frame   joints of one frame: posture without motion;
  linear_points  statistics of the dressed points in a window: the input of a point-cloud model;
  linear         statistics of the joints in a window: easier, since the joints are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pointata_jax.datasets.mocap6.folds import fold, seen_accuracy
from pointata_jax.datasets.mocap6.trials import FRAME_RATE, Trial, dress

WINDOW_SECONDS = 2.0
"""Length of the window around a frame that its features describe."""

PENALTY = 0.1
"""Ridge penalty per standardized feature, as a share of the number of training frames."""

_LEVELS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_POINTS = 256


def pose_features(trial: Trial) -> np.ndarray:
    """Positions of the joints `[T, 60]`, meters, relative to the pelvis; heights are absolute."""
    place = np.asarray(trial.joints, np.float64).copy()
    place[..., [0, 2]] -= trial.joints[:, :1, [0, 2]]
    return place.reshape(len(place), -1)


def point_features(trial: Trial) -> np.ndarray:
    """Quantiles `[T, 21]` of the coordinates of the points that the front camera sees."""
    points = dress(trial, 0, np.arange(len(trial.labels)), _POINTS).astype(np.float64)
    points -= np.median(points.reshape(-1, 3), axis=0)
    return np.moveaxis(np.quantile(points, _LEVELS, axis=1), 0, 1).reshape(len(points), -1)


def in_windows(values: np.ndarray, *, seconds: float = WINDOW_SECONDS) -> np.ndarray:
    """Mean, standard deviation and mean speed of features around each frame, `[T, 3D]`.

    Args:
      values: features `[T, D]`.
      seconds: length of a window. Windows are centered, and cut off at the ends of the trial.
    """
    speed = np.abs(np.diff(values, axis=0, prepend=values[:1])) * FRAME_RATE
    half = max(round(seconds * FRAME_RATE / 2), 1)
    frames = np.arange(len(values))
    low, high = np.maximum(frames - half, 0), np.minimum(frames + half + 1, len(values))

    def mean(some: np.ndarray) -> np.ndarray:
        total = np.concatenate([np.zeros((1, some.shape[1])), np.cumsum(some, axis=0)])
        return (total[high] - total[low]) / (high - low)[:, None]

    center = mean(values)
    spread = np.sqrt(np.maximum(mean(values**2) - center**2, 0.0))
    return np.concatenate([center, spread, mean(speed)], axis=1)


FEATURES: dict[str, Callable[[Trial], np.ndarray]] = {
    "linear_frame": pose_features,
    "linear_points": lambda trial: in_windows(point_features(trial)),
    "linear": lambda trial: in_windows(pose_features(trial)),
}
"""The features of each linear baseline, float64 `[T, D]` of a trial."""


def majority(labels: np.ndarray, num_frames: int) -> np.ndarray:
    """The most frequent training label, repeated: int64 `[num_frames]`.

    Args:
      labels: of the training frames.
      num_frames: number of test frames.
    """
    return np.full(num_frames, np.bincount(labels).argmax())


def ridge(features: np.ndarray, labels: np.ndarray, test_features: np.ndarray) -> np.ndarray:
    """Labels by ridge regression on one-hot targets, int64 `[T]`; only training labels occur.

    Args:
      features: of the training frames, `[F, D]`.
      labels: of the training frames, `[F]`.
      test_features: `[T, D]`.
    """
    seen = np.unique(labels)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    inputs = (features - mean) / deviation
    targets = (labels[:, None] == seen).astype(np.float64)
    offset = targets.mean(0)
    gram = inputs.T @ inputs + PENALTY * len(inputs) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ (targets - offset))
    scores = (test_features - mean) / deviation @ weights + offset
    return seen[scores.argmax(1)]


def leave_one_trial_out(trials: Sequence[Trial]) -> dict[str, Any]:
    """All baselines on every fold.

    Returns:
      By baseline ("majority" and those of `FEATURES`): `folds` (by held-out trial: `seen_accuracy`,
      `seen` and `lacking` classes) and `mean_frame_accuracy`, the mean over the folds, per cent.
    """
    results: dict[str, Any] = {}
    for name in ("majority", *FEATURES):
        features = {trial.name: FEATURES[name](trial) for trial in trials if name in FEATURES}
        scores = {}
        for test in trials:
            part = fold(trials, test.name)
            train = [trial for trial in trials if trial.name != test.name]
            labels = np.concatenate([trial.labels for trial in train])
            if name == "majority":
                predictions = majority(labels, len(test.labels))
            else:
                known = np.concatenate([features[trial.name] for trial in train])
                predictions = ridge(known, labels, features[test.name])
            score = seen_accuracy(predictions, test.labels, part.seen)
            scores[test.name] = {**score, "seen": part.seen, "lacking": part.lacking}
        mean = float(np.mean([score["frame_accuracy"] for score in scores.values()]))
        results[name] = {"folds": scores, "mean_frame_accuracy": mean}
    return results

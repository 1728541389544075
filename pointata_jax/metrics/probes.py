"""Probes: how well frozen features predict labels that they were not trained on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Num


def standardize(features: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Features with zero mean and unit deviation per channel; a constant channel becomes 0."""
    features = np.asarray(features, np.float64)
    deviation = features.std(0)
    return (features - features.mean(0)) / np.where(deviation > 1e-12, deviation, 1.0)


def nearest_neighbor_accuracy(
    features: Num[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> float:
    """Leave-one-out accuracy (per cent) of a nearest-neighbor classifier.

    The distance is the cosine distance of standardized features.
    """
    unit = standardize(features)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    labels = np.asarray(labels)
    return 100.0 * float(np.mean(labels[similarity.argmax(1)] == labels))


def ridge_accuracy(
    features: Num[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    folds: int = 5,
    penalty: float = 0.1,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> float:
    """Cross-validated accuracy (per cent) of a ridge classifier on one-hot targets.

    Features are standardized by the statistics of each training fold.

    Args:
      features: one row per sample.
      labels: class of each sample.
      folds: number of folds.
      penalty: ridge penalty per channel, so that its strength does not depend on the width.
      seeds: seeds of the assignment to folds; the accuracy is a mean over them.
    """
    labels = np.asarray(labels)
    targets = (labels[:, None] == np.unique(labels)).astype(np.float64)
    truth = targets.argmax(1)
    features = np.asarray(features, np.float64)
    correct = []
    for seed in seeds:
        fold = np.random.default_rng(seed).permutation(len(labels)) % folds
        for f in range(folds):
            train, test = fold != f, fold == f
            mean, deviation = features[train].mean(0), features[train].std(0) + 1e-9
            x, z = (features[train] - mean) / deviation, (features[test] - mean) / deviation
            offset = targets[train].mean(0)
            # Dual form: fewer samples than features.
            gram = x @ x.T + penalty * x.shape[1] * np.eye(len(x))
            scores = z @ (x.T @ np.linalg.solve(gram, targets[train] - offset)) + offset
            correct.append(scores.argmax(1) == truth[test])
    return 100.0 * float(np.mean(np.concatenate(correct)))

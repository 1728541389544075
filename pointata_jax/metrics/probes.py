"""Probes: how well frozen features predict labels that they were not trained on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Num


def standardize(features: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Features with zero mean and unit deviation per channel; a constant channel becomes 0."""
    features = np.asarray(features, np.float64)
    deviation = features.std(0)
    return (features - features.mean(0)) / np.where(deviation > 1e-12, deviation, 1.0)


def nearest_neighbor_hits(
    features: Num[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Whether the nearest other sample of each sample has its label (leave-one-out).

    The distance is the cosine distance of standardized features.
    """
    unit = standardize(features)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    labels = np.asarray(labels)
    return labels[similarity.argmax(1)] == labels


def nearest_neighbor_accuracy(
    features: Num[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> float:
    """Leave-one-out accuracy (per cent) of a nearest-neighbor classifier."""
    return 100.0 * float(np.mean(nearest_neighbor_hits(features, labels)))


def _ridge_scores(
    features: Float[np.ndarray, "n d"],
    targets: Float[np.ndarray, "n k"],
    asked: Float[np.ndarray, "m d"],
    penalty: float,
) -> Float[np.ndarray, "m k"]:
    """Predictions for `asked`, standardized like the features that the ridge is fitted on."""
    mean, deviation = features.mean(0), features.std(0) + 1e-9
    x, z = (features - mean) / deviation, (asked - mean) / deviation
    offset = targets.mean(0)
    # Dual form: fewer samples than features.
    gram = x @ x.T + penalty * x.shape[1] * np.eye(len(x))
    return z @ (x.T @ np.linalg.solve(gram, targets - offset)) + offset


def ridge_hits(
    features: Num[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    folds: int = 5,
    penalty: float = 0.1,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> Float[np.ndarray, " n"]:
    """How often a cross-validated ridge classifier on one-hot targets is right about each sample.

    Features are standardized by the statistics of each training fold.

    Args:
      features: one row per sample.
      labels: class of each sample.
      folds: number of folds.
      penalty: ridge penalty per channel, so that its strength does not depend on the width.
      seeds: seeds of the assignment to folds.

    Returns:
      Share of the seeds with which the prediction for the sample is right.
    """
    labels = np.asarray(labels)
    targets = (labels[:, None] == np.unique(labels)).astype(np.float64)
    truth = targets.argmax(1)
    features = np.asarray(features, np.float64)
    hits = np.zeros(len(labels))
    for seed in seeds:
        fold = np.random.default_rng(seed).permutation(len(labels)) % folds
        for f in range(folds):
            train, test = fold != f, fold == f
            scores = _ridge_scores(features[train], targets[train], features[test], penalty)
            hits[test] += scores.argmax(1) == truth[test]
    return hits / len(seeds)


def ridge_accuracy(
    features: Num[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    folds: int = 5,
    penalty: float = 0.1,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> float:
    """Cross-validated accuracy (per cent) of a ridge classifier; arguments as in `ridge_hits`."""
    hits = ridge_hits(features, labels, folds=folds, penalty=penalty, seeds=seeds)
    return 100.0 * float(hits.mean())


def ridge_explained(
    features: Num[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    held_features: Num[np.ndarray, "m d"],
    held_labels: Int[np.ndarray, " m"],
    *,
    penalty: float = 1.0,
) -> float:
    """Per cent of the variance of held-out one-hot labels that a ridge classifier explains.

    Unlike an accuracy it changes with every sample, so it ranks features that hardly differ.

    Args:
      features: to fit on, one row per sample.
      labels: their classes.
      held_features: of other samples.
      held_labels: their classes.
      penalty: ridge penalty per channel. It is stronger than that of `ridge_hits`, because squared
        errors punish the extreme scores that few samples lead to.

    Returns:
      At most 100; 0 for the class frequencies of the fitted samples, negative for worse.
    """
    classes = np.unique(np.concatenate([labels, held_labels]))
    targets, held = ((y[:, None] == classes).astype(np.float64) for y in (labels, held_labels))
    scores = _ridge_scores(
        np.asarray(features, np.float64), targets, np.asarray(held_features, np.float64), penalty
    )
    errors = [np.square(held - guess).sum() for guess in (scores, targets.mean(0))]
    return 100.0 * float(1.0 - errors[0] / max(errors[1], 1e-12))


def bootstrap_interval(
    hits: Num[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval (per cent) of the mean of `hits` over resampled samples.

    Args:
      hits: how right the prediction for each sample is, from 0 to 1.
      confidence: share of the resampled means inside the interval.
      num_resamples: number of samples of size n, drawn with replacement.
      seed: of the draw.
    """
    values = np.asarray(hits, np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(values), (num_resamples, len(values)))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(100.0 * values[drawn].mean(1), [tail, 100.0 - tail])
    return float(low), float(high)

"""Measures what the frozen features of a backbone say about classes of shapes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from pointata_jax.metrics.probes import bootstrap_interval, nearest_neighbor_hits, ridge_hits
from pointata_jax.models.batches import in_batches
from pointata_jax.models.point_mae import (
    Backbone,
    BackboneConfig,
    pooled_features,
    random_backbone,
)
from pointata_jax.shapes.collection import Shapes
from pointata_jax.training.partition import Params

RANDOM_SEEDS = (0, 1, 2)
"""Seeds of the random initializations that a backbone is compared with."""


def backbone_features(
    config: BackboneConfig, variables: Params, points: np.ndarray, batch_size: int = 41
) -> Float[np.ndarray, "shapes 2*{config.width}"]:
    """Pooled final tokens of shapes.

    Args:
      config: architecture.
      variables: of the backbone.
      points: `[S, N, 3]`.
      batch_size: shapes at a time.
    """
    forward: Any = Backbone(config).apply
    encode = jax.jit(lambda batch: pooled_features(forward(variables, batch)))
    return in_batches(encode, points, batch_size)


def probe(
    config: BackboneConfig, variables: Params, shapes: Shapes, num_points: int
) -> dict[str, Any]:
    """Class accuracies (per cent) of frozen features, and those of random initializations.

    Two classifiers read the features: the leave-one-out nearest neighbor (cosine) and a ridge
    classifier in five folds.

    Args:
      config: architecture.
      variables: of the backbone.
      shapes: labeled shapes that no training has used with their labels.
      num_points: points of a shape that the backbone sees.

    Returns:
      For "nearest_neighbor" and "ridge": the accuracy, its bootstrap interval of 95 %
      ("…_interval") and the mean of `RANDOM_SEEDS` random backbones ("…_random"). The numbers
      `num_shapes` and `num_classes` of classes that occur.
    """
    points = shapes.points[:, :num_points]

    def hits(candidate: Params) -> dict[str, np.ndarray]:
        features = backbone_features(config, candidate, points)
        return {
            "nearest_neighbor": nearest_neighbor_hits(features, shapes.labels),
            "ridge": ridge_hits(features, shapes.labels),
        }

    random = [hits(random_backbone(config, seed)) for seed in RANDOM_SEEDS]
    result: dict[str, Any] = {}
    for name, values in hits(variables).items():
        result[name] = 100.0 * float(values.mean())
        result[f"{name}_interval"] = list(bootstrap_interval(values))
        result[f"{name}_random"] = 100.0 * float(np.mean([other[name].mean() for other in random]))
    return result | {
        "num_shapes": len(shapes.labels),
        "num_classes": len(np.unique(shapes.labels)),
    }

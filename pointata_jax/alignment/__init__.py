"""Stage 1: bring the features of clips to the distribution of the features of 3D shapes.

One step with a bank and an `Objective`:

  features, labels = standardize(bank.features, bank), jnp.asarray(bank.labels)    # once
  indices = sample_source(bank, key, n)
  target = standardize(embedder_features, bank)          # [n, d], one row per label
  loss, logs = objective.loss(features[indices], labels[indices], target, target_labels)

OTT-JAX is imported when the first transport problem is traced, not with this package.
"""

from pointata_jax.alignment.label_distance import gaussian_label_distances
from pointata_jax.alignment.moments import feature_moments, match_last_layer
from pointata_jax.alignment.monitor import StoppingRule, alignment_report
from pointata_jax.alignment.objectives import OBJECTIVES, Objective
from pointata_jax.alignment.otdd import OTDDConfig, otdd, warn_if_unconverged
from pointata_jax.alignment.pseudo_labels import Clusters, kmeans, nearest_center
from pointata_jax.alignment.source_bank import (
    SourceBank,
    build_source_bank,
    load_source_bank,
    sample_source,
    save_source_bank,
    standardize,
)

__all__ = [
    "OBJECTIVES",
    "Clusters",
    "OTDDConfig",
    "Objective",
    "SourceBank",
    "StoppingRule",
    "alignment_report",
    "build_source_bank",
    "feature_moments",
    "gaussian_label_distances",
    "kmeans",
    "load_source_bank",
    "match_last_layer",
    "nearest_center",
    "otdd",
    "sample_source",
    "save_source_bank",
    "standardize",
    "warn_if_unconverged",
]

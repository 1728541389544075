"""How far a task's clips are from what a backbone knows, measured before any training.

The embedder is the copy of the backbone's, so nothing is random but the draws of the bootstrap.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax.alignment import OTDDConfig, SourceBank, otdd, sample_source, standardize
from pointata_jax.metrics.probes import ridge_explained
from pointata_jax.models.p4d import P4DConfig, embedder_from_backbone
from pointata_jax.models.point_mae import BackboneConfig
from pointata_jax.stages.align import draw_units, units_of
from pointata_jax.stages.task_data import TaskData, spread_clips
from pointata_jax.training.partition import Params


@dataclasses.dataclass(frozen=True)
class GapSettings:
    """Size of the measurement.

    Attributes:
      clips: training clips, and validation clips, at most.
      units: clips, frames or tokens of them that are compared.
      resamples: draws of the bootstrap.
      label_weight: λ, the weight of the label distance.
    """

    clips: int = 256
    units: int = 256
    resamples: int = 20
    label_weight: float = 1.0


def measure_gap(
    backbone: tuple[BackboneConfig, Params],
    embedder: P4DConfig,
    bank: SourceBank,
    data: TaskData,
    settings: GapSettings,
    seed: int = 0,
) -> dict[str, Any]:
    """Distance between a backbone's source bank and the training clips of a task.

    Args:
      backbone: configuration and variables.
      embedder: of the copied embedder.
      bank: what the backbone knows, by class.
      data: training videos, and validation videos for `label_fit`.
      settings: size of the measurement.
      seed: of all draws. The same seed draws the same units for every backbone.

    Returns:
      `otdd`, per channel, so that widths can be compared; `draws`, the same with units and bank
      drawn with replacement; `gap`, how much the distance grows when the labels of the clips are
      permuted; `label_fit`, the share of the labels of validation clips in percent that a ridge
      classifier on the frozen backbone's features explains, None without validation clips.
    """
    params = embedder_from_backbone(backbone[1], embedder, data.clip.colors)
    clips, labels = spread_clips(data.train, data.clip, settings.clips, training=True)
    key = jax.random.key(seed)

    def drawn(clips: np.ndarray, labels: np.ndarray, *frozen: Any) -> tuple[jax.Array, jax.Array]:
        found = units_of(embedder, params, clips, labels, *frozen)
        return draw_units(key, jnp.asarray(found[0]), jnp.asarray(found[1]), settings.units)

    features, unit_labels = drawn(clips, labels)
    features = standardize(features, bank)
    source, source_labels = standardize(bank.features, bank), jnp.asarray(bank.labels)
    config = OTDDConfig(label_weight=settings.label_weight)
    num_classes = (bank.num_classes, data.train.num_classes)

    @jax.jit
    def distance(rows: jax.Array, units: jax.Array, order: jax.Array) -> jax.Array:
        value, _ = otdd(
            source[rows],
            source_labels[rows],
            num_classes[0],
            features[units],
            unit_labels[units][order],
            num_classes[1],
            config,
        )
        return value / features.shape[1]

    size = len(unit_labels)
    everything = jnp.arange(size)
    rows = sample_source(bank, key, size)
    point = float(distance(rows, everything, everything))
    draws, permuted = [], []
    for number in range(settings.resamples):
        one, two, three = jax.random.split(jax.random.fold_in(key, number), 3)
        units = jax.random.randint(one, (size,), 0, size)
        again = rows[jax.random.randint(two, (size,), 0, size)]
        draws.append(float(distance(again, units, everything)))
        if number < 4:
            permuted.append(float(distance(rows, everything, jax.random.permutation(three, size))))
    label_fit = None
    if data.validation is not None:
        held = spread_clips(data.validation, data.clip, settings.clips, training=False)
        fitted, scored = drawn(clips, labels, *backbone), drawn(*held, *backbone)
        label_fit = ridge_explained(*map(np.asarray, (*fitted, *scored)))
    return {
        "otdd": point,
        "draws": draws,
        "gap": float(np.mean(permuted)) - point,
        "label_fit": label_fit,
        "num_clips": len(clips),
        "num_units": size,
    }

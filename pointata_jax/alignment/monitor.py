"""Does alignment align? OTDD with true and permuted labels, target spread, and when to stop.

Most of an OTDD between raw features is mean offset, which falls whatever the labels do; and a
target can lower it by shrinking. So the numbers to watch, on recordings that alignment never saw,
are the gap between permuted and true labels, and the deviation of the target features.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from pointata_jax.alignment.costs import Array, as_float
from pointata_jax.alignment.objectives import Objective
from pointata_jax.alignment.otdd import otdd
from pointata_jax.errors import InputError


@functools.partial(jax.jit, static_argnames=("objective",))
def _distances(objective, source_features, source_labels, target_features, label_sets):
    def one(target_labels):
        return otdd(
            source_features,
            source_labels,
            objective.num_source_classes,
            target_features,
            target_labels,
            objective.num_target_classes,
            objective.config,
        )

    return jax.lax.map(one, label_sets)


def alignment_report(
    objective: Objective,
    source_features: Array,
    source_labels: Array,
    target_features: Array,
    target_labels: Array,
    key: jax.Array,
    *,
    num_permutations: int = 4,
) -> dict[str, float]:
    """How well target features fit the source bank, label for label.

    Args:
      objective: gives the numbers of classes and OTDD's configuration; the report is the joint
        OTDD whatever is being minimized.
      source_features, source_labels: `[n, D]`, `[n]`: a fixed sample of the bank, standardized.
      target_features, target_labels: `[m, D]`, `[m]`: kept-out recordings, standardized alike.
      key: draws the permutations of the target labels; keep it fixed over a run.
      num_permutations: how many are averaged.

    Returns:
      `otdd`, `otdd_permuted` (mean) and `otdd_permuted_std` over permutations, `gap` (permuted less
      true: the label signal), `deviation` (standard deviation of the target features, mean over
      dimensions, in bank deviations), `offset` (root mean square of their mean, same unit),
      `converged` and `converged_P`, `iterations_P`: the worst over all label sets.
    """
    if num_permutations < 1:
        raise InputError("An alignment report needs at least one permutation of the labels.")
    features, labels = as_float(target_features), jnp.asarray(target_labels)
    keys = jax.random.split(key, num_permutations)
    permuted = jax.vmap(lambda k: jax.random.permutation(k, labels))(keys)
    label_sets = jnp.concatenate([labels[None], permuted])
    values, logs = _distances(
        objective, as_float(source_features), jnp.asarray(source_labels), features, label_sets
    )
    report = {
        "otdd": values[0],
        "otdd_permuted": values[1:].mean(),
        "otdd_permuted_std": values[1:].std(),
        "gap": values[1:].mean() - values[0],
        "deviation": features.std(0).mean(),
        "offset": jnp.sqrt(jnp.square(features.mean(0)).mean()),
    }
    for name, value in logs.items():
        if name.startswith("converged"):
            report[name] = value.all()
        elif name.startswith("iterations"):
            report[name] = value.max()
    return {name: float(value) for name, value in jax.device_get(report).items()}


@dataclasses.dataclass(frozen=True)
class StoppingRule:
    """When alignment should end, from the reports so far; holds no state, so a run can resume.

    Attributes:
      patience: reports without growth of the gap after which to stop.
      min_growth: growth of the gap, over its best value, that counts.
      min_deviation: fraction of the first report's deviation below which the target has shrunk.
    """

    patience: int = 3
    min_growth: float = 0.01
    min_deviation: float = 0.5

    def _has_shrunk(self, reports: Sequence[Mapping[str, float]], index: int) -> bool:
        return reports[index]["deviation"] < self.min_deviation * reports[0]["deviation"]

    def best(self, reports: Sequence[Mapping[str, float]]) -> int:
        """Index of the report whose embedder to keep: the largest gap among those not shrunk."""
        best = 0
        for index, report in enumerate(reports):
            gap = reports[best]["gap"]
            grew = report["gap"] > gap + self.min_growth * abs(gap)
            if grew and not self._has_shrunk(reports, index):
                best = index
        return best

    def reason(self, reports: Sequence[Mapping[str, float]]) -> str | None:
        """Why to stop now, as a sentence; None to go on.

        Args:
          reports: results of `alignment_report`, oldest first; the first from before training.
        """
        if not reports:
            return None
        last, first = reports[-1], reports[0]
        if not all(math.isfinite(last[name]) for name in ("otdd", "gap", "deviation")):
            return "The alignment report is no longer finite."
        if self._has_shrunk(reports, len(reports) - 1):
            return (
                f"The deviation of the target features fell to {last['deviation']:.3g}, below "
                f"{self.min_deviation:g} of its start {first['deviation']:.3g}."
            )
        best = self.best(reports)
        if len(reports) - 1 - best >= self.patience:
            return (
                f"The gap between permuted and true labels has not grown for {self.patience} "
                f"reports (best {reports[best]['gap']:.4g}, now {last['gap']:.4g})."
            )
        return None

"""Measures of whether stage 1 aligns, and when it should stop.

Most of an OTDD between raw features is the offset between their means, which decreases whatever the
labels are. A target can also lower the OTDD by shrinking. The report is therefore made of held-out
recordings. It compares the OTDD with permuted labels to the OTDD with true labels (the gap), and it
states the deviation of the target features.

Neither says whether the frozen backbone can use the tokens, which is what stage 1 is for. On unseen
data the gap often did not grow while the distance fell. `StoppingRule` can therefore watch another
figure of the report; stage 1 watches how well a linear classifier on the frozen backbone's features
predicts held-out labels, where there are labels.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, Shaped

from pointata_jax.alignment.costs import AnyArray, as_float
from pointata_jax.alignment.objectives import Objective
from pointata_jax.alignment.otdd import otdd
from pointata_jax.errors import InputError

WATCHED = {
    "gap": "The gap between permuted and true labels",
    "label_fit": "The share of the held-out labels that the frozen backbone's features explain",
}
"""Figures that a `StoppingRule` may watch, in words."""


@functools.partial(jax.jit, static_argnames=("objective",))
def _distances(
    objective: Objective,
    source_features: Float[Array, "n d"],
    source_labels: Int[Array, " n"],
    target_features: Float[Array, "m d"],
    label_sets: Int[Array, "sets m"],
) -> tuple[Float[Array, " sets"], dict[str, Shaped[Array, " sets"]]]:
    """OTDD and its logs for several sets of target labels."""

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
    source_features: Num[AnyArray, "n d"],
    source_labels: Int[AnyArray, " n"],
    target_features: Num[AnyArray, "m d"],
    target_labels: Int[AnyArray, " m"],
    key: PRNGKeyArray,
    *,
    num_permutations: int = 4,
) -> dict[str, float]:
    """How well target features fit the source bank, label for label.

    Args:
      objective: the numbers of classes and OTDD's configuration. The report is the joint OTDD for
        every objective.
      source_features: a fixed sample of the bank, standardized.
      source_labels: its classes.
      target_features: features of held-out recordings, standardized in the same way.
      target_labels: their classes.
      key: randomness of the permutations of the target labels; use one key for a whole run.
      num_permutations: number of permutations that are averaged.

    Returns:
      `otdd`; `otdd_permuted` and `otdd_permuted_std`, mean and deviation over the permutations;
      `gap`, `otdd_permuted` minus `otdd`, the label signal; `deviation`, the standard deviation of
      the target features, mean over channels, in deviations of the bank; `offset`, the root mean
      square of their mean, in the same unit; `converged`, and for each problem P of `PROBLEMS`
      `converged_P` and `iterations_P`, the worst over all label sets.

    Raises:
      InputError: fewer than one permutation.
    """
    if num_permutations < 1:
        raise InputError(
            f"An alignment report needs at least one permutation of the labels, not "
            f"{num_permutations}: raise num_permutations."
        )
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
    """When alignment should end, from the reports so far. It holds no state, so a run can resume.

    Attributes:
      patience: number of reports without growth after which to stop.
      min_growth: least growth that counts, as a fraction of the best value.
      min_deviation: fraction of the first report's deviation below which the target has shrunk.
      watched: name of the figure that should grow.
    """

    patience: int = 3
    min_growth: float = 0.01
    min_deviation: float = 0.5
    watched: str = "gap"

    def _has_shrunk(self, reports: Sequence[Mapping[str, float | int]], index: int) -> bool:
        return reports[index]["deviation"] < self.min_deviation * reports[0]["deviation"]

    def best(self, reports: Sequence[Mapping[str, float | int]]) -> int:
        """Index of the report whose embedder to keep: the largest value among those not shrunk."""
        best = 0
        for index, report in enumerate(reports):
            value = reports[best][self.watched]
            grew = report[self.watched] > value + self.min_growth * abs(value)
            if grew and not self._has_shrunk(reports, index):
                best = index
        return best

    def reason(self, reports: Sequence[Mapping[str, float | int]]) -> str | None:
        """The reason to stop now, as a sentence; None to continue.

        Args:
          reports: results of `alignment_report`, oldest first. The first is from before training.
        """
        if not reports:
            return None
        last, first = reports[-1], reports[0]
        if not all(math.isfinite(last[name]) for name in ("otdd", self.watched, "deviation")):
            return "The alignment report is no longer finite."
        if self._has_shrunk(reports, len(reports) - 1):
            return (
                f"The deviation of the target features fell to {last['deviation']:.3g}, below "
                f"{self.min_deviation:g} of its start {first['deviation']:.3g}."
            )
        best = self.best(reports)
        if len(reports) - 1 - best >= self.patience:
            return (
                f"{WATCHED.get(self.watched, self.watched)} has not grown for {self.patience} "
                f"reports (best {reports[best][self.watched]:.4g}, now {last[self.watched]:.4g})."
            )
        return None

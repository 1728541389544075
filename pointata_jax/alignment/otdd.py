"""Joint optimal-transport dataset distance between labeled feature sets, as a loss.

A sample is a pair of a feature and a label, and moving one onto another costs

  C_ij = ½ |u_i - v_j|² + (λ/2) W²(y_i, y_j),

W² from `label_distance`. The loss is the debiased Sinkhorn divergence of C over all classes at
once,

  S_ε = OT_ε(s, t) - ½ OT_ε(s, s) - ½ OT_ε(t, t),

with label distances inside the source, inside the target and across (Alvarez-Melis & Fusi, NeurIPS
2020). Solved by OTT-JAX in the log domain; gradients by Danskin's theorem, right at convergence
only, and so convergence is part of every result.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pointata_jax.alignment.costs import Array, squared_distances
from pointata_jax.alignment.label_distance import (
    COVARIANCES,
    Covariance,
    class_gaussians,
    gaussian_distances,
)
from pointata_jax.errors import InputError

PROBLEMS = ("cross", "source", "target")
"""The three transport problems of a divergence: source-target, source-source, target-target."""


@dataclasses.dataclass(frozen=True)
class OTDDConfig:
    """How the distance between data sets is measured.

    Attributes:
      label_weight: λ, weight of the label distance beside the feature distance.
      covariance: what of a class counts in its label distance: "full", "diagonal" or "none".
      max_per_class: samples of a class that make its covariance; None for twice a fair share.
      epsilon_scale: entropic regularization ε over the standard deviation of the cost.
      threshold: L1 error of the marginals at which the solver stops.
      max_iterations: Sinkhorn iterations after which it gives up, and says so.
    """

    label_weight: float = 1.0
    covariance: Covariance = "full"
    max_per_class: int | None = None
    epsilon_scale: float = 0.1
    threshold: float = 1e-3
    max_iterations: int = 2000

    def __post_init__(self):
        if self.covariance not in COVARIANCES:
            raise InputError(
                f"Unknown covariance {self.covariance!r} of the label distance: use one of "
                f"{', '.join(COVARIANCES)}."
            )
        for name in ("epsilon_scale", "threshold", "max_iterations"):
            if getattr(self, name) <= 0:
                raise InputError(f"OTDD's {name} is {getattr(self, name)}; it has to be positive.")
        if self.label_weight < 0:
            raise InputError(f"OTDD's label_weight is {self.label_weight}; use 0 or more.")


class Costs(NamedTuple):
    """Cost matrices: source-target `[n, m]`, source-source `[n, n]`, target-target `[m, m]`."""

    cross: jax.Array
    source: jax.Array
    target: jax.Array


def otdd_costs(
    source_features: Array,
    source_labels: Array,
    num_source_classes: int,
    target_features: Array,
    target_labels: Array,
    num_target_classes: int,
    config: OTDDConfig,
) -> tuple[Costs, dict[str, jax.Array]]:
    """The three cost matrices of a divergence, and what can be logged about them.

    Logs: `label_share`, the label part of the mean cross cost, and `covariance_left_out`, the share
    of samples beyond `max_per_class` that no covariance saw (neither when `label_weight` is 0).
    """
    u, v = source_features, target_features
    halves = Costs(*(squared_distances(a, b) / 2 for a, b in ((u, v), (u, u), (v, v))))
    if not config.label_weight:
        return halves, {}
    s = class_gaussians(u, source_labels, num_source_classes, config.max_per_class)
    t = class_gaussians(v, target_labels, num_target_classes, config.max_per_class)

    def label_part(a, labels_a, b, labels_b):
        table = gaussian_distances(a, b, config.covariance)
        rows, columns = jnp.asarray(labels_a)[:, None], jnp.asarray(labels_b)[None, :]
        return config.label_weight / 2 * table[rows, columns]

    labels = Costs(
        label_part(s, source_labels, t, target_labels),
        label_part(s, source_labels, s, source_labels),
        label_part(t, target_labels, t, target_labels),
    )
    costs = Costs(*(half + label for half, label in zip(halves, labels, strict=True)))
    beyond = [jnp.maximum(g.count - g.rows.shape[1], 0).sum() for g in (s, t)]
    logs = {
        "label_share": labels.cross.mean() / jnp.maximum(costs.cross.mean(), 1e-12),
        "covariance_left_out": (beyond[0] + beyond[1]) / (u.shape[0] + v.shape[0]),
    }
    return costs, jax.lax.stop_gradient(logs)


def regularization(cost: jax.Array, scale: float) -> jax.Array:
    """ε = `scale` times the standard deviation of a cost matrix; carries no gradient.

    Relative to the deviation because a constant in the cost moves its mean but not the plan.
    """
    cost = jax.lax.stop_gradient(cost)
    # The floor keeps a constant cost (collapsed features) from dividing by zero.
    return jnp.maximum(scale * jnp.std(cost), 1e-4 * jnp.mean(cost) + 1e-12)


class Transport(NamedTuple):
    """A solved transport problem: value `<P, C> + ε KL(P | ab)`, and how the solver fared."""

    value: jax.Array
    converged: jax.Array
    iterations: jax.Array


def solve(
    cost: jax.Array,
    epsilon: jax.Array | float,
    config: OTDDConfig,
    weights: tuple[jax.Array | None, jax.Array | None] = (None, None),
) -> Transport:
    """Entropic optimal transport for a cost matrix `[n, m]`, differentiable in the cost.

    Args:
      cost: `[n, m]`, float32 or wider.
      epsilon: regularization, in units of the cost.
      config: `threshold` and `max_iterations` of the solver.
      weights: marginals `[n]` and `[m]`, each summing to 1; None for uniform. Zeros are allowed and
        exclude a sample.
    """
    from ott.geometry import geometry
    from ott.solvers import linear

    out: Any = linear.solve(
        geometry.Geometry(cost_matrix=cost, epsilon=epsilon),  # type: ignore[arg-type]
        a=weights[0],
        b=weights[1],
        lse_mode=True,  # the other mode underflows silently in float32 at these costs
        threshold=config.threshold,
        max_iterations=config.max_iterations,
    )
    return Transport(out.reg_ot_cost, *jax.lax.stop_gradient((out.converged, out.n_iters)))


def sinkhorn_divergence(
    costs: Costs, config: OTDDConfig, epsilon: jax.Array | float | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Debiased Sinkhorn divergence of three cost matrices, uniform marginals.

    Args:
      costs: see `Costs`.
      config: solver and `epsilon_scale`.
      epsilon: absolute regularization of all three problems; None for `epsilon_scale` times the
        deviation of the cross cost.

    Returns:
      The value, in units of the cost, and logs: `epsilon`, `converged` (all three), and
      `converged_P`, `iterations_P` for each problem P of `PROBLEMS`.
    """
    if epsilon is None:
        epsilon = regularization(costs.cross, config.epsilon_scale)
    solved = [solve(cost, epsilon, config) for cost in costs]
    value = solved[0].value - (solved[1].value + solved[2].value) / 2
    return value, transport_logs(solved, epsilon)


def transport_logs(solved: list[Transport], epsilon: jax.Array | float) -> dict[str, jax.Array]:
    """Scalars to log about the three problems of a divergence, in the order of `PROBLEMS`."""
    logs = {"epsilon": jnp.asarray(epsilon)}
    logs["converged"] = jnp.stack([problem.converged.all() for problem in solved]).all()
    for name, problem in zip(PROBLEMS, solved, strict=True):
        logs[f"converged_{name}"] = problem.converged.all()
        logs[f"iterations_{name}"] = problem.iterations.max()
    return logs


def otdd(
    source_features: Array,
    source_labels: Array,
    num_source_classes: int,
    target_features: Array,
    target_labels: Array,
    num_target_classes: int,
    config: OTDDConfig | None = None,
    *,
    epsilon: jax.Array | float | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Optimal-transport dataset distance (debiased, squared units) between two labeled sets.

    Args:
      source_features, source_labels: `[n, D]` and int `[n]` in `[0, num_source_classes)`.
      num_source_classes: static.
      target_features, target_labels, num_target_classes: the other set, `[m, D]` and `[m]`. Label
        sets need not have anything in common. In training n = m: with fewer targets than sources
        every target is pulled to a mean of several sources, and the target shrinks.
      config: see `OTDDConfig`; its defaults if None.
      epsilon: see `sinkhorn_divergence`.

    Returns:
      (value, logs): logs of `sinkhorn_divergence` and `otdd_costs`. Gradients flow through the
      features and the class means, not through covariances or ε. Pure, jit-able.
    """
    config = config or OTDDConfig()
    costs, cost_logs = otdd_costs(
        source_features,
        source_labels,
        num_source_classes,
        target_features,
        target_labels,
        num_target_classes,
        config,
    )
    value, logs = sinkhorn_divergence(costs, config, epsilon)
    return value, logs | cost_logs


def warn_if_unconverged(logs: Mapping[str, Any], where: str = "alignment") -> str | None:
    """Warns (RuntimeWarning) when a transport problem in `logs` did not converge.

    Args:
      logs: logs of `otdd`, of an objective or of `alignment_report`, on the host. Logs without
        transport problems never warn.
      where: begins the sentence, for example "step 120".

    Returns:
      The sentence, to be written to a log too; None when all is well.
    """
    if bool(logs.get("converged", True)):
        return None
    failed = [
        f"{name} after {int(logs.get(f'iterations_{name}', -1))} iterations"
        for name in PROBLEMS
        if not bool(logs.get(f"converged_{name}", True))
    ]
    message = (
        f"{where}: optimal transport did not converge ({'; '.join(failed) or 'problem unknown'}), "
        "so its value and gradient are off: raise max_iterations or epsilon_scale, or look for "
        "non-finite features."
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    return message

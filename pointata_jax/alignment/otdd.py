"""Joint optimal-transport dataset distance between labeled feature sets, as a loss.

A sample is a pair of a feature and a label, and moving one onto another costs

  C_ij = ½ |u_i - v_j|² + (λ/2) W²(y_i, y_j),

with W² from `label_distance`. The loss is the debiased Sinkhorn divergence of C over all classes
together,

  S_ε = OT_ε(s, t) - ½ OT_ε(s, s) - ½ OT_ε(t, t),

with label distances within the source, within the target and between them (Alvarez-Melis & Fusi,
NeurIPS 2020). OTT-JAX solves the problems in the log domain. Gradients follow from Danskin's
theorem and are right at convergence only, so every result states whether the solver converged.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Scalar, Shaped

from pointata_jax.alignment.costs import AnyArray, squared_distances
from pointata_jax.alignment.label_distance import (
    COVARIANCES,
    ClassGaussians,
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
      label_weight: λ, weight of the label distance relative to the feature distance.
      covariance: part of a class's covariance in label distances: "full", "diagonal" or "none".
      max_per_class: samples of a class that its covariance is computed from; None for
        `label_distance.class_capacity`.
      epsilon_scale: entropic regularization ε, in standard deviations of the cost.
      threshold: L1 error of the marginals at which the solver stops.
      max_iterations: Sinkhorn iterations after which the solver stops unconverged.

    Raises:
      InputError: a value out of its range.
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


class LabeledSet(NamedTuple):
    """Features with labels.

    Attributes:
      features: one row per sample.
      labels: classes in `[0, num_classes)`.
      num_classes: static number of classes; any of them may be absent.
    """

    features: Num[AnyArray, "n d"]
    labels: Int[AnyArray, " n"]
    num_classes: int


class Costs(NamedTuple):
    """Cost matrices of the three transport problems of a divergence.

    Attributes:
      cross: from source to target.
      source: within the source.
      target: within the target.
    """

    cross: Float[Array, "n m"]
    source: Float[Array, "n n"]
    target: Float[Array, "m m"]


def otdd_costs(
    source: LabeledSet, target: LabeledSet, config: OTDDConfig
) -> tuple[Costs, dict[str, Scalar]]:
    """The three cost matrices of a divergence, and scalars to log about them.

    Logs: `label_share`, the label part of the mean cross cost, and `covariance_left_out`, the share
    of samples beyond `max_per_class`, which no covariance uses. Both are absent when
    `label_weight` is 0.
    """
    u, v = source.features, target.features
    halves = Costs(*(squared_distances(a, b) / 2 for a, b in ((u, v), (u, u), (v, v))))
    if not config.label_weight:
        return halves, {}
    s, t = (class_gaussians(*labeled, config.max_per_class) for labeled in (source, target))

    def label_part(
        a: ClassGaussians, labels_a: AnyArray, b: ClassGaussians, labels_b: AnyArray
    ) -> jax.Array:
        table = gaussian_distances(a, b, config.covariance)
        rows, columns = jnp.asarray(labels_a)[:, None], jnp.asarray(labels_b)[None, :]
        return config.label_weight / 2 * table[rows, columns]

    labels = Costs(
        label_part(s, source.labels, t, target.labels),
        label_part(s, source.labels, s, source.labels),
        label_part(t, target.labels, t, target.labels),
    )
    costs = Costs(*(half + label for half, label in zip(halves, labels, strict=True)))
    beyond = [jnp.maximum(g.count - g.rows.shape[1], 0).sum() for g in (s, t)]
    logs = {
        "label_share": labels.cross.mean() / jnp.maximum(costs.cross.mean(), 1e-12),
        "covariance_left_out": (beyond[0] + beyond[1]) / (u.shape[0] + v.shape[0]),
    }
    return costs, jax.lax.stop_gradient(logs)


def regularization(cost: Float[Array, "n m"], scale: float) -> Float[Array, ""]:
    """ε = `scale` times the standard deviation of a cost matrix; carries no gradient.

    It is relative to the deviation, not to the mean, because a constant added to the cost changes
    its mean but not the transport plan.
    """
    cost = jax.lax.stop_gradient(cost)
    # The floor keeps a constant cost (collapsed features) from dividing by zero.
    return jnp.maximum(scale * jnp.std(cost), 1e-4 * jnp.mean(cost) + 1e-12)


class Transport(NamedTuple):
    """Solution of one transport problem, or of several along a leading axis.

    Attributes:
      value: `<P, C> + ε KL(P | ab)` of the plan P.
      converged: whether the solver reached its threshold.
      iterations: number of Sinkhorn iterations.
    """

    value: Float[Array, "*problems"]
    converged: Bool[Array, "*problems"]
    iterations: Int[Array, "*problems"]


def solve(
    cost: Float[Array, "n m"],
    epsilon: Float[Array, ""] | float,
    config: OTDDConfig,
    weights: tuple[Float[Array, " n"] | None, Float[Array, " m"] | None] = (None, None),
) -> Transport:
    """Entropic optimal transport for a cost matrix, differentiable in the cost.

    Args:
      cost: float32 or wider.
      epsilon: regularization, in units of the cost.
      config: `threshold` and `max_iterations` of the solver.
      weights: the two marginals, each summing to 1; None for uniform. A zero excludes a sample.
    """
    from ott.geometry import geometry
    from ott.solvers import linear

    out = linear.solve(
        geometry.Geometry(cost_matrix=cost, epsilon=epsilon),  # type: ignore[arg-type]
        a=weights[0],
        b=weights[1],
        lse_mode=True,  # the other mode underflows silently in float32 at these costs
        threshold=config.threshold,
        max_iterations=config.max_iterations,
    )
    # OTT-JAX declares these as optional values and Python scalars.
    value, converged, iterations = cast(
        "tuple[jax.Array, jax.Array, jax.Array]", (out.reg_ot_cost, out.converged, out.n_iters)
    )
    return Transport(value, *jax.lax.stop_gradient((converged, iterations)))


def sinkhorn_divergence(
    costs: Costs, config: OTDDConfig, epsilon: Float[Array, ""] | float | None = None
) -> tuple[Float[Array, ""], dict[str, Scalar]]:
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


def transport_logs(solved: list[Transport], epsilon: Float[Array, ""] | float) -> dict[str, Scalar]:
    """Scalars to log about the three problems of a divergence, in the order of `PROBLEMS`."""
    logs = {"epsilon": jnp.asarray(epsilon)}
    logs["converged"] = jnp.stack([problem.converged.all() for problem in solved]).all()
    for name, problem in zip(PROBLEMS, solved, strict=True):
        logs[f"converged_{name}"] = problem.converged.all()
        logs[f"iterations_{name}"] = problem.iterations.max()
    return logs


def otdd(
    source_features: Num[AnyArray, "n d"],
    source_labels: Int[AnyArray, " n"],
    num_source_classes: int,
    target_features: Num[AnyArray, "m d"],
    target_labels: Int[AnyArray, " m"],
    num_target_classes: int,
    config: OTDDConfig | None = None,
    *,
    epsilon: Float[Array, ""] | float | None = None,
) -> tuple[Float[Array, ""], dict[str, Scalar]]:
    """Optimal-transport dataset distance (debiased, squared units) between two labeled sets.

    The classes of the two sets need not correspond. In training both sets have the same size. With
    fewer targets than sources every target is pulled to a mean of several sources, and the target
    shrinks.

    Args:
      source_features: features of the first set.
      source_labels: its classes, in `[0, num_source_classes)`.
      num_source_classes: static number of classes of the first set.
      target_features: features of the second set.
      target_labels: its classes, in `[0, num_target_classes)`.
      num_target_classes: static number of classes of the second set.
      config: see `OTDDConfig`; its defaults if None.
      epsilon: see `sinkhorn_divergence`.

    Returns:
      The value, and the logs of `sinkhorn_divergence` and `otdd_costs`. Gradients flow through the
      features and the class means, not through covariances or ε.
    """
    config = config or OTDDConfig()
    costs, cost_logs = otdd_costs(
        LabeledSet(source_features, source_labels, num_source_classes),
        LabeledSet(target_features, target_labels, num_target_classes),
        config,
    )
    value, logs = sinkhorn_divergence(costs, config, epsilon)
    return value, logs | cost_logs


def warn_if_unconverged(
    logs: Mapping[str, Shaped[AnyArray, ""] | np.generic | float],
    where: str = "alignment",
) -> str | None:
    """Warns (RuntimeWarning) when a transport problem in `logs` did not converge.

    Args:
      logs: logs of `otdd`, of an objective or of `alignment_report`, not traced. Logs without
        transport problems never warn.
      where: start of the sentence, for example "step 120".

    Returns:
      The sentence of the warning, for other logs; None when every problem converged.
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
        "so its value and gradient are wrong: raise max_iterations or epsilon_scale, or look for "
        "non-finite features."
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)
    return message

"""What stage 1 can minimize, by name: the joint OTDD and the objectives to compare it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, Scalar

from pointata_jax.alignment.costs import AnyArray, as_float, squared_distances
from pointata_jax.alignment.otdd import (
    LabeledSet,
    OTDDConfig,
    Transport,
    otdd,
    otdd_costs,
    regularization,
    solve,
    transport_logs,
)
from pointata_jax.errors import InputError

Loss = tuple[Float[Array, ""], dict[str, Scalar]]
"""The loss, and scalars to log by name."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss between a batch of source features and a batch of target features.

    An objective is hashable, so it can be a static argument of `jax.jit`.

    Attributes:
      name: a key of `OBJECTIVES`.
      num_source_classes: classes of the source bank.
      num_target_classes: classes of the task, or pseudo-classes.
      config: how transport is solved and labels are compared; `alignment_report` uses it too.

    Raises:
      InputError: an unknown name, or no class on one side.
    """

    name: str
    num_source_classes: int
    num_target_classes: int
    config: OTDDConfig = dataclasses.field(default_factory=OTDDConfig)

    def __post_init__(self):
        if self.name not in OBJECTIVES:
            raise InputError(
                f"Unknown alignment objective {self.name!r}: use one of {', '.join(OBJECTIVES)}."
            )
        if min(self.num_source_classes, self.num_target_classes) < 1:
            raise InputError(
                f"Alignment needs at least one class on both sides; there are "
                f"{self.num_source_classes} source and {self.num_target_classes} target classes."
            )

    @property
    def trains(self) -> bool:
        """Whether stage 1 takes gradient steps at all."""
        return OBJECTIVES[self.name].loss is not None

    @property
    def matches_moments(self) -> bool:
        """Whether the embedder's last layer starts with the bank's moments (see `moments`)."""
        return OBJECTIVES[self.name].matches_moments

    @property
    def uses_labels(self) -> bool:
        """Whether the loss reads the labels."""
        return OBJECTIVES[self.name].uses_labels

    def loss(
        self,
        source_features: Num[AnyArray, "n d"],
        source_labels: Int[AnyArray, " n"],
        target_features: Num[AnyArray, "n d"],
        target_labels: Int[AnyArray, " n"],
    ) -> Loss:
        """The loss and scalars to log.

        Args:
          source_features: features, standardized by the bank's fixed mean and deviation.
          source_labels: their classes.
          target_features: features, standardized by the same; gradients flow here.
          target_labels: their classes.

        Returns:
          The loss, and scalars by name. Objectives that do not train return 0.

        Raises:
          InputError: the two sides differ in number or width; raised when tracing.
        """
        if source_features.ndim != 2 or source_features.shape != target_features.shape:
            raise InputError(
                f"An alignment step needs as many source features as target features, of the same "
                f"width; it got {source_features.shape} and {target_features.shape}."
            )
        function = OBJECTIVES[self.name].loss
        if function is None:
            return jnp.zeros(()), {}
        return function(self, source_features, source_labels, target_features, target_labels)


@dataclasses.dataclass(frozen=True)
class Entry:
    """What an objective of `OBJECTIVES` does.

    Attributes:
      loss: function of objective, source features and labels, target features and labels; None
        for an objective that takes no gradient step.
      matches_moments: see `Objective.matches_moments`.
      uses_labels: see `Objective.uses_labels`.
    """

    loss: Callable[[Objective, AnyArray, AnyArray, AnyArray, AnyArray], Loss] | None
    matches_moments: bool = True
    uses_labels: bool = False


def _otdd(objective: Objective, u, source_labels, v, target_labels) -> Loss:
    return otdd(
        u,
        source_labels,
        objective.num_source_classes,
        v,
        target_labels,
        objective.num_target_classes,
        objective.config,
    )


def _sinkhorn(objective: Objective, u, source_labels, v, target_labels) -> Loss:
    """The divergence of the features alone (λ = 0)."""
    unlabeled = dataclasses.replace(objective.config, label_weight=0.0)
    plain = dataclasses.replace(objective, config=unlabeled)
    return _otdd(plain, u, source_labels, v, target_labels)


def _classwise(objective: Objective, u, source_labels, v, target_labels) -> Loss:
    """ORCA's surrogate: OTDD from the whole source to each target class, weighted by frequency.

    It is an ablation. At its minimum every target class covers the whole source, so labels are
    mixed. Source: ORCA (Shen et al., ICML 2023), stage 1.
    """
    config, num_target = objective.config, objective.num_target_classes
    costs, logs = otdd_costs(
        LabeledSet(u, source_labels, objective.num_source_classes),
        LabeledSet(v, target_labels, num_target),
        config,
    )
    epsilon = regularization(costs.cross, config.epsilon_scale)
    member = jax.nn.one_hot(target_labels, num_target, dtype=costs.cross.dtype, axis=0)
    frequency = member.mean(1)
    # An absent class is solved with uniform weights, and its frequency of zero removes it below.
    member = jnp.where(frequency[:, None] > 0, member, 1)
    weights = member / member.sum(1, keepdims=True)

    def to_class(weight: jax.Array) -> tuple[Transport, Transport]:
        return (
            solve(costs.cross, epsilon, config, (None, weight)),
            solve(costs.target, epsilon, config, (weight, weight)),
        )

    cross, target = jax.vmap(to_class)(weights)
    source = solve(costs.source, epsilon, config)
    value = jnp.dot(frequency, cross.value - target.value / 2) - source.value / 2
    return value, transport_logs([cross, source, target], epsilon) | logs


def _mmd(objective: Objective, u, source_labels, v, target_labels) -> Loss:
    """Squared maximum mean discrepancy, five RBF kernels around the mean squared distance."""
    del objective, source_labels, target_labels
    within_u, within_v, across = (squared_distances(a, b) for a, b in ((u, u), (v, v), (u, v)))
    bandwidth = (within_u.mean() + within_v.mean() + 2 * across.mean()) / 4
    bandwidth = jnp.maximum(jax.lax.stop_gradient(bandwidth), 1e-12)

    def kernel_mean(squared: jax.Array) -> jax.Array:
        widths = bandwidth * 2.0 ** jnp.arange(-2, 3)
        return jnp.exp(-squared[..., None] / widths).mean()

    value = kernel_mean(within_u) + kernel_mean(within_v) - 2 * kernel_mean(across)
    return value, {"bandwidth": bandwidth}


def _l2(objective: Objective, u, source_labels, v, target_labels) -> Loss:
    """Half the mean pairwise squared distance: OTDD's feature cost under a uniform plan.

    It is an ablation. At its minimum the target has collapsed onto the mean of the source.
    """
    del objective, source_labels, target_labels
    u, v = as_float(u), as_float(v)
    offset = jnp.square(u.mean(0) - v.mean(0)).sum()
    value = squared_distances(u, v).mean() / 2
    return value, {"mean_distance": jnp.sqrt(jax.lax.stop_gradient(offset))}


OBJECTIVES: dict[str, Entry] = {
    "otdd": Entry(_otdd, uses_labels=True),
    "sinkhorn": Entry(_sinkhorn),
    "mmd": Entry(_mmd),
    "l2": Entry(_l2),
    "classwise": Entry(_classwise, uses_labels=True),
    "moments": Entry(None),
    "none": Entry(None, matches_moments=False),
}
"""Objectives by name. `moments` only matches the moments of the last layer; `none` does nothing."""

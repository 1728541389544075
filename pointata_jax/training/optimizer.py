"""The optimizer of every stage: AdamW or Muon, warm-up and cosine, one clip, a rate per group."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import KeyPath
from jaxtyping import PyTree

from pointata_jax.errors import InputError
from pointata_jax.training.partition import TRAINABLE_GROUPS, Groups, Params

Rule = Literal["adamw", "muon"]

# Matrices with a side below this are no hidden layers: they read coordinates.
_NARROWEST_HIDDEN = 16


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Settings of `make_optimizer`.

    Attributes:
      rule: "adamw" for all parameters, or "muon" for the matrices that `hidden_matrices` picks and
        AdamW (with Nesterov's momentum) for the others. Muon (Jordan et al., 2024) makes the update
        of a matrix orthogonal. Here it is scaled to the size of an update of AdamW (Liu et al.,
        "Muon is Scalable for LLM Training", 2025), so that both have one learning rate.
      learning_rate: peak of the schedule, before the multiplier of a group.
      weight_decay: decoupled decay of the weights that `decay_mask` picks.
      total_steps: length of the schedule; after it the rate stays at `end_lr`.
      warmup_steps: steps of linear warm-up, part of `total_steps`. None: a twentieth of them.
      end_lr: learning rate at the end of the cosine (also multiplied per group).
      clip_norm: largest global norm of the gradient of all trainable parameters; None: no clip.
      group_multipliers: factor on the learning rate by group; 1 where not named.
      b1: decay of the mean of the gradients in Adam.
      b2: decay of the mean of their squares.
      eps: added to the root of that mean.
    """

    rule: Rule = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    total_steps: int = 2000
    warmup_steps: int | None = None
    end_lr: float = 0.0
    clip_norm: float | None = 5.0
    group_multipliers: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"embedder": 0.5}
    )
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        if self.rule not in get_args(Rule):
            raise InputError(
                f"unknown optimizer {self.rule!r}: choose one of {', '.join(get_args(Rule))}."
            )
        if self.total_steps < 1:
            raise InputError(f"total_steps is {self.total_steps}: train for at least one step.")
        if self.warmup_steps is not None and not 0 <= self.warmup_steps < self.total_steps:
            raise InputError(
                f"warm-up of {self.warmup_steps} steps does not fit into {self.total_steps} "
                "steps: lower warmup_steps or train for longer."
            )
        if self.learning_rate <= 0 or self.end_lr < 0 or self.weight_decay < 0:
            raise InputError(
                f"learning_rate={self.learning_rate}, end_lr={self.end_lr}, "
                f"weight_decay={self.weight_decay}: the first must be positive, the others not "
                "negative."
            )
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise InputError(f"clip_norm is {self.clip_norm}: give a positive number or None.")
        if unknown := set(self.group_multipliers) - set(TRAINABLE_GROUPS):
            raise InputError(
                f"group_multipliers names {', '.join(sorted(unknown))}: the groups that train are "
                f"{', '.join(TRAINABLE_GROUPS)}."
            )
        if min(self.group_multipliers.values(), default=1.0) <= 0:
            raise InputError(
                f"group_multipliers are {dict(self.group_multipliers)}: they must be positive; "
                "choose another tuning to freeze a group."
            )


class Schedule(NamedTuple):
    """Numbers of a schedule; in the state of the optimizer they are arrays.

    Since they are data of the compiled step, another length or peak does not compile it again.

    Attributes:
      peak: highest rate.
      end: rate after `total` steps.
      warmup: steps of linear warm-up, which starts at `peak / (warmup + 1)` instead of zero, so
        that the first step already learns.
      total: steps until the end of the cosine.
    """

    peak: Any
    end: Any
    warmup: Any
    total: Any

    def rate(self, step: Any) -> jax.Array:
        """The learning rate of a step, counted from 0."""
        done = jnp.clip((step - self.warmup) / (self.total - self.warmup), 0.0, 1.0)
        cosine = self.end + (self.peak - self.end) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))
        ramp = self.peak * (step + 1.0) / (self.warmup + 1.0)
        return jnp.where(step < self.warmup, ramp, cosine)


class ScheduledState(NamedTuple):
    """State of `scheduled`: the steps done, and the schedule as float32 scalars."""

    count: jax.Array
    schedule: Schedule


def schedule_of(config: OptimizerConfig, group: str | None = None) -> Schedule:
    """The schedule of one group or (None) without a multiplier."""
    factor = 1.0 if group is None else config.group_multipliers.get(group, 1.0)
    warmup = config.total_steps // 20 if config.warmup_steps is None else config.warmup_steps
    peak, end = config.learning_rate * factor, config.end_lr * factor
    return Schedule(peak, end, warmup, config.total_steps)


def scheduled(schedule: Schedule) -> optax.GradientTransformation:
    """Multiplies updates by the rate of a schedule that the state holds."""

    def init(params: Any) -> ScheduledState:
        del params
        numbers = Schedule(*(jnp.asarray(number, jnp.float32) for number in schedule))
        return ScheduledState(jnp.zeros((), jnp.int32), numbers)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ScheduledState]:
        del params
        rate = state.schedule.rate(state.count)
        scaled = jax.tree.map(lambda leaf: rate.astype(leaf.dtype) * leaf, updates)
        return scaled, ScheduledState(state.count + 1, state.schedule)

    return optax.GradientTransformation(init, update)


def decay_mask(params: Params) -> PyTree[bool]:
    """True where weight decay applies: matrices and kernels.

    Vectors (biases, scales of norms) have none. Gates and temporal embeddings have none either:
    zero means "off" for them, and only the loss should move them from or to zero.
    """

    def decays(path: KeyPath, leaf: jax.Array) -> bool:
        names = [str(getattr(entry, "key", entry)) for entry in path]
        exempt = names[-1] == "bias" or any(
            "gate" in name or "temporal_embedding" in name for name in names
        )
        return leaf.ndim > 1 and not exempt

    return jax.tree_util.tree_map_with_path(decays, params)


def hidden_matrices(params: Params) -> PyTree:
    """Muon's description of the matrices of hidden layers, None for all other parameters.

    These are the kernels that neither read coordinates nor make the outputs of a head.
    """

    def describe(path: KeyPath, leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        names = [str(getattr(entry, "key", entry)) for entry in path]
        hidden = (
            names[-1] == "kernel"
            and leaf.ndim == 2
            and min(leaf.shape) >= _NARROWEST_HIDDEN
            and "head" not in names
        )
        return optax.contrib.MuonDimensionNumbers() if hidden else None

    return jax.tree_util.tree_map_with_path(describe, params)


def group_transforms(config: OptimizerConfig) -> dict[Hashable, optax.GradientTransformation]:
    """The rule of every group that can train, with its own learning rate."""
    return {
        group: optax.chain(_rule(config), scheduled(schedule_of(config, group)))
        for group in TRAINABLE_GROUPS
    }


def _rule(config: OptimizerConfig) -> optax.GradientTransformation:
    """The rule with the rate 1."""
    if config.rule == "muon":
        return optax.contrib.muon(
            1.0,
            weight_decay=config.weight_decay,
            weight_decay_mask=decay_mask,
            adam_b1=config.b1,
            adam_b2=config.b2,
            adam_weight_decay=config.weight_decay,
            consistent_rms=0.2,
            # A callable is allowed, but the annotation of optax expands to arrays only.
            muon_weight_dimension_numbers=cast(Any, hidden_matrices),
        )
    return optax.adamw(
        1.0,
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decay_mask,
    )


def make_optimizer(
    config: OptimizerConfig, groups_of_trainable: Groups
) -> optax.GradientTransformation:
    """The optimizer of a trainable tree.

    Args:
      config: settings.
      groups_of_trainable: tree of group names shaped like the trainable parameters, see
        `partition.trainable_groups`.

    Returns:
      Clip by the global norm of the trainable gradients, then the rule with the rate of each
      group.
    """
    names = set(jax.tree.leaves(groups_of_trainable))
    if not names:
        raise InputError("no parameter trains: choose a tuning that trains something.")
    if unknown := names - set(TRAINABLE_GROUPS):
        raise InputError(
            f"the trainable tree holds the groups {', '.join(sorted(unknown))}: pass the result of "
            "partition.trainable_groups, which leaves frozen parameters out."
        )
    transforms = {name: t for name, t in group_transforms(config).items() if name in names}
    grouped = optax.multi_transform(transforms, groups_of_trainable)
    if config.clip_norm is None:
        return grouped
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), grouped)

"""The training step and the evaluation step: pure functions, compiled once.

The loss function (`LossFn`) sees the merged tree of parameters. The step differentiates it with
respect to the trainable tree only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh

from pointata_jax.errors import InputError
from pointata_jax.training import sharding
from pointata_jax.training.partition import Params, merge

Batch = Mapping[str, jax.Array | np.ndarray]
"""Arrays by name, each with the clips along its first axis."""

Metrics = dict[str, jax.Array]
"""Scalars by name."""

OWN_METRICS = ("loss", "grad_norm", "finite")
"""Names that the step itself adds to the metrics of the loss function."""

Outputs = TypeVar("Outputs")


class LossFn(Protocol):
    """What a step minimizes."""

    def __call__(
        self, params: Params, model_state: Params, batch: Batch, key: jax.Array, train: bool, /
    ) -> tuple[jax.Array, tuple[Params, Metrics]]:
        """Loss, and with it the new model state and metrics.

        Args:
          params: trainable and frozen parameters, merged.
          model_state: the other collections (`{"batch_stats": …}` or `{}`).
          batch: the global batch.
          key: randomness of this step.
          train: whether dropout and batch statistics work as in training.
        """
        ...


class TrainStep(Protocol):
    """A compiled step, see `make_train_step`."""

    def __call__(
        self, state: TrainState, frozen: Params, batch: Batch, key: jax.Array, /
    ) -> tuple[TrainState, Metrics]:
        """The state after one step, and the metrics of the step."""
        ...


class TrainingDiverged(InputError):
    """The loss or its gradient stopped being finite.

    Attributes:
      step: the first bad step, counted from 1.
      last_good_checkpoint: step of the newest checkpoint, None if there is none.
    """

    def __init__(self, message: str, *, step: int, last_good_checkpoint: int | None = None):
        super().__init__(message)
        self.step = step
        self.last_good_checkpoint = last_good_checkpoint


@struct.dataclass
class TrainState:
    """All that changes while training, and all that a checkpoint needs.

    Attributes:
      step: number of steps done, int32 scalar.
      trainable: the trainable parameters.
      model_state: collections that the forward pass updates, e.g. `{"batch_stats": …}`.
      opt_state: state of the optimizer, for the trainable parameters only.
    """

    step: jax.Array | np.integer
    trainable: Params
    model_state: Params
    opt_state: optax.OptState


def create_train_state(
    trainable: Params,
    model_state: Params,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
) -> TrainState:
    """A state at step 0, copied: the step donates its buffers, the caller's arrays stay alive."""
    trainable, model_state = jax.tree.map(
        lambda leaf: jnp.array(leaf, copy=True), (trainable, model_state)
    )
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        trainable=trainable,
        model_state=model_state,
        opt_state=jax.jit(optimizer.init)(trainable),
    )
    return state if mesh is None else sharding.replicate(state, mesh)


def train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frozen: Params,
    batch: Batch,
    key: jax.Array,
) -> tuple[TrainState, Metrics]:
    """One step, not compiled; see `make_train_step`."""

    def loss_of(trainable):
        return loss_fn(
            merge(trainable, frozen),
            state.model_state,
            batch,
            jax.random.fold_in(key, state.step),
            True,
        )

    (loss, (model_state, metrics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(
        state.trainable
    )
    if taken := set(metrics) & set(OWN_METRICS):
        raise InputError(
            f"the loss function returns the metric '{min(taken)}', a name that the step itself "
            "uses: rename it."
        )
    if jax.tree.structure(model_state) != jax.tree.structure(state.model_state):
        raise InputError(
            f"the loss function returns the model state {jax.tree.structure(model_state)}, but was "
            f"given {jax.tree.structure(state.model_state)}: return all the collections it gets."
        )
    norm = optax.tree.norm(gradient)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.trainable)
    new = TrainState(
        step=state.step + 1,
        trainable=cast(Params, optax.apply_updates(state.trainable, updates)),
        model_state=model_state,
        opt_state=opt_state,
    )
    # A step that is not finite leaves the state as it was. The host looks at the metrics later, and
    # a checkpoint that is written in between must not hold NaN.
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    return new, {**metrics, "loss": loss, "grad_norm": norm, "finite": finite}


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
    donate: bool = True,
) -> TrainStep:
    """Compiles `step(state, frozen, batch, key) -> (state, metrics)`.

    Args:
      loss_fn: it sees the global batch, so batch statistics and optimal-transport costs are those
        of one device, however many there are.
      optimizer: for the trainable tree.
      mesh: 1-D `data` mesh; the state is replicated and the batch split along its first axis.
        None: everything on the default device.
      donate: reuse the buffers of `state` (and of nothing else) for the result.

    Returns:
      The step. `key` is the same for all steps: it is folded with `state.step`. Metrics are device
      scalars: those of the loss function, `loss`, `grad_norm` and `finite`. A step that is not
      finite returns the state it was given.
    """

    def step(state, frozen, batch, key):
        return train_step(loss_fn, optimizer, state, frozen, batch, key)

    donated = (0,) if donate else ()
    if mesh is None:
        return jax.jit(step, donate_argnums=donated)
    everywhere, rows = sharding.replicated(mesh), sharding.batch_rows(mesh)
    return jax.jit(
        step,
        donate_argnums=donated,
        in_shardings=(everywhere, everywhere, rows, everywhere),
        out_shardings=everywhere,
    )


def make_eval_step(
    eval_fn: Callable[[Params, Params, Any], Outputs], *, mesh: Mesh | None = None
) -> Callable[[TrainState, Params, Any], Outputs]:
    """Compiles `eval_step(state, frozen, batch) -> outputs`, outputs whole on every host.

    Args:
      eval_fn: `eval_fn(params, model_state, batch) -> tree of arrays` (logits, sums …). A batch is
        any tree of arrays with the clips along their first axis.
      mesh: as in `make_train_step`; pad the last batch with `sharding.pad_batch`.
    """

    def step(trainable, model_state, frozen, batch):
        return eval_fn(merge(trainable, frozen), model_state, batch)

    if mesh is None:
        compiled = jax.jit(step)
    else:
        everywhere, rows = sharding.replicated(mesh), sharding.batch_rows(mesh)
        compiled = jax.jit(
            step,
            in_shardings=(everywhere, everywhere, everywhere, rows),
            out_shardings=everywhere,
        )

    def eval_step(state: TrainState, frozen: Params, batch: Any) -> Outputs:
        if mesh is not None:
            batch = sharding.shard_batch(batch, mesh)
        return compiled(state.trainable, state.model_state, frozen, batch)

    return eval_step

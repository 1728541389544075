"""The training step and the evaluation step: pure functions, compiled once.

A loss is a function

    loss_fn(params, model_state, batch, key, train) -> (loss, (new_model_state, metrics))

with `params` the merged tree, `model_state` the other collections (`{"batch_stats": …}` or `{}`),
`metrics` a dict of scalars. The step differentiates it with respect to the trainable tree only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from pointata_jax.errors import InputError
from pointata_jax.training import sharding
from pointata_jax.training.partition import Tree, merge

LossFn = Callable[..., tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]]
Metrics = dict[str, jax.Array]
OWN_METRICS = ("loss", "grad_norm", "finite", "learning_rate")


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

    step: Any
    trainable: Any
    model_state: Any
    opt_state: Any


def create_train_state(
    trainable: Tree,
    model_state: Tree,
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
    frozen: Tree,
    batch: Any,
    key: jax.Array,
    schedule: optax.Schedule | None = None,
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
        trainable=optax.apply_updates(state.trainable, updates),
        model_state=model_state,
        opt_state=opt_state,
    )
    # A step that is not finite leaves the state as it was, so that what a later checkpoint (or the
    # caller) sees is never poisoned, whenever the host gets round to looking.
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    metrics = {**metrics, "loss": loss, "grad_norm": norm, "finite": finite}
    if schedule is not None:
        metrics["learning_rate"] = schedule(state.step)
    return new, metrics


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
    schedule: optax.Schedule | None = None,
    donate: bool = True,
) -> Callable[[TrainState, Tree, Any, jax.Array], tuple[TrainState, Metrics]]:
    """Compiles `step(state, frozen, batch, key) -> (state, metrics)`.

    Args:
      loss_fn: see the head of this file. It sees the global batch: batch statistics and
        optimal-transport costs are over all devices, as on one.
      optimizer: for the trainable tree.
      mesh: 1-D `data` mesh; the state is replicated and the batch split along its first axis.
        None: everything on the default device.
      schedule: learning rate by step, only to be logged.
      donate: reuse the buffers of `state` (and of nothing else) for the result.

    Returns:
      The step. `key` is the same for all steps: it is folded with `state.step`. Metrics are device
      scalars: those of the loss function, `loss`, `grad_norm` and `finite`. A step that is not
      finite returns the state it was given.
    """

    def step(state, frozen, batch, key):
        return train_step(loss_fn, optimizer, state, frozen, batch, key, schedule)

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
    eval_fn: Callable[[Any, Any, Any], Any], *, mesh: Mesh | None = None
) -> Callable[[TrainState, Tree, Any], Any]:
    """Compiles `eval_step(state, frozen, batch) -> outputs`, outputs whole on every host.

    Args:
      eval_fn: `eval_fn(params, model_state, batch) -> tree of arrays` (logits, sums …).
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

    def eval_step(state: TrainState, frozen: Tree, batch: Any) -> Any:
        if mesh is not None:
            batch = sharding.shard_batch(batch, mesh)
        return compiled(state.trainable, state.model_state, frozen, batch)

    return eval_step

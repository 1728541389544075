"""Cross-entropy over labels of clips, frames or points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from pointata_jax.training.partition import Params
from pointata_jax.training.step import Batch, Metrics


@runtime_checkable
class Model(Protocol):
    """A Flax module, as `make_loss` calls it."""

    def apply(self, variables: Params, *args: Any, **kwargs: Any) -> Any:
        """Outputs, and the collections that `mutable` names."""
        ...


def cross_entropy(
    logits: Float[Array, "*shape classes"],
    labels: Int[Array, "*shape"],
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Softmax cross-entropy of each position, and a mask of the positions that count.

    Args:
      logits: scores of the classes at each position.
      labels: true classes; a position with a negative label does not count, and its loss is 0.
      label_smoothing: share of the target that is spread over all classes.
      class_weights: factor on the loss of each class; empty for equal weights.

    Returns:
      Losses, and the mask of ones and zeros.
    """
    counted = labels >= 0
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    losses = optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))
    if class_weights:
        losses = losses * jnp.asarray(class_weights)[jnp.where(counted, labels, 0)]
    return jnp.where(counted, losses, 0.0), counted.astype(losses.dtype)


def make_loss(
    model: Model, *, label_smoothing: float = 0.0, class_weights: Sequence[float] = ()
) -> Callable[..., tuple[jax.Array, tuple[Params, Metrics]]]:
    """A `training.step.LossFn`: the mean over all labels of a batch that count.

    Args:
      model: its outputs for `batch["points"]` are logits, with the axes of `batch["label"]` and an
        axis of classes.
      label_smoothing: see `cross_entropy`.
      class_weights: see `cross_entropy`.
    """

    def loss_fn(
        params: Params, model_state: Params, batch: Batch, key: jax.Array, train: bool = True
    ) -> tuple[jax.Array, tuple[Params, Metrics]]:
        logits, new_state = model.apply(
            {"params": params, **model_state},
            batch["points"],
            train=train,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        labels = jnp.asarray(batch["label"])
        losses, counted = cross_entropy(
            logits, labels, label_smoothing=label_smoothing, class_weights=class_weights
        )
        total = jnp.maximum(counted.sum(), 1.0)
        correct = (logits.argmax(-1) == labels) * counted
        return losses.sum() / total, (new_state, {"accuracy": 100.0 * correct.sum() / total})

    return loss_fn

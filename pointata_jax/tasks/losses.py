"""Cross-entropy over labels of clips, frames or points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
) -> tuple[jax.Array, jax.Array]:
    """Softmax cross-entropy of each position, and which positions count.

    Args:
      logits: `[..., K]`.
      labels: int `[...]`; a negative one does not count, and its loss is 0.
      label_smoothing: share of the target that is spread over all classes.
      class_weights: factor on the loss of each class, `[K]`; none for equal weights.

    Returns:
      Losses and a mask of ones and zeros, both float `[...]`.
    """
    counted = labels >= 0
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    losses = optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))
    if class_weights:
        losses = losses * jnp.asarray(class_weights)[jnp.where(counted, labels, 0)]
    return jnp.where(counted, losses, 0.0), counted.astype(losses.dtype)


def make_loss(
    model: Any, *, label_smoothing: float = 0.0, class_weights: Sequence[float] = ()
) -> Callable:
    """The loss of `training.step`: the mean over all labels of the (global) batch that count.

    Args:
      model: maps `batch["points"]` to logits of the shape of `batch["label"]` and one axis more.
      label_smoothing, class_weights: see `cross_entropy`.
    """

    def loss_fn(params, model_state, batch, key, train=True):
        logits, new_state = model.apply(
            {"params": params, **model_state},
            batch["points"],
            train=train,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        labels = batch["label"]
        losses, counted = cross_entropy(
            logits, labels, label_smoothing=label_smoothing, class_weights=class_weights
        )
        total = jnp.maximum(counted.sum(), 1.0)
        correct = (logits.argmax(-1) == labels) * counted
        return losses.sum() / total, (new_state, {"accuracy": 100.0 * correct.sum() / total})

    return loss_fn

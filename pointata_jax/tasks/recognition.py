"""Action recognition: one label per clip, scored per window and per video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

from pointata_jax.metrics.classification import recognition_scores


def cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Softmax cross-entropy of logits `[B, K]` and int labels `[B]`, per clip `[B]`."""
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))


def make_loss(model: Any, *, label_smoothing: float = 0.0) -> Callable:
    """The loss of `training.step` for a model that maps `batch["points"]` to logits `[B, K]`."""

    def loss_fn(params, model_state, batch, key, train=True):
        logits, new_state = model.apply(
            {"params": params, **model_state},
            batch["points"],
            train=train,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        loss = cross_entropy(logits, batch["label"], label_smoothing=label_smoothing).mean()
        correct = jnp.mean(logits.argmax(-1) == batch["label"])
        return loss, (new_state, {"accuracy": 100.0 * correct})

    return loss_fn


def score(
    predict: Callable[[dict[str, np.ndarray]], np.ndarray],
    batches: Iterable[dict[str, np.ndarray]],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Runs `predict` (this host's batch → its logits `[b, K]`) and scores the rows of all hosts.

    Rows with weight 0, which only fill up the last batch, do not count.
    """
    rows = [
        (np.asarray(predict(batch)), batch["label"], batch["video"], batch["weight"])
        for batch in batches
    ]
    columns = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
    if jax.process_count() > 1:
        columns = multihost_utils.process_allgather(columns, tiled=True)
    logits, labels, videos, weights = columns
    real = weights > 0
    return recognition_scores(logits[real], labels[real], videos[real], class_names)

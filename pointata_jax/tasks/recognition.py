"""Action recognition: one label per clip, scored per window and per video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

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
    """Runs `predict` (batch → logits `[B, K]`) over padded batches and scores the real rows."""
    logits, labels, videos = [], [], []
    for batch in batches:
        real = batch["weight"] > 0
        logits.append(np.asarray(predict(batch))[real])
        labels.append(batch["label"][real])
        videos.append(batch["video"][real])
    return recognition_scores(
        np.concatenate(logits), np.concatenate(labels), np.concatenate(videos), class_names
    )

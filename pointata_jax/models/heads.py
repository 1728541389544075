"""Task heads on the tokens of a clip."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from pointata_jax.models.point_mae import BATCH_NORM_MOMENTUM, NORM_EPSILON


def frame_features(tokens: jax.Array) -> jax.Array:
    """One vector per anchor frame, `[B, T', n, D] -> [B, T', 2D]`: mean and maximum of tokens."""
    return jnp.concatenate([tokens.mean(-2), tokens.max(-2)], axis=-1)


class RecognitionHead(nn.Module):
    """One label per clip, tokens `[B, T', n, D] -> logits [B, classes]`.

    Frame vectors are averaged over time and go through BatchNorm first: features behind a frozen
    backbone share a large common mean, which LayerNorm, working on one sample, cannot remove.

    Attributes:
      num_classes: number of logits.
      hidden: width of the hidden layer.
      dropout: rate before the last layer while training.
    """

    num_classes: int
    hidden: int = 256
    dropout: float = 0.5

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        pooled = frame_features(tokens).mean(-2)
        pooled = nn.BatchNorm(
            use_running_average=not train,
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=NORM_EPSILON,
            name="norm",
        )(pooled)
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return nn.Dense(self.num_classes, name="logits")(hidden)

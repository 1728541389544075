"""Task heads on the tokens of a clip: one label per clip, per frame or per point.

All of them begin with BatchNorm: features behind a frozen backbone share a large common mean, which
LayerNorm, working on one sample, cannot remove.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from pointata_jax import ops
from pointata_jax.models.point_mae import BATCH_NORM_MOMENTUM, NORM_EPSILON


def frame_features(tokens: jax.Array) -> jax.Array:
    """One vector per anchor frame, `[B, T', n, D] -> [B, T', 2D]`: mean and maximum of tokens."""
    return jnp.concatenate([tokens.mean(-2), tokens.max(-2)], axis=-1)


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """BatchNorm with PyTorch's constants; running statistics unless `train`."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=NORM_EPSILON,
        name=name,
    )


def anchor_weights(num_frames: int, num_anchors: int, stride: int) -> np.ndarray:
    """Linear interpolation from anchor frames 0, stride, … to all frames, float32 `[T, T']`.

    Frames after the last anchor take its value.
    """
    place = np.minimum(np.arange(num_frames) / stride, num_anchors - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(num_anchors))).astype(np.float32)


class RecognitionHead(nn.Module):
    """One label per clip, tokens `[B, T', n, D] -> logits [B, classes]`.

    Frame vectors are averaged over time.

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
        pooled = batch_norm(train, "norm")(frame_features(tokens).mean(-2))
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return nn.Dense(self.num_classes, name="logits")(hidden)


class ActionSegmentationHead(nn.Module):
    """One label per frame, tokens `[B, T', n, D] -> logits [B, T, classes]`.

    Logits are made at the anchor frames and interpolated linearly to the frames between them.

    Attributes:
      num_classes: number of logits.
      anchor_stride: every how many frames an anchor is placed.
      hidden: width of the hidden layer.
      dropout: rate before the last layer while training.
    """

    num_classes: int
    anchor_stride: int = 1
    hidden: int = 256
    dropout: float = 0.5

    @nn.compact
    def __call__(self, tokens: jax.Array, num_frames: int, train: bool = False) -> jax.Array:
        frames = batch_norm(train, "norm")(frame_features(tokens))
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(frames))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        logits = nn.Dense(self.num_classes, name="logits")(hidden)
        weights = anchor_weights(num_frames, tokens.shape[1], self.anchor_stride)
        return jnp.einsum("ta,bac->btc", weights, logits)


class SemanticSegmentationHead(nn.Module):
    """One label per point, tokens of several blocks `-> logits [B, T, N, classes]`.

    Tokens are propagated to the points of their frame by three-nearest inverse-distance
    interpolation (PointNet++, Qi et al. 2017, §3.4) and meet there what the point itself says: its
    coordinates, its channels and its place relative to the nearest center.

    Attributes:
      num_classes: number of logits.
      anchor_stride: every how many frames an anchor is placed; frames without one use the nearest.
      radius: of the tubes; the unit of the place relative to a center.
      hidden: width of the layers at the points.
      dropout: rate before the last layer while training.
    """

    num_classes: int
    anchor_stride: int = 1
    radius: float = 0.2
    hidden: int = 128
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self,
        levels: list[jax.Array],
        centers: jax.Array,
        clip: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Logits of all points of `clip` `[B, T, N, 3+C]`.

        Args:
          levels: tokens `[B, T', n, D]` after some of the blocks.
          centers: `[B, T', n, 3]`.
          clip: the clip that the tokens were made of.
          train: BatchNorm on batch statistics, dropout on.
        """
        num_frames = clip.shape[1]
        tokens = batch_norm(train, "norm")(jnp.concatenate(levels, axis=-1))
        # Interpolation is linear, so the wide tokens are narrowed first.
        tokens = nn.Dense(self.hidden, name="tokens")(tokens)
        weights = anchor_weights(num_frames, centers.shape[1], self.anchor_stride)
        nearest = weights.argmax(1)
        different = ~ops.repeated_points(centers)[:, nearest]
        centers, tokens = centers[:, nearest], tokens[:, nearest]
        xyz = clip[..., :3]
        spread = ops.three_nn_interpolate(xyz, centers, tokens, valid=different)
        place = xyz - ops.gather(centers, ops.knn(xyz, centers, 1)[..., 0])
        own = jnp.concatenate([clip, place / self.radius], axis=-1)
        rows = spread + nn.Dense(self.hidden, use_bias=False, name="points")(own)
        rows = nn.relu(batch_norm(train, "point_norm_0")(rows)).reshape(-1, self.hidden)
        rows = nn.Dense(self.hidden, use_bias=False, name="hidden")(rows)
        rows = nn.relu(batch_norm(train, "point_norm_1")(rows))
        rows = nn.Dropout(self.dropout, deterministic=not train)(rows)
        logits = nn.Dense(self.num_classes, name="logits")(rows)
        return logits.reshape(*clip.shape[:3], self.num_classes)

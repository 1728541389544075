"""Task heads on the tokens of a clip: one label per clip, per frame or per point.

All of them begin with BatchNorm: features of a frozen backbone share a large common mean, which
LayerNorm cannot remove because it normalizes each sample alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Float32

from pointata_jax import ops
from pointata_jax.models.point_mae import BATCH_NORM_MOMENTUM, NORM_EPSILON


def frame_features(tokens: Float[Array, "b anchors m d"]) -> Float[Array, "b anchors 2*d"]:
    """One vector per anchor frame: mean and maximum of its tokens."""
    return jnp.concatenate([tokens.mean(-2), tokens.max(-2)], axis=-1)


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """BatchNorm with PyTorch's constants.

    Args:
      train: whether to use batch statistics and update the running ones.
      name: name of the submodule.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=NORM_EPSILON,
        name=name,
    )


def anchor_weights(
    num_frames: int, num_anchors: int, stride: int
) -> Float32[np.ndarray, "{num_frames} {num_anchors}"]:
    """Weights of a linear interpolation from anchor frames 0, stride, … to all frames.

    Frames after the last anchor take its value.
    """
    place = np.minimum(np.arange(num_frames) / stride, num_anchors - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(num_anchors))).astype(np.float32)


class RecognitionHead(nn.Module):
    """One label per clip, from the frame vectors of one block or of several.

    Attributes:
      num_classes: number of logits.
      hidden: width of the hidden layer.
      dropout: rate before the last layer during training.
      time_pooling: "mean" of the frame vectors over time, or "mean_std" for their standard
        deviation as well, which tells how much each feature changes.
    """

    num_classes: int
    hidden: int = 256
    dropout: float = 0.5
    time_pooling: str = "mean"

    @nn.compact
    def __call__(
        self, levels: Sequence[Float[Array, "b anchors m d"]], train: bool = False
    ) -> Float[Array, "b {self.num_classes}"]:
        """Logits of each clip.

        Args:
          levels: tokens of the clips after each block that is read.
          train: whether BatchNorm uses batch statistics and dropout is on.
        """
        frames = jnp.concatenate([frame_features(tokens) for tokens in levels], axis=-1)
        pooled = frames.mean(-2)
        if self.time_pooling == "mean_std":
            # The root of zero has no gradient.
            deviation = jnp.sqrt(frames.var(-2) + NORM_EPSILON)
            pooled = jnp.concatenate([pooled, deviation], axis=-1)
        pooled = batch_norm(train, "norm")(pooled)
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(pooled))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        return nn.Dense(self.num_classes, name="logits")(hidden)


class ActionSegmentationHead(nn.Module):
    """One label per frame.

    Logits are computed at the anchor frames and interpolated linearly to the frames between them.

    Attributes:
      num_classes: number of logits.
      anchor_stride: frames from one anchor frame to the next.
      hidden: width of the hidden layer.
      dropout: rate before the last layer during training.
    """

    num_classes: int
    anchor_stride: int = 1
    hidden: int = 256
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "b anchors m d"], num_frames: int, train: bool = False
    ) -> Float[Array, "b {num_frames} {self.num_classes}"]:
        """Logits of each frame.

        Args:
          tokens: tokens of the clips.
          num_frames: frames t of a clip.
          train: whether BatchNorm uses batch statistics and dropout is on.
        """
        frames = batch_norm(train, "norm")(frame_features(tokens))
        hidden = nn.gelu(nn.Dense(self.hidden, name="hidden")(frames))
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        logits = nn.Dense(self.num_classes, name="logits")(hidden)
        weights = anchor_weights(num_frames, tokens.shape[1], self.anchor_stride)
        return jnp.einsum("ta,bac->btc", weights, logits)


class SemanticSegmentationHead(nn.Module):
    """One label per point, from the tokens of several blocks.

    Tokens are propagated to the points of their frame by inverse-distance interpolation between the
    three nearest (PointNet++, Qi et al. 2017, §3.4). To these are added the point's own features:
    its coordinates, its channels and its place relative to the nearest center.

    Attributes:
      num_classes: number of logits.
      anchor_stride: frames from one anchor frame to the next; other frames use the nearest anchor.
      radius: radius of the tubes, the unit of the place relative to a center.
      hidden: width of the layers at the points.
      dropout: rate before the last layer during training.
    """

    num_classes: int
    anchor_stride: int = 1
    radius: float = 0.2
    hidden: int = 128
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self,
        levels: Sequence[Float[Array, "b anchors m d"]],
        centers: Float[Array, "b anchors m 3"],
        clip: Float[Array, "b t n c"],
        train: bool = False,
    ) -> Float[Array, "b t n {self.num_classes}"]:
        """Logits of all points of a clip.

        Args:
          levels: tokens after some of the blocks.
          centers: places of the tokens.
          clip: the clip that the tokens were made of; coordinates come first.
          train: whether BatchNorm uses batch statistics and dropout is on.
        """
        num_frames = clip.shape[1]
        tokens = batch_norm(train, "norm")(jnp.concatenate(levels, axis=-1))
        # Interpolation is linear, so tokens are projected to the smaller width before it.
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

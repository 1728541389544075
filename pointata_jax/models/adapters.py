"""Adapters around frozen transformer blocks: point-video adapter and spatial-context encoder.

Both are bottlenecks on a residual branch (Houlsby et al. 2019; ST-Adapter, Pan et al. 2022, for the
depth-wise temporal convolution). `LowRank` changes the attention of a block instead. Tokens at
farthest-point centers have no index correspondence between frames, so "the same token in another
frame" is the token whose center is nearest there. The index tables are computed once per clip and
reused by every block.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int, Int32

from pointata_jax import ops
from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import NORM_EPSILON


def neighbor_frames(num_frames: int, dilation: int) -> Int[np.ndarray, "{num_frames} 2"]:
    """Frames at -dilation and +dilation of each frame, clamped to the clip."""
    offsets = np.asarray([-dilation, dilation])
    return np.clip(np.arange(num_frames)[:, None] + offsets, 0, num_frames - 1)


def temporal_correspondence(
    centers: Float[Array, "b anchors m 3"], dilation: int = 1
) -> Int32[Array, "b anchors m 2"]:
    """The corresponding tokens of each token in an earlier and in a later frame.

    Args:
      centers: places of the tokens.
      dilation: distance in anchor frames.

    Returns:
      Index, within frames t - dilation and t + dilation, of the token whose center is nearest.
      Frames outside the clip are clamped to its first or last one (`neighbor_frames`). Where that
      is the token's own frame, the index is that of the token itself.
    """
    frames = neighbor_frames(centers.shape[1], dilation)
    there = jax.lax.stop_gradient(centers[:, frames])
    here = jnp.broadcast_to(centers[:, :, None], there.shape)
    return ops.knn(here, there, 1)[..., 0].swapaxes(-1, -2)


def index_correspondence(batch: int, anchors: int, m: int) -> Int32[Array, "b anchors m 2"]:
    """The table that takes tokens of equal index for corresponding ones; only for comparison."""
    return jnp.broadcast_to(jnp.arange(m, dtype=jnp.int32)[:, None], (batch, anchors, m, 2))


def spatial_neighbors(
    centers: Float[Array, "b anchors m 3"], k: int
) -> Int32[Array, "b anchors m {k}"]:
    """Indices of the k nearest other tokens of the same frame.

    Tokens at the same place count as one. Where a frame has fewer than k others, the token itself
    fills the remaining places.

    Args:
      centers: places of the tokens.
      k: number of neighbors.

    Raises:
      InputError: a frame has no k other tokens.
    """
    if k >= centers.shape[-2]:
        raise InputError(
            f"{k} neighboring tokens are requested in frames of {centers.shape[-2]} tokens: "
            "lower sce_neighbors or raise num_centers."
        )
    centers = jax.lax.stop_gradient(centers)
    # The first is the token itself, or the first of the tokens at its place.
    different = ~ops.repeated_points(centers)
    return ops.knn(centers, centers, k + 1, valid=different)[..., 1:]


class PointVideoAdapter(nn.Module):
    """Temporal adapter: x + s · W_up · PW(gelu(DW(W_down · LN(x)))).

    DW is a depth-wise convolution of kernel 3 over anchor frames along the nearest-center table. PW
    mixes channels. Kernel and bias of W_up start at zero, so the adapter starts as the identity.

    Attributes:
      bottleneck: inner width.
      scale: factor s of the branch.
      dropout: rate on the inner features during training.
      dilation: distance in anchor frames; must be the one the table was made with.
      frame_pooled: whether the neighboring frames give the mean of their tokens instead of the
        corresponding token; only for comparison.
    """

    bottleneck: int = 64
    scale: float = 1.0
    dropout: float = 0.0
    dilation: int = 1
    frame_pooled: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b anchors m d"],
        correspondence: Int[Array, "b anchors m 2"],
        train: bool = False,
    ) -> Float[Array, "b anchors m d"]:
        """Adapts tokens.

        Args:
          x: tokens.
          correspondence: table of `temporal_correspondence`.
          train: whether dropout is on.
        """
        batch, num_frames, n, width = x.shape
        rank = self.bottleneck
        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm")(x).reshape(-1, width)
        inner = nn.Dense(rank, name="down")(rows).reshape(batch, num_frames * n, rank)

        frames = neighbor_frames(num_frames, self.dilation)
        if self.frame_pooled:
            means = inner.reshape(batch, num_frames, n, rank).mean(2)[:, frames]
            beside = jnp.repeat(means, n, axis=1)
        else:
            index = (correspondence + (frames * n)[None, :, None, :]).reshape(batch, -1)
            beside = ops.gather(inner, index).reshape(batch, num_frames * n, 2, rank)
        # A depth-wise convolution sums three taps, so the fan-in of the initializer is 3.
        kernel = self.param("temporal_kernel", nn.initializers.normal(3**-0.5), (3, rank))
        bias = self.param("temporal_bias", nn.initializers.zeros, (rank,))
        mixed = beside[:, :, 0] * kernel[0] + inner * kernel[1] + beside[:, :, 1] * kernel[2] + bias

        rows = nn.Dense(rank, name="mix")(nn.gelu(mixed).reshape(-1, rank))
        rows = nn.Dropout(self.dropout, deterministic=not train)(rows)
        zeros = nn.initializers.zeros
        rows = nn.Dense(width, kernel_init=zeros, bias_init=zeros, name="up")(rows)
        return x + self.scale * rows.reshape(x.shape)


class SpatialContextEncoder(nn.Module):
    """Context of a token in its own frame, to be added to the token.

    With z = W · LN(x): m_ij = MLP([z_j − z_i ; z_i ; p_j − p_i]) over the neighboring tokens j,
    maximum over j, up-projection. One instance is shared by all blocks. Each block multiplies the
    result by its own gate. The gates start at zero, so the network starts as the frozen one. The
    up-projection must then *not* start at zero too: a product of two zeros has zero gradient in
    both factors and would never train.

    Attributes:
      bottleneck: inner width.
      dropout: rate on the inner features during training.
    """

    bottleneck: int = 32
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b anchors m d"],
        centers: Float[Array, "b anchors m 3"],
        neighbors: Int[Array, "b anchors m k"],
        train: bool = False,
    ) -> Float[Array, "b anchors m d"]:
        """Context of each token.

        Args:
          x: tokens.
          centers: their places.
          neighbors: table of `spatial_neighbors`.
          train: whether dropout is on.
        """
        width, rank = x.shape[-1], self.bottleneck
        n, k = neighbors.shape[-2:]
        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm")(x).reshape(-1, width)
        inner = nn.Dense(rank, name="down")(rows)
        # The first layer, A(z_j − z_i) + B z_i + C(p_j − p_i), is linear in i and in j. So products
        # are computed once per token, and only sums once per pair.
        kernel = self.param("pair_kernel", nn.initializers.lecun_normal(), (2 * rank + 3, rank))
        bias = self.param("pair_bias", nn.initializers.zeros, (rank,))
        difference, own, place = jnp.split(kernel, (rank, 2 * rank))
        placed = centers.reshape(-1, 3) @ place
        sent = (inner @ difference + placed).reshape(-1, n, rank)
        received = inner @ (own - difference) - placed + bias
        pairs = ops.gather(sent, neighbors.reshape(-1, n * k)).reshape(-1, k, rank)
        # ReLU, not GELU: there are k times as many pairs as tokens.
        pairs = nn.relu(pairs + received[:, None])
        messages = nn.Dense(rank, name="message")(pairs.reshape(-1, rank))
        context = ops.neighbor_max(messages.reshape(-1, k, rank))
        context = nn.Dropout(self.dropout, deterministic=not train)(context)
        return nn.Dense(width, name="up")(context).reshape(x.shape)


class LowRank(nn.Module):
    """Low-rank update of the attention of a frozen block (LoRA, Hu et al. 2021).

    x · A · B is added to the projection to query, key and value and to the output projection. B
    starts at zero, so the block starts as the frozen one.

    Attributes:
      width: token width d.
      rank: inner width of A · B.
    """

    width: int
    rank: int = 16

    def setup(self):
        """Creates the factors."""
        zeros = nn.initializers.zeros

        def factors(outputs: int) -> list[nn.Module]:
            down = nn.Dense(self.rank, use_bias=False)
            return [down, nn.Dense(outputs, use_bias=False, kernel_init=zeros)]

        self.qkv_factors = factors(3 * self.width)
        self.proj_factors = factors(self.width)

    def qkv(self, rows: Float[Array, "rows d"]) -> Float[Array, "rows 3*d"]:
        """Update of query, key and value, in this order."""
        down, up = self.qkv_factors
        return up(down(rows))

    def proj(self, rows: Float[Array, "rows d"]) -> Float[Array, "rows d"]:
        """Update of the output projection."""
        down, up = self.proj_factors
        return up(down(rows))

"""Adapters around frozen transformer blocks: point-video adapter and spatial-context encoder.

Both are bottlenecks on a residual branch (Houlsby et al. 2019; ST-Adapter, Pan et al. 2022, for the
depth-wise temporal convolution). Farthest-point tokens have no index correspondence between
frames, so "the same token in another frame" is the token whose center is nearest there; the tables
below are made once per clip and reused by every block.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from pointata_jax import ops
from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import NORM_EPSILON


def neighbor_frames(num_frames: int, dilation: int) -> np.ndarray:
    """Frames `[T', 2]` at -dilation and +dilation of each frame, clamped to the clip."""
    offsets = np.asarray([-dilation, dilation])
    return np.clip(np.arange(num_frames)[:, None] + offsets, 0, num_frames - 1)


def temporal_correspondence(centers: jax.Array, dilation: int = 1) -> jax.Array:
    """Where each token was and will be.

    Args:
      centers: `[B, T', n, 3]`.
      dilation: distance in anchor frames.

    Returns:
      int32 `[B, T', n, 2]`: index, within frames t - dilation and t + dilation, of the token whose
      center is nearest. Frames outside the clip are clamped to its first or last one
      (`neighbor_frames`); where that is the token's own frame the answer is the token itself.
    """
    frames = neighbor_frames(centers.shape[1], dilation)
    there = jax.lax.stop_gradient(centers[:, frames])
    here = jnp.broadcast_to(centers[:, :, None], there.shape)
    return ops.knn(here, there, 1)[..., 0].swapaxes(-1, -2)


def spatial_neighbors(centers: jax.Array, k: int) -> jax.Array:
    """Nearest other tokens of the same frame, int32 `[B, T', n, k]`, from `[B, T', n, 3]`.

    Tokens at one place are one token. Where a frame has too few different ones, the token itself
    stands in for the missing.

    Raises:
      InputError: if a frame has no k other tokens.
    """
    if k >= centers.shape[-2]:
        raise InputError(
            f"{k} neighboring tokens are asked for in frames of {centers.shape[-2]} tokens: "
            "lower sce_neighbors or raise num_centers."
        )
    centers = jax.lax.stop_gradient(centers)
    # The first is the token itself, or the first of the tokens at its place.
    different = ~ops.repeated_points(centers)
    return ops.knn(centers, centers, k + 1, valid=different)[..., 1:]


class PointVideoAdapter(nn.Module):
    """Temporal adapter: x + s · W_up · PW(gelu(DW(W_down · LN(x)))), `[B, T', n, D]` to the same.

    DW is a depth-wise convolution of kernel 3 over anchor frames along the nearest-center table; PW
    mixes channels. W_up starts at zero, kernel and bias, so the adapter starts as the identity.

    Attributes:
      bottleneck: inner width r.
      scale: factor s of the branch.
      dropout: rate on the inner features while training.
      dilation: distance in anchor frames; must be the one the table was made with.
    """

    bottleneck: int = 64
    scale: float = 1.0
    dropout: float = 0.0
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, correspondence: jax.Array, train: bool = False) -> jax.Array:
        """Adapts tokens `x` with the table `[B, T', n, 2]` of `temporal_correspondence`."""
        batch, num_frames, n, width = x.shape
        rank = self.bottleneck
        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm")(x).reshape(-1, width)
        inner = nn.Dense(rank, name="down")(rows).reshape(batch, num_frames * n, rank)

        first = (neighbor_frames(num_frames, self.dilation) * n)[None, :, None, :]
        index = (correspondence + first).reshape(batch, -1)
        beside = ops.gather(inner, index).reshape(batch, num_frames * n, 2, rank)
        # Three taps, as a fan-in for the initializer: kernel [3, r] of a depth-wise convolution.
        kernel = self.param("temporal_kernel", nn.initializers.normal(3**-0.5), (3, rank))
        bias = self.param("temporal_bias", nn.initializers.zeros, (rank,))
        mixed = beside[:, :, 0] * kernel[0] + inner * kernel[1] + beside[:, :, 1] * kernel[2] + bias

        rows = nn.Dense(rank, name="mix")(nn.gelu(mixed).reshape(-1, rank))
        rows = nn.Dropout(self.dropout, deterministic=not train)(rows)
        zeros = nn.initializers.zeros
        rows = nn.Dense(width, kernel_init=zeros, bias_init=zeros, name="up")(rows)
        return x + self.scale * rows.reshape(x.shape)


class SpatialContextEncoder(nn.Module):
    """What surrounds a token in its own frame, `[B, T', n, D]` to an addend of the same shape.

    With z = W · LN(x): m_ij = MLP([z_j − z_i ; z_i ; p_j − p_i]) over the neighboring tokens j,
    maximum over j, up-projection. One instance serves every block; each block multiplies the result
    by a gate of its own. The gates start at zero, so the network starts as the frozen one; the
    up-projection must then *not* start at zero too, since the product of two zeros has zero
    gradient in both factors and would never leave it.

    Attributes:
      bottleneck: inner width r.
      dropout: rate on the inner features while training.
    """

    bottleneck: int = 32
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array, centers: jax.Array, neighbors: jax.Array, train: bool = False
    ) -> jax.Array:
        """Context of tokens `x` at `centers` `[B, T', n, 3]`.

        Args:
          x: tokens `[B, T', n, D]`.
          centers: their places.
          neighbors: table `[B, T', n, k]` of `spatial_neighbors`.
          train: whether dropout is on.
        """
        width, rank = x.shape[-1], self.bottleneck
        n, k = neighbors.shape[-2:]
        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm")(x).reshape(-1, width)
        inner = nn.Dense(rank, name="down")(rows)
        # The first layer is linear in j and in i, so its products are taken once per token and
        # only sums are made per pair: A(z_j − z_i) + B z_i + C(p_j − p_i).
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

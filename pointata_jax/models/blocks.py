"""Transformer blocks of the backbones: Point-MAE's (Point-BERT and ULIP share it) and ReCon's.

ReCon ("Contrast with Reconstruct", Qi et al., ICML 2023; `models/transformer.py` of qizekun/ReCon)
differs from Point-MAE in two ways that do not show in the shapes of the weights they share. The
residual starts from the *normalized* input, x <- LN(x) + attention(LN(x)). The global tokens
(class, image, text) run in a separate stream: they attend to the patch tokens, and the patch tokens
do not attend to them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

# PyTorch's default; Flax has 1e-6 for LayerNorm.
NORM_EPSILON = 1e-5


def _attend(
    query: Float[Array, "b heads n c"],
    key: Float[Array, "b heads m c"],
    value: Float[Array, "b heads m c"],
) -> Float[Array, "b*n heads*c"]:
    """Softmax attention, as one row for each query token."""
    batch, heads, length, width = query.shape
    scores = query @ key.swapaxes(-1, -2) * width**-0.5
    mixed = (jax.nn.softmax(scores, axis=-1) @ value).transpose(0, 2, 1, 3)
    return mixed.reshape(batch * length, heads * width)


class Attention(nn.Module):
    """Multi-head self-attention with a bias-free qkv projection.

    Attributes:
      num_heads: attention heads.
    """

    num_heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Attends from each token to all tokens."""
        batch, length, width = x.shape
        qkv = nn.Dense(3 * width, use_bias=False, name="qkv")(x.reshape(-1, width))
        # Rows of the published matrix are ordered q, k, v, then head, then channel.
        qkv = qkv.reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        mixed = _attend(*(qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3)))
        return nn.Dense(width, name="proj")(mixed).reshape(x.shape)


class CrossAttention(nn.Module):
    """Multi-head cross-attention; the projections to q and kv have no bias.

    Attributes:
      num_heads: attention heads.
    """

    num_heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], source: Float[Array, "b m d"]
    ) -> Float[Array, "b n d"]:
        """Attends from each token of `x` to all tokens of `source`."""
        batch, width = x.shape[0], x.shape[-1]
        heads = (self.num_heads, width // self.num_heads)
        query = nn.Dense(width, use_bias=False, name="query")(x.reshape(-1, width))
        query = query.reshape(batch, -1, *heads).transpose(0, 2, 1, 3)
        pairs = nn.Dense(2 * width, use_bias=False, name="key_value")(source.reshape(-1, width))
        pairs = pairs.reshape(batch, -1, 2, *heads)
        mixed = _attend(query, *(pairs[:, :, i].transpose(0, 2, 1, 3) for i in range(2)))
        return nn.Dense(width, name="proj")(mixed).reshape(x.shape)


class Block(nn.Module):
    """Pre-norm transformer block.

    Attributes:
      num_heads: attention heads.
      hidden_width: hidden width of the MLP.
    """

    num_heads: int
    hidden_width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Transforms tokens to which the caller has added their position."""
        width = x.shape[-1]
        attention = Attention(self.num_heads, name="attention")
        x = x + attention(nn.LayerNorm(epsilon=NORM_EPSILON, name="norm_1")(x))
        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm_2")(x).reshape(-1, width)
        rows = nn.gelu(nn.Dense(self.hidden_width, name="mlp_0")(rows), approximate=False)
        return x + nn.Dense(width, name="mlp_1")(rows).reshape(x.shape)


class ReconBlock(nn.Module):
    """ReCon's two-stream block.

    Attributes:
      num_heads: attention heads, the same in both streams.
      hidden_width: hidden width of both MLPs.
      num_global: number of global tokens, which come first; with 0 the block has one stream.
    """

    num_heads: int
    hidden_width: int
    num_global: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Transforms tokens to which the caller has added their position."""

        def norm(name: str, x: jax.Array) -> jax.Array:
            return nn.LayerNorm(epsilon=NORM_EPSILON, name=name)(x)

        def mlp(prefix: str, x: jax.Array) -> jax.Array:
            rows = nn.Dense(self.hidden_width, name=f"{prefix}mlp_0")(x.reshape(-1, x.shape[-1]))
            rows = nn.Dense(x.shape[-1], name=f"{prefix}mlp_1")(nn.gelu(rows, approximate=False))
            return rows.reshape(x.shape)

        patches = norm("norm_1", x[:, self.num_global :])
        before = patches
        patches = patches + Attention(self.num_heads, name="attention")(patches)
        patches = norm("norm_2", patches)
        patches = patches + mlp("", patches)
        if not self.num_global:
            return patches
        tokens = norm("global_norm_1", x[:, : self.num_global])
        tokens = tokens + CrossAttention(self.num_heads, name="global_attention")(tokens, before)
        tokens = norm("global_norm_2", tokens)
        tokens = tokens + mlp("global_", tokens)
        return jnp.concatenate([tokens, patches], axis=1)

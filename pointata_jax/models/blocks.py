"""Transformer blocks of the backbones: Point-MAE's with variants of its relatives, and ReCon's.

`Block` is the block of Point-MAE, Point-BERT, ULIP and PCP-MAE. With its settings it is also that
of Point-JEPA and point2vec (biases of query, key and value) and of Uni3D (EVA-02, Fang et al.,
2023: a gated MLP, biases of query and value).

ReCon ("Contrast with Reconstruct", Qi et al., ICML 2023; `models/transformer.py` of qizekun/ReCon)
differs from Point-MAE in two ways that do not show in the shapes of the weights they share. The
residual starts from the *normalized* input, x <- LN(x) + attention(LN(x)). The global tokens
(class, image, text) run in a separate stream: they attend to the patch tokens, and the patch tokens
do not attend to them.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

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


@runtime_checkable
class AttentionUpdate(Protocol):
    """What is added to the projections of an attention layer from outside (`adapters.LowRank`)."""

    def qkv(self, rows: Float[Array, "rows d"]) -> Float[Array, "rows 3*d"]:
        """Update of query, key and value, in this order."""
        ...

    def proj(self, rows: Float[Array, "rows d"]) -> Float[Array, "rows d"]:
        """Update of the output projection."""
        ...


class Attention(nn.Module):
    """Multi-head self-attention.

    Attributes:
      num_heads: attention heads.
      qkv_bias: which of query, key and value have a bias: "none", "all", or "query_value".
      qkv_fused: whether one matrix makes query, key and value; otherwise there are three.
    """

    num_heads: int
    qkv_bias: str = "none"
    qkv_fused: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], update: AttentionUpdate | None = None
    ) -> Float[Array, "b n d"]:
        """Attends from each token to all tokens; `update` is added to both projections."""
        batch, length, width = x.shape
        rows = x.reshape(-1, width)
        heads = (batch, length, 3, self.num_heads, width // self.num_heads)
        if self.qkv_fused:
            qkv = nn.Dense(3 * width, use_bias=self.qkv_bias == "all", name="qkv")(rows)
            if self.qkv_bias == "query_value":
                zeros = nn.initializers.zeros
                query, value = (
                    self.param(f"{name}_bias", zeros, (width,)) for name in ("query", "value")
                )
                qkv = qkv + jnp.concatenate([query, jnp.zeros_like(query), value])
        else:
            biased = {"all": ("query", "key", "value"), "query_value": ("query", "value")}
            biased = biased.get(self.qkv_bias, ())
            qkv = jnp.concatenate(
                [
                    nn.Dense(width, use_bias=name in biased, name=name)(rows)
                    for name in ("query", "key", "value")
                ],
                axis=-1,
            )
        if update is not None:
            qkv = qkv + update.qkv(rows)
        # Rows of the published matrix are ordered q, k, v, then head, then channel.
        qkv = qkv.reshape(heads)
        mixed = _attend(*(qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3)))
        out = nn.Dense(width, name="proj")(mixed)
        if update is not None:
            out = out + update.proj(mixed)
        return out.reshape(x.shape)


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
      hidden_width: hidden width of the MLP, after the gate if it has one.
      norm_epsilon: epsilon of the LayerNorms.
      qkv_bias: see `Attention`.
      qkv_fused: see `Attention`.
      mlp: "gelu", or "swiglu" for a hidden layer silu(gate) * value.
      mlp_fused: whether one matrix makes gate and value; otherwise there are two.
      mlp_norm: whether the gated hidden layer is normalized (with two matrices only).
      gate_first: whether the gate is the first half of the output of the one matrix.
    """

    num_heads: int
    hidden_width: int
    norm_epsilon: float = NORM_EPSILON
    qkv_bias: str = "none"
    qkv_fused: bool = True
    mlp: str = "gelu"
    mlp_fused: bool = True
    mlp_norm: bool = False
    gate_first: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], update: AttentionUpdate | None = None
    ) -> Float[Array, "b n d"]:
        """Transforms tokens to which the caller has added their position.

        Args:
          x: the tokens.
          update: of the attention's projections, see `Attention`.
        """
        width = x.shape[-1]
        attention = Attention(self.num_heads, self.qkv_bias, self.qkv_fused, name="attention")
        x = x + attention(nn.LayerNorm(epsilon=self.norm_epsilon, name="norm_1")(x), update)
        rows = nn.LayerNorm(epsilon=self.norm_epsilon, name="norm_2")(x).reshape(-1, width)
        return x + nn.Dense(width, name="mlp_1")(self._hidden(rows)).reshape(x.shape)

    def _hidden(self, rows: Float[Array, "rows d"]) -> Float[Array, "rows {self.hidden_width}"]:
        """Hidden layer of the MLP."""
        if self.mlp == "gelu":
            return nn.gelu(nn.Dense(self.hidden_width, name="mlp_0")(rows), approximate=False)
        if self.mlp_fused:
            halves = jnp.split(nn.Dense(2 * self.hidden_width, name="mlp_0")(rows), 2, axis=-1)
            gate, value = halves if self.gate_first else halves[::-1]
        else:
            gate, value = (
                nn.Dense(self.hidden_width, name=f"mlp_{name}")(rows) for name in ("gate", "value")
            )
        hidden = nn.silu(gate) * value
        if self.mlp_norm:
            hidden = nn.LayerNorm(epsilon=self.norm_epsilon, name="mlp_norm")(hidden)
        return hidden


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
    def __call__(
        self, x: Float[Array, "b n d"], update: AttentionUpdate | None = None
    ) -> Float[Array, "b n d"]:
        """Transforms tokens to which the caller has added their position.

        Args:
          x: the tokens.
          update: of the projections of the patches' attention, see `Attention`.
        """

        def norm(name: str, x: jax.Array) -> jax.Array:
            return nn.LayerNorm(epsilon=NORM_EPSILON, name=name)(x)

        def mlp(prefix: str, x: jax.Array) -> jax.Array:
            rows = nn.Dense(self.hidden_width, name=f"{prefix}mlp_0")(x.reshape(-1, x.shape[-1]))
            rows = nn.Dense(x.shape[-1], name=f"{prefix}mlp_1")(nn.gelu(rows, approximate=False))
            return rows.reshape(x.shape)

        patches = norm("norm_1", x[:, self.num_global :])
        before = patches
        patches = patches + Attention(self.num_heads, name="attention")(patches, update)
        patches = norm("norm_2", patches)
        patches = patches + mlp("", patches)
        if not self.num_global:
            return patches
        tokens = norm("global_norm_1", x[:, : self.num_global])
        tokens = tokens + CrossAttention(self.num_heads, name="global_attention")(tokens, before)
        tokens = norm("global_norm_2", tokens)
        tokens = tokens + mlp("global_", tokens)
        return jnp.concatenate([tokens, patches], axis=1)

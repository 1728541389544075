"""The forward pass of all families in NumPy, with PyTorch names and a switch for each mistake.

It is written from the reference tables and the public model files, not from this library's modules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy.special import erf


@dataclasses.dataclass(frozen=True)
class Rules:
    """Details that are easy to get wrong; the defaults are right."""

    layer_norm_epsilon: float = 1e-5
    batch_norm_epsilon: float = 1e-5
    exact_gelu: bool = True
    qkv_order: str = "q,k,v,head"  # or "head,q,k,v"
    position_everywhere: bool = True
    global_first: bool = True  # encoder: [maximum, local], not [local, maximum]
    recon_residual_normalized: bool = True
    recon_patches_before: bool = True  # cross-attention reads patches before their own attention


def _linear(state, name, x):
    weight = state[f"{name}.weight"]
    out = x @ weight.reshape(weight.shape[:2]).T
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out


def _layer_norm(state, name, x, rules):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + rules.layer_norm_epsilon)
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def _batch_norm(state, name, x, rules):
    deviation = np.sqrt(state[f"{name}.running_var"] + rules.batch_norm_epsilon)
    x = (x - state[f"{name}.running_mean"]) / deviation
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def _gelu(x, rules):
    if rules.exact_gelu:
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _mlp(state, name, x, rules):
    return _linear(state, f"{name}.fc2", _gelu(_linear(state, f"{name}.fc1", x), rules))


def _mix(query, key, value):
    scores = np.einsum("hnd,hmd->hnm", query, key) / np.sqrt(query.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hnm,hmd->nhd", weights, value).reshape(query.shape[1], -1)


def _split(x, parts, heads, rules):
    """Rows of a packed projection as `parts` arrays [heads, n, d]."""
    n, width = x.shape[0], x.shape[1] // parts
    if rules.qkv_order == "q,k,v,head":
        return x.reshape(n, parts, heads, width // heads).transpose(1, 2, 0, 3)
    return x.reshape(n, heads, parts, width // heads).transpose(2, 1, 0, 3)


def _attention(state, name, x, heads, rules):
    packed = _linear(state, f"{name}.qkv", x)
    return _linear(state, f"{name}.proj", _mix(*_split(packed, 3, heads, rules)))


def _cross_attention(state, name, x, source, heads, rules):
    query = _split(_linear(state, f"{name}.q", x), 1, heads, rules)[0]
    key, value = _split(_linear(state, f"{name}.kv", source), 2, heads, rules)
    return _linear(state, f"{name}.proj", _mix(query, key, value))


def _plain_block(state, name, x, heads, rules):
    normed = _layer_norm(state, f"{name}.norm1", x, rules)
    x = x + _attention(state, f"{name}.attn", normed, heads, rules)
    return x + _mlp(state, f"{name}.mlp", _layer_norm(state, f"{name}.norm2", x, rules), rules)


def _recon_block(state, name, x, heads, rules):
    tokens, patches = x[:3], x[3:]
    normed_tokens = _layer_norm(state, f"{name}.norm1_contrast", tokens, rules)
    normed = _layer_norm(state, f"{name}.norm1", patches, rules)
    base, base_tokens = (
        (normed, normed_tokens) if rules.recon_residual_normalized else (patches, tokens)
    )
    after = base + _attention(state, f"{name}.attn", normed, heads, rules)
    source = normed if rules.recon_patches_before else after
    tokens = base_tokens + _cross_attention(
        state, f"{name}.attn_contrast", normed_tokens, source, heads, rules
    )
    normed = _layer_norm(state, f"{name}.norm2", after, rules)
    normed_tokens = _layer_norm(state, f"{name}.norm2_contrast", tokens, rules)
    base, base_tokens = (
        (normed, normed_tokens) if rules.recon_residual_normalized else (after, tokens)
    )
    patches = base + _mlp(state, f"{name}.mlp", normed, rules)
    tokens = base_tokens + _mlp(state, f"{name}.mlp_contrast", normed_tokens, rules)
    return np.concatenate([tokens, patches])


def _embed(state, patch, rules):
    x = _linear(state, "encoder.first_conv.0", patch)
    x = np.maximum(_batch_norm(state, "encoder.first_conv.1", x, rules), 0)
    x = _linear(state, "encoder.first_conv.3", x)
    whole = np.broadcast_to(x.max(0), x.shape)
    x = np.concatenate([whole, x] if rules.global_first else [x, whole], axis=1)
    x = _linear(state, "encoder.second_conv.0", x)
    x = np.maximum(_batch_norm(state, "encoder.second_conv.1", x, rules), 0)
    return _linear(state, "encoder.second_conv.3", x).max(0)


def _groups(points, num_groups, group_size):
    xyz = points[:, :3]
    chosen, nearest = [0], np.full(len(xyz), np.inf)
    while len(chosen) < num_groups:
        nearest = np.minimum(nearest, ((xyz - xyz[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    centers = xyz[chosen]
    order = ((centers[:, None] - xyz) ** 2).sum(-1).argsort(1)[:, :group_size]
    patches = points[order]
    patches[..., :3] -= centers[:, None]
    return patches, centers


def forward(
    state: Mapping[str, np.ndarray],
    points: np.ndarray,
    *,
    num_groups: int,
    group_size: int,
    heads: int,
    rules: Rules,
) -> np.ndarray:
    """Final tokens [p + G, D] of one cloud [N, 3(+C)]; `state` has standard names (`trunk`)."""
    patches, centers = _groups(points, num_groups, group_size)
    x = np.stack([_embed(state, patch, rules) for patch in patches])
    if "reduce_dim.weight" in state:
        x = _linear(state, "reduce_dim", x)
    position = _linear(state, "pos_embed.2", _gelu(_linear(state, "pos_embed.0", centers), rules))
    first = [name for name in ("cls", "img", "text") if f"{name}_token" in state]
    if first:
        x = np.concatenate([*(state[f"{name}_token"][0] for name in first), x])
        position = np.concatenate([*(state[f"{name}_pos"][0] for name in first), position])
    depth = sum(name.endswith(".attn.qkv.weight") for name in state)
    recon = "blocks.blocks.0.attn_contrast.q.weight" in state
    for i in range(depth):
        if i == 0 or rules.position_everywhere:
            x = x + position
        x = (_recon_block if recon else _plain_block)(state, f"blocks.blocks.{i}", x, heads, rules)
    return _layer_norm(state, "norm", x, rules)

"""Point-MAE state dicts (pre-trained or fine-tuned) → `Backbone` variables.

Shapes for width D, patch embedder widths (w0, w1, w2), I input channels:

| PyTorch key                               | shape          | here                                |
| ----------------------------------------- | -------------- | ----------------------------------- |
| encoder.first_conv.0.{weight,bias}        | (w0,I,1),(w0)  | embedder/first_conv_0               |
| encoder.first_conv.1.*                    | (w0)           | embedder/first_norm (BatchNorm)     |
| encoder.first_conv.3.*                    | (w1,w0,1),(w1) | embedder/first_conv_1               |
| encoder.second_conv.0.*                   | (w2,2w1,1),…   | embedder/second_conv_0              |
| encoder.second_conv.1.*                   | (w2)           | embedder/second_norm (BatchNorm)    |
| encoder.second_conv.3.*                   | (D,w2,1),(D)   | embedder/second_conv_1              |
| pos_embed.{0,2}.*                         | (128,3),(D,128)| position/dense_{0,1}                |
| blocks.blocks.i.norm{1,2}.*               | (D)            | blocks_i/norm_{1,2}                 |
| blocks.blocks.i.attn.qkv.weight           | (3D,D)         | blocks_i/attention/qkv              |
| blocks.blocks.i.attn.proj.*               | (D,D),(D)      | blocks_i/attention/proj             |
| blocks.blocks.i.mlp.fc{1,2}.*             | (4D,D),(D,4D)  | blocks_i/mlp_{0,1}                  |
| norm.*                                    | (D)            | norm                                |
| cls_token, cls_pos (fine-tuned files)     | (1,1,D)        | class_token, class_position         |

Pre-training files prefix these with `MAE_encoder.` and add the decoder (`decoder_pos_embed`,
`MAE_decoder`, `mask_token`, `increase_dim`) and have no class token; fine-tuned files have one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import BackboneConfig

_BLOCK_PARTS = {
    "norm1": "norm_1",
    "norm2": "norm_2",
    "attn.qkv": "attention/qkv",
    "attn.proj": "attention/proj",
    "mlp.fc1": "mlp_0",
    "mlp.fc2": "mlp_1",
}
_EMBEDDER_PARTS = {
    "first_conv.0": "first_conv_0",
    "first_conv.1": "first_norm",
    "first_conv.3": "first_conv_1",
    "second_conv.0": "second_conv_0",
    "second_conv.1": "second_norm",
    "second_conv.3": "second_conv_1",
}


def _module_path(module: str) -> str | None:
    """Our path of a PyTorch module name, None when it is neither trunk nor decoder."""
    decoder = {
        "decoder_pos_embed.0": "decoder_position/dense_0",
        "MAE_decoder.norm": "decoder_norm",
    }
    decoder |= {"decoder_pos_embed.2": "decoder_position/dense_1", "increase_dim.0": "increase_dim"}
    if module in decoder:
        return decoder[module]
    encoder = {"pos_embed.0": "position/dense_0", "pos_embed.2": "position/dense_1", "norm": "norm"}
    encoder |= {f"encoder.{k}": f"embedder/{v}" for k, v in _EMBEDDER_PARTS.items()}
    bare = module.removeprefix("MAE_encoder.")
    if bare in encoder:
        return f"backbone/{encoder[bare]}"
    for pattern, target in (
        (r"blocks\.blocks\.(\d+)\.(.+)", "backbone/blocks_{}/{}"),
        (r"MAE_decoder\.blocks\.(\d+)\.(.+)", "decoder_blocks_{}/{}"),
    ):
        match = re.fullmatch(pattern, bare)
        if match and match[2] in _BLOCK_PARTS:
            return target.format(match[1], _BLOCK_PARTS[match[2]])
    return None


def convert_state_dict(
    state_dict: Mapping[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Splits a Point-MAE state dict into `MaskedAutoencoder` variables and what is left over.

    Args:
      state_dict: PyTorch names to arrays, without `module.` prefix.

    Returns:
      Variables {"params", "batch_stats"}, with the encoder under "backbone" and the decoder, where
      the file has one, beside it; and the entries that belong to neither (heads, class tokens).
    """
    variables: dict[str, np.ndarray] = {}
    rest: dict[str, np.ndarray] = {}
    for name, value in state_dict.items():
        module, _, leaf = name.rpartition(".")
        path = _module_path(module)
        if name in _TOKENS:
            variables[f"params/{_TOKENS[name]}"] = value.reshape(-1)
        elif path is None or leaf not in (*_LEAVES, "num_batches_tracked"):
            rest[name] = value
        elif leaf != "num_batches_tracked":
            collection, ours = _LEAVES[leaf]
            if leaf == "weight":
                ours = "scale" if value.ndim == 1 else "kernel"
                # Convolutions of width 1 are matrices with trailing axes of length 1.
                value = value if value.ndim == 1 else value.reshape(value.shape[:2]).T
            variables[f"{collection}/{path}/{ours}"] = np.ascontiguousarray(value)
    return traverse_util.unflatten_dict(variables, sep="/"), rest


_TOKENS = {
    "mask_token": "mask_token",
    "cls_token": "backbone/class_token",
    "cls_pos": "backbone/class_position",
}
_LEAVES = {
    "weight": ("params", "kernel"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


def infer_config(
    variables: Mapping[str, Any], *, num_heads: int, **grouping: int
) -> BackboneConfig:
    """The architecture of converted variables; heads and grouping leave no trace in the shapes.

    Args:
      variables: as `convert_state_dict` returns them.
      num_heads: attention heads.
      **grouping: `num_groups` and `group_size`, where they are not the published 64 and 32.

    Raises:
      InputError: the variables hold no backbone.
    """
    params = variables.get("params", {})
    backbone = params.get("backbone")
    if backbone is None or "embedder" not in backbone:
        raise InputError(
            "the checkpoint holds no Point-MAE encoder (no `encoder.first_conv` keys)."
        )
    embedder = backbone["embedder"]
    channels, w0 = embedder["first_conv_0"]["kernel"].shape
    width = backbone["norm"]["scale"].shape[0]
    return BackboneConfig(
        width=width,
        depth=sum(name.startswith("blocks_") for name in backbone),
        num_heads=num_heads,
        mlp_ratio=backbone["blocks_0"]["mlp_0"]["kernel"].shape[1] / width,
        embedder_widths=(
            w0,
            embedder["first_conv_1"]["kernel"].shape[1],
            embedder["second_conv_0"]["kernel"].shape[1],
        ),
        decoder_depth=sum(name.startswith("decoder_blocks_") for name in params),
        input_channels=channels,
        class_token="class_token" in backbone,
        **grouping,
    )

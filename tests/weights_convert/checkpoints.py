"""Synthetic checkpoints with the official key names of every family, at any size.

The tables are copied from the published state dicts, not from `weights_convert`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from weights_convert.recognize import Accounts, Options, account
from weights_convert.state_dict import StateDict
from weights_convert.torch_zip import Tensor

Shapes = dict[str, tuple[int, ...]]
SIZES = {"width": 64, "depth": 2, "widths": (8, 12, 16)}
SMALL = {"width": 384, "depth": 12, "widths": (128, 256, 512)}


def affine(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def batch_norm(name: str, size: int) -> Shapes:
    statistics = {f"{name}.running_mean": (size,), f"{name}.running_var": (size,)}
    return affine(name, size) | statistics | {f"{name}.num_batches_tracked": ()}


def patch_embedder(widths, output, channels=3) -> Shapes:
    w0, w1, w2 = widths
    return (
        affine("encoder.first_conv.0", w0, channels, 1)
        | batch_norm("encoder.first_conv.1", w0)
        | affine("encoder.first_conv.3", w1, w0, 1)
        | affine("encoder.second_conv.0", w2, 2 * w1, 1)
        | batch_norm("encoder.second_conv.1", w2)
        | affine("encoder.second_conv.3", output, w2, 1)
    )


def position(name: str, width: int) -> Shapes:
    return affine(f"{name}.0", 128, 3) | affine(f"{name}.2", width, 128)


def block(name: str, width: int, recon: bool = False) -> Shapes:
    shapes = affine(f"{name}.norm1", width) | affine(f"{name}.norm2", width)
    shapes |= affine(f"{name}.mlp.fc1", 4 * width, width)
    shapes |= affine(f"{name}.mlp.fc2", width, 4 * width)
    shapes |= {f"{name}.attn.qkv.weight": (3 * width, width)}
    shapes |= affine(f"{name}.attn.proj", width, width)
    if recon:
        for norm in ("norm1_contrast", "norm2_contrast"):
            shapes |= affine(f"{name}.{norm}", width)
        shapes |= affine(f"{name}.mlp_contrast.fc1", 4 * width, width)
        shapes |= affine(f"{name}.mlp_contrast.fc2", width, 4 * width)
        shapes |= {f"{name}.attn_contrast.q.weight": (width, width)}
        shapes |= {f"{name}.attn_contrast.kv.weight": (2 * width, width)}
        shapes |= affine(f"{name}.attn_contrast.proj", width, width)
    return shapes


def trunk(width, depth, widths, output=None, channels=3, recon=False) -> Shapes:
    shapes = patch_embedder(widths, output or width, channels)
    if output:
        shapes |= affine("reduce_dim", width, output)
    shapes |= position("pos_embed", width)
    for i in range(depth):
        shapes |= block(f"blocks.blocks.{i}", width, recon)
    return shapes | affine("norm", width)


def tokens(width: int, *names: str) -> Shapes:
    return {f"{name}_{kind}": (1, 1, width) for kind in ("token", "pos") for name in names}


def decoder(width: int, depth: int) -> Shapes:
    shapes = {"mask_token": (1, 1, width)} | position("decoder_pos_embed", width)
    for i in range(depth):
        shapes |= block(f"MAE_decoder.blocks.{i}", width)
    return shapes | affine("MAE_decoder.norm", width) | affine("increase_dim.0", 96, width, 1)


def head(width: int, classes: int, norms: bool) -> Shapes:
    name = "cls_head_finetune"
    if not norms:
        return affine(f"{name}.0", 256, width) | affine(f"{name}.3", classes, 256)
    shapes = affine(f"{name}.0", 256, width) | batch_norm(f"{name}.1", 256)
    shapes |= affine(f"{name}.4", 256, 256) | batch_norm(f"{name}.5", 256)
    return shapes | affine(f"{name}.8", classes, 256)


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def point_mae_pretrained(width, depth, widths, decoder_depth=4) -> Shapes:
    return decoder(width, decoder_depth) | under("MAE_encoder.", trunk(width, depth, widths))


def point_mae_fine_tuned(width, depth, widths, classes=40) -> Shapes:
    shapes = tokens(width, "cls") | trunk(width, depth, widths)
    return shapes | head(2 * width, classes, norms=True)


def point_mae_segmentation(width, depth, widths) -> Shapes:
    shapes = trunk(width, depth, widths) | batch_norm("label_conv.1", 64)
    shapes |= {"label_conv.0.weight": (64, 16, 1)} | affine("propagation_0.mlp_convs.0", 8, 9, 1)
    return shapes | affine("convs1", 8, 9, 1) | batch_norm("bns1", 8)


def point_bert_pretrained(width, depth, widths, output=32) -> Shapes:
    transformer = tokens(width, "cls") | {"mask_token": (1, 1, width)}
    transformer |= trunk(width, depth, widths, output) | affine("lm_head", 50, width)
    transformer |= affine("cls_head.0", 12, width) | affine("cls_head.2", 12, 12)
    shapes = under("transformer_q.", transformer) | under("transformer_k.", transformer)
    shapes |= {"dvae.codebook": (50, 8)} | under("dvae.", patch_embedder(widths, output))
    return shapes | {"queue": (12, 40), "queue_ptr": (1,)}


def point_bert_fine_tuned(width, depth, widths, output=32, classes=40) -> Shapes:
    shapes = tokens(width, "cls") | trunk(width, depth, widths, output)
    return shapes | head(2 * width, classes, norms=False)


def recon_pretrained(width, depth, widths) -> Shapes:
    encoder = tokens(width, "cls", "img", "text") | trunk(width, depth, widths, recon=True)
    shapes = decoder(width, 1) | under("MAE_encoder.", encoder)
    shapes |= affine("img_proj", 24, width) | affine("text_proj", 20, width)
    return shapes | affine("cls_proj.0", 10, width) | batch_norm("cls_proj.1", 10)


def recon_fine_tuned(width, depth, widths) -> Shapes:
    shapes = tokens(width, "cls", "img", "text") | trunk(width, depth, widths, recon=True)
    return shapes | head(4 * width, 15, norms=True)


def ulip(width, depth, widths, output=32, channels=3) -> Shapes:
    encoder = tokens(width, "cls") | trunk(width, depth, widths, output, channels)
    shapes = under("point_encoder.", encoder) | {"pc_projection": (2 * width, 48)}
    shapes |= {"logit_scale": (), "positional_embedding": (7, 16), "image_projection": (9, 48)}
    shapes |= affine("visual.blocks.0.norm1", 9) | affine("transformer.resblocks.0.ln_1", 16)
    return shapes | {"token_embedding.weight": (30, 16)} | affine("ln_final", 16)


def ulip_2(width, depth, widths) -> Shapes:
    encoder = tokens(width, "cls") | trunk(width, depth, widths, 32, 6)
    shapes = under("point_encoder.", encoder) | {"pc_projection": (2 * width, 48)}
    return shapes | {"logit_scale": ()} | affine("open_clip_model.visual.ln_post", 9)


def pcp_mae_trunk(width, depth, widths) -> Shapes:
    shapes = trunk(width, depth, widths)
    return shapes | affine("pos_embed.0", width, width) | affine("pos_embed.2", width, width)


def pcp_mae_pretrained(width, depth, widths, decoder_depth=2) -> Shapes:
    own = decoder(width, decoder_depth)
    shapes = {name: s for name, s in own.items() if not name.startswith("decoder_pos_embed")}
    shapes |= under("MAE_encoder.", pcp_mae_trunk(width, depth, widths))
    shapes |= {"MAE_encoder.mask_pos_token": (1, 1, width)}
    shapes |= affine("pred_pos_proj.0", width, width) | affine("pred_pos_proj.1", width)
    shapes |= block("pred_pos_decoder.blocks.0", width) | affine("pred_pos_decoder.norm", width)
    return shapes | affine("pred_pos_proj.3", width, width)


def pcp_mae_fine_tuned(width, depth, widths, classes=40) -> Shapes:
    shapes = tokens(width, "cls") | pcp_mae_trunk(width, depth, widths)
    return shapes | head(2 * width, classes, norms=True)


def biased_block(name: str, width: int) -> Shapes:
    return block(name, width) | {f"{name}.attn.qkv.bias": (3 * width,)}


def point_jepa_trunk(width, depth, widths, encoder="student", nested=True) -> Shapes:
    embedder = patch_embedder(widths, width)
    del embedder["encoder.first_conv.0.bias"], embedder["encoder.second_conv.0.bias"]
    place = "tokenizer.embedding." + ("encoder." if nested else "")
    shapes = {name.replace("encoder.", place): shape for name, shape in embedder.items()}
    shapes |= position("positional_encoding", width)
    for i in range(depth):
        shapes |= biased_block(f"{encoder}.blocks.{i}", width)
    return shapes | affine(f"{encoder}.norm", width)


def point_jepa_pretrained(width, depth, widths) -> Shapes:
    shapes = {"mask_token": (width,)} | point_jepa_trunk(width, depth, widths)
    shapes |= biased_block("teacher.ema_model.blocks.0", width) | {"teacher.step": ()}
    shapes |= biased_block("predictor.predictor.blocks.0", width)
    shapes |= affine("predictor.predictor_embed", 8, width) | {"predictor.mask_token": (1, 1, 8)}
    return shapes | position("predictor.positional_encoding", 8)


def point2vec_pretrained(width, depth, widths) -> Shapes:
    shapes = {"mask_token": (width,)} | point_jepa_trunk(width, depth, widths, nested=False)
    shapes |= biased_block("teacher.ema_model.blocks.0", width)
    return shapes | biased_block("decoder.blocks.0", width) | affine("regressor", width, width)


def point_jepa_fine_tuned(width, depth, widths, classes=40) -> Shapes:
    shapes = point_jepa_trunk(width, depth, widths, "encoder")
    shapes |= {"cls_token": (width,), "cls_pos": (width,)}
    return shapes | affine("cls_head.8", classes, 256) | batch_norm("cls_head.1", 256)


def eva_block(name: str, width: int, kind: str) -> Shapes:
    """A block of EVA; kinds are "fused" (Uni3D Ti, S), "separate" (B, L) and "giant" (g)."""
    shapes = affine(f"{name}.norm1", width) | affine(f"{name}.norm2", width)
    shapes |= affine(f"{name}.attn.proj", width, width)
    hidden = 4 * width if kind == "giant" else 8 * width // 3
    shapes |= affine(f"{name}.mlp.fc2", width, hidden)
    if kind == "separate":
        shapes |= affine(f"{name}.attn.q_proj", width, width)
        shapes |= {f"{name}.attn.k_proj.weight": (width, width)}
        shapes |= affine(f"{name}.attn.v_proj", width, width)
        shapes |= affine(f"{name}.mlp.fc1_g", hidden, width)
        shapes |= affine(f"{name}.mlp.fc1_x", hidden, width)
        return shapes | affine(f"{name}.mlp.norm", hidden)
    shapes |= {f"{name}.attn.qkv.weight": (3 * width, width)}
    shapes |= {f"{name}.attn.q_bias": (width,), f"{name}.attn.v_bias": (width,)}
    return shapes | affine(f"{name}.mlp.fc1", hidden if kind == "giant" else 2 * hidden, width)


def uni3d(width, depth, widths, kind="fused", output=32) -> Shapes:
    shapes = tokens(width, "cls") | patch_embedder(widths, output, 6)
    shapes |= affine("encoder2trans", width, output) | affine("trans2embed", 24, width)
    shapes |= position("pos_embed", width)
    shapes |= {"visual.cls_token": (1, 1, width), "visual.pos_embed": (1, 17, width)}
    shapes |= affine("visual.patch_embed.proj", width, 3, 14, 14) | affine("visual.head", 9, width)
    for i in range(depth):
        shapes |= eva_block(f"visual.blocks.{i}", width, kind)
    shapes |= affine("visual.fc_norm", width)
    return under("point_encoder.", shapes) | {"logit_scale": ()}


def torch_pointcloud(shapes: Shapes, prefix: str, norm: str = "norm", plain_blocks=False) -> Shapes:
    """A trunk's shapes under the names of torch-pointcloud; linear layers for convolutions."""
    pairs = [
        ("encoder.first_conv.0", "encoder.local_mlp.lins.0"),
        ("encoder.first_conv.1", "encoder.local_mlp.norms.0.module"),
        ("encoder.first_conv.3", "encoder.local_mlp.lins.1"),
        ("encoder.second_conv.0", "encoder.global_mlp.lins.0"),
        ("encoder.second_conv.1", "encoder.global_mlp.norms.0.module"),
        ("encoder.second_conv.3", "encoder.global_mlp.lins.1"),
        ("pos_embed.0", "pos_embed.lins.0"),
        ("pos_embed.2", "pos_embed.lins.1"),
        (".mlp.fc1.", ".mlp.lins.0."),
        (".mlp.fc2.", ".mlp.lins.1."),
    ]
    out = {}
    for name, shape in shapes.items():
        for theirs, ours in pairs:
            name = name.replace(theirs, ours)
        if name.startswith("norm."):
            name = norm + name.removeprefix("norm")
        if plain_blocks:
            name = name.replace("blocks.blocks.", "blocks.")
        out[prefix + name] = shape[:2] if name.startswith("encoder") else shape
    return out


def torch_pointcloud_mae(width, depth, widths) -> Shapes:
    shapes = tokens(width, "cls") | trunk(width, depth, widths)
    return torch_pointcloud(shapes, "", "norm_f") | affine("head.lins.0", 9, 2 * width)


def torch_pointcloud_mae_pretrained(width, depth, widths) -> Shapes:
    decoded = {"mask_token": (1, 1, width)} | block("MAE_decoder.blocks.0", width)
    decoded |= affine("decoder_pos_embed.lins.0", 128, 3) | affine("increase_dim.lins.0", 48, width)
    return torch_pointcloud(trunk(width, depth, widths), "MAE_encoder.") | decoded


def torch_pointcloud_bert(width, depth, widths) -> Shapes:
    shapes = tokens(width, "cls") | trunk(width, depth, widths, 32)
    return torch_pointcloud(shapes, "encoder.", plain_blocks=True) | affine(
        "head.lins.0", 9, 2 * width
    )


def torch_pointcloud_bert_pretrained(width, depth, widths) -> Shapes:
    shapes = tokens(width, "cls") | trunk(width, depth, widths, 32)
    shapes = torch_pointcloud(shapes, "", plain_blocks=True) | affine("lm_head", 50, width)
    return shapes | {"mask_token": (1, 1, width)} | affine("cls_head.lins.0", 12, width)


def fill(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Random values on the scale of trained ones; counters are integers."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = OrderedDict()
    for name, shape in shapes.items():
        if name.endswith(("num_batches_tracked", "queue_ptr", "teacher.step")):
            state[name] = np.full(shape, 7, np.int64)
            continue
        value = rng.normal(size=shape).astype(np.float32)
        if name.endswith("running_var"):
            value = 0.5 + np.abs(value)
        elif len(shape) >= 2 and not name.endswith(("token", "pos")):
            value /= math.sqrt(math.prod(shape[1:]))
        elif name.endswith("weight"):
            value = 1 + 0.2 * value
        else:
            value *= 0.2
        state[name] = np.asarray(value, np.float32)
    return state


def in_memory(state: Mapping[str, np.ndarray]) -> StateDict:
    """A state dict without a file."""

    def tensor(value: np.ndarray) -> Tensor:
        return Tensor(value.shape, value.dtype, lambda: value)

    return StateDict({name: tensor(value) for name, value in state.items()}, "memory")


def accounts_of(state: Mapping[str, np.ndarray], **options: Any) -> Accounts:
    return account(in_memory(state), Options(**options))


def variables_of(state: Mapping[str, np.ndarray], dtype: Any, **options: Any):
    """Accounts of a state dict, and its variables in the layout of this library."""
    accounts = accounts_of(state, **options)
    assert accounts.in_order, (accounts.missing, accounts.unexpected, accounts.misshapen)
    variables: dict[str, Any] = {}
    for entry, name in accounts.used.items():
        *folders, leaf = entry.path.split("/")
        place = variables
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = entry.to_ours(np.asarray(state[name], dtype))
    return accounts, variables


# Sines and cosines of three coordinates need a width that 6 divides.
PCP_SIZES = {**SIZES, "width": 192}
PCP_EXPECTED = {"width": 192, "num_heads": 3, "position_input": "sinusoidal"}
UNI3D_EXPECTED = {
    "class_token": True,
    "embedder_output": 32,
    "input_channels": 6,
    "num_groups": 512,
    "group_size": 64,
    "position_every_block": False,
    "norm_epsilon": 1e-6,
    "final_norm": "class",
    "gate_first": True,
    "qkv_bias": "query_value",
    "channel_constants": (0.4, 0.4, 0.4),
}
# Files of each kind: shapes, keys and prefix around them, and the expected architecture.
KINDS: dict[str, tuple[Shapes, tuple[str, ...], str, dict[str, Any]]] = {
    "Point-MAE, pre-trained": (
        point_mae_pretrained(**SIZES, decoder_depth=3),
        ("base_model",),
        "module.",
        {"decoder_depth": 3, "num_groups": 64},
    ),
    "Point-MAE, fine-tuned": (
        point_mae_fine_tuned(**SIZES),
        ("base_model",),
        "",
        {"class_token": True},
    ),
    "Point-MAE, fine-tuned (segmentation)": (
        point_mae_segmentation(**SIZES),
        ("model_state_dict",),
        "module.",
        {"class_token": False},
    ),
    "Point-BERT, pre-trained": (
        point_bert_pretrained(**SIZES),
        ("base_model",),
        "module.",
        {"class_token": True, "embedder_output": 32},
    ),
    "Point-BERT, fine-tuned": (
        point_bert_fine_tuned(**SIZES),
        (),
        "",
        {"class_token": True, "embedder_output": 32},
    ),
    "ReCon, pre-trained": (
        recon_pretrained(**SIZES),
        ("base_model",),
        "",
        {"class_token": True, "extra_tokens": ("image", "text"), "block": "recon"},
    ),
    "ReCon, fine-tuned": (
        recon_fine_tuned(**SIZES),
        ("base_model",),
        "module.",
        {"class_token": True, "extra_tokens": ("image", "text"), "block": "recon"},
    ),
    "ULIP (Point-BERT encoder), pre-trained": (
        ulip(**SIZES),
        ("state_dict",),
        "module.",
        {"class_token": True, "embedder_output": 32, "num_groups": 512},
    ),
    "ULIP (Point-BERT encoder), pre-trained (2, colored)": (
        ulip_2(**SIZES),
        ("state_dict",),
        "module.",
        {"input_channels": 6, "embedder_output": 32, "num_groups": 512},
    ),
    "PCP-MAE, pre-trained": (
        pcp_mae_pretrained(**PCP_SIZES),
        ("base_model",),
        "module.",
        PCP_EXPECTED | {"decoder_depth": 2, "class_token": False},
    ),
    "PCP-MAE, fine-tuned": (
        pcp_mae_fine_tuned(**PCP_SIZES),
        ("base_model",),
        "",
        PCP_EXPECTED | {"class_token": True},
    ),
    "Point-JEPA or point2vec, pre-trained": (
        point_jepa_pretrained(**SIZES),
        ("state_dict",),
        "",
        {"qkv_bias": "all", "embedder_bias": False, "class_token": False, "num_groups": 64},
    ),
    "Point-JEPA or point2vec, pre-trained (point2vec)": (
        point2vec_pretrained(**SIZES),
        ("state_dict",),
        "",
        {"qkv_bias": "all", "embedder_bias": False, "norm_epsilon": 1e-5},
    ),
    "Point-JEPA or point2vec, fine-tuned": (
        point_jepa_fine_tuned(**SIZES),
        ("state_dict",),
        "",
        {"qkv_bias": "all", "embedder_bias": False, "class_token": True},
    ),
    "Uni3D, pre-trained (Ti, S)": (
        uni3d(**SIZES),
        ("module",),
        "",
        UNI3D_EXPECTED | {"mlp": "swiglu", "mlp_ratio": 170 / 64},
    ),
    "Uni3D, pre-trained (B, L)": (
        uni3d(**SIZES, kind="separate"),
        ("module",),
        "module.",
        UNI3D_EXPECTED
        | {"mlp": "swiglu", "mlp_ratio": 170 / 64, "mlp_fused": False, "mlp_norm": True}
        | {"qkv_fused": False},
    ),
    "Uni3D, pre-trained (g)": (
        uni3d(**SIZES, kind="giant"),
        ("module",),
        "module.",
        UNI3D_EXPECTED | {"mlp": "gelu", "mlp_fused": True, "mlp_norm": False},
    ),
    "Point-MAE (torch-pointcloud), fine-tuned": (
        torch_pointcloud_mae(**SIZES),
        (),
        "",
        {"class_token": True},
    ),
    "Point-MAE (torch-pointcloud), pre-trained": (
        torch_pointcloud_mae_pretrained(**SIZES),
        (),
        "",
        {"class_token": False, "group_size": 16, "decoder_depth": 1},
    ),
    "Point-BERT (torch-pointcloud), fine-tuned": (
        torch_pointcloud_bert(**SIZES),
        (),
        "",
        {"class_token": True, "embedder_output": 32},
    ),
    "Point-BERT (torch-pointcloud), pre-trained": (
        torch_pointcloud_bert_pretrained(**SIZES),
        ("model", "state_dict"),
        "base_model.",
        {"class_token": True, "embedder_output": 32},
    ),
}


def wrapped(state: Mapping[str, np.ndarray], keys: tuple[str, ...], prefix: str) -> Any:
    """A state dict as a training script saves it, with a prefix, keys and other values."""
    value: Any = OrderedDict((prefix + name, array) for name, array in state.items())
    for key in reversed(keys):
        value = {key: value, "epoch": 299, "best_metrics": {"acc": 93.8}}
    return value

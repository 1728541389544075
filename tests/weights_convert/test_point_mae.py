"""Our backbone against numbers of the official PyTorch code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.models.point_mae import Backbone, BackboneConfig, MaskedAutoencoder, group_points
from weights_convert.point_mae import convert_state_dict, infer_config
from weights_convert.torch_zip import read_checkpoint


def _hash(shape, ordinal):
    """The deterministic filling under which the golden numbers were measured."""
    index = np.arange(np.prod(shape, dtype=np.int64), dtype=np.float64) + 1
    value = np.sin(index * 12.9898 + ordinal * 78.233) * 43758.5453
    return (value - np.floor(value)).reshape(shape)


def _filled_state_dict():
    """A fine-tuned Point-MAE (384/12/6, 40 classes): official key names, deterministic values."""
    shapes = {"cls_token": (1, 1, 384), "cls_pos": (1, 1, 384)}

    def affine(name, *size):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = size, size[:1]

    def batch_norm(name, size):
        affine(name, size)
        shapes[f"{name}.running_mean"] = shapes[f"{name}.running_var"] = (size,)

    affine("encoder.first_conv.0", 128, 3, 1)
    batch_norm("encoder.first_conv.1", 128)
    affine("encoder.first_conv.3", 256, 128, 1)
    affine("encoder.second_conv.0", 512, 512, 1)
    batch_norm("encoder.second_conv.1", 512)
    affine("encoder.second_conv.3", 384, 512, 1)
    affine("pos_embed.0", 128, 3)
    affine("pos_embed.2", 384, 128)
    for i in range(12):
        block = f"blocks.blocks.{i}"
        affine(f"{block}.norm1", 384)
        affine(f"{block}.norm2", 384)
        shapes[f"{block}.attn.qkv.weight"] = (1152, 384)
        affine(f"{block}.attn.proj", 384, 384)
        affine(f"{block}.mlp.fc1", 1536, 384)
        affine(f"{block}.mlp.fc2", 384, 1536)
    affine("norm", 384)
    affine("cls_head_finetune.0", 256, 768)
    batch_norm("cls_head_finetune.1", 256)
    affine("cls_head_finetune.4", 256, 256)
    batch_norm("cls_head_finetune.5", 256)
    affine("cls_head_finetune.8", 40, 256)
    state = {}
    for ordinal, name in enumerate(sorted(shapes)):
        u = _hash(shapes[name], ordinal) - 0.5
        if u.ndim >= 2:
            state[name] = 2 * u / np.sqrt(np.prod(shapes[name][1:]))
        elif name.endswith((".weight", ".running_var")):
            state[name] = 1 + 0.2 * u
        else:
            state[name] = 0.2 * u
    return state


def _close(ours, first, total, squares):
    ours = np.asarray(ours, np.float64)
    np.testing.assert_allclose(ours.reshape(-1)[:5], first, atol=1e-5)
    np.testing.assert_allclose(ours.sum(), total, rtol=1e-5)
    np.testing.assert_allclose(np.square(ours).sum(), squares, rtol=1e-5)


def test_golden_numbers_of_the_fine_tuned_model():
    state = _filled_state_dict()
    assert len(state) == 170
    variables, rest = convert_state_dict(state)
    assert {name.split(".")[0] for name in rest} == {"cls_head_finetune"}
    config = infer_config(variables, num_heads=6)
    assert config == BackboneConfig(decoder_depth=0, class_token=True)
    points = jnp.asarray(0.9 * (2 * _hash((1, 128, 3), 1000) - 1), jnp.float32)
    backbone = Backbone(config)
    ours = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32), {k: v["backbone"] for k, v in variables.items()}
    )
    tokens, _ = backbone.apply(ours, points, method="embed")
    # Near-origin points are skipped by the CUDA kernel's FPS; none lies that near here.
    _close(
        tokens,
        [0.03794564, 0.09139246, 0.15391608, 0.08721248, -0.02953316],
        504.29492674,
        162.82971731,
    )
    final = np.asarray(backbone.apply(ours, points), np.float64)
    hidden = np.concatenate([final[:, 0], final[:, 1:].max(1)], axis=-1)
    for layer, norm in (("0", "1"), ("4", "5")):
        hidden = hidden @ rest[f"cls_head_finetune.{layer}.weight"].T
        hidden = hidden + rest[f"cls_head_finetune.{layer}.bias"]
        stats = {k: rest[f"cls_head_finetune.{norm}.{k}"] for k in ("running_mean", "running_var")}
        hidden = (hidden - stats["running_mean"]) / np.sqrt(stats["running_var"] + 1e-5)
        hidden = hidden * rest[f"cls_head_finetune.{norm}.weight"]
        hidden = np.maximum(hidden + rest[f"cls_head_finetune.{norm}.bias"], 0)
    logits = hidden @ rest["cls_head_finetune.8.weight"].T + rest["cls_head_finetune.8.bias"]
    _close(
        logits,
        [0.00633611, 0.12003282, 0.10883619, -0.01155215, 0.00353389],
        0.59972413,
        0.58076421,
    )


@pytest.fixture(scope="module")
def parity(shared_data):
    folder = shared_data / "point_mae_parity_fixture"
    checkpoint = read_checkpoint(folder / "pretrain_tiny.pth")
    variables, rest = convert_state_dict(checkpoint["base_model"])
    assert not rest
    config = infer_config(variables, num_heads=6, num_groups=16, group_size=32)
    assert (config.width, config.depth, config.decoder_depth) == (96, 3, 2)
    return config, variables, np.load(folder / "expected.npz", allow_pickle=False)


def test_every_intermediate_tensor_of_the_official_code(parity):
    config, variables, expected = parity

    def intermediates(model: MaskedAutoencoder, points):
        patches, centres = group_points(points, config.num_groups, config.group_size)
        backbone = model.backbone
        tokens, position = backbone.embedder(patches), backbone.position(centres)
        out = {"neighborhood": patches, "center": centres, "tokens": tokens, "pos": position}
        x = tokens
        for i, block in enumerate(backbone.blocks):
            x = out[f"enc_block{i}"] = block(x + position)
        out["enc_out"] = backbone.norm(x)
        return out

    points = jnp.asarray(expected["points"])
    model = MaskedAutoencoder(config)
    ours = model.apply(variables, points, method=intermediates)
    for name, value in ours.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
    masked = model.apply(variables, points, jnp.asarray(expected["mask"], bool), 9)
    np.testing.assert_allclose(masked["visible"], expected["vis_out"], atol=1e-5)
    np.testing.assert_allclose(masked["decoded"], expected["dec_out"], atol=1e-5)
    np.testing.assert_allclose(masked["rebuilt"].reshape(18, 32, 3), expected["rebuild"], atol=1e-5)
    np.testing.assert_allclose(
        masked["target"].reshape(18, 32, 3), expected["rebuild_target"], atol=1e-6
    )

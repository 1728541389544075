"""The backbone against numbers of the official PyTorch code, and of the twins of later families."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.models.point_mae import Backbone, BackboneConfig, MaskedAutoencoder, group_points
from tests.weights_convert import checkpoints
from weights_convert.torch_zip import read_checkpoint
from weights_convert.trunk import decoder_entries


def _hash(shape, ordinal):
    """The deterministic values for which the golden numbers were measured."""
    index = np.arange(np.prod(shape, dtype=np.int64), dtype=np.float64) + 1
    value = np.sin(index * 12.9898 + ordinal * 78.233) * 43758.5453
    return (value - np.floor(value)).reshape(shape)


def _filled_state_dict():
    """A fine-tuned Point-MAE (384/12/6, 40 classes): official key names, deterministic values."""
    return _filled(checkpoints.point_mae_fine_tuned(**checkpoints.SMALL))


def _filled(shapes):
    """Deterministic values under these names; counters are left out."""
    names = sorted(name for name in shapes if not name.endswith("num_batches_tracked"))
    state = {}
    for ordinal, name in enumerate(names):
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


def test_published_counts():
    def count(shapes, trained):
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        kept = (s for n, s in shapes.items() if not (trained and n.endswith(buffers)))
        return len(shapes), sum(int(np.prod(shape)) for shape in kept)

    small = checkpoints.SMALL
    assert count(checkpoints.point_mae_pretrained(**small), True) == (209, 29_006_432)
    assert count(checkpoints.point_mae_fine_tuned(**small), True) == (174, 22_099_752)
    assert count(checkpoints.point_bert_fine_tuned(**small, output=256), True) == (164, 22_065_960)


def test_golden_numbers_of_the_fine_tuned_model():
    state = _filled_state_dict()
    assert len(state) == 170
    accounts, variables = checkpoints.variables_of(state, np.float32)
    head = accounts.dropped["classification head"]
    assert len(head) == 14
    assert len(accounts.dropped) == 1
    config = BackboneConfig.from_dict(accounts.architecture.to_dict())
    assert config == BackboneConfig(decoder_depth=0, class_token=True)
    points = jnp.asarray(0.9 * (2 * _hash((1, 128, 3), 1000) - 1), jnp.float32)
    backbone = Backbone(config)
    tokens, _ = backbone.apply(variables, points, method="embed")
    # The official CUDA kernel for FPS skips points near the origin. There are none here.
    _close(
        tokens,
        [0.03794564, 0.09139246, 0.15391608, 0.08721248, -0.02953316],
        504.29492674,
        162.82971731,
    )
    final = np.asarray(jax.jit(backbone.apply)(variables, points), np.float64)
    hidden = np.concatenate([final[:, 0], final[:, 1:].max(1)], axis=-1)
    for layer, norm in (("0", "1"), ("4", "5")):
        hidden = hidden @ state[f"cls_head_finetune.{layer}.weight"].T
        hidden = hidden + state[f"cls_head_finetune.{layer}.bias"]
        stats = {k: state[f"cls_head_finetune.{norm}.{k}"] for k in ("running_mean", "running_var")}
        hidden = (hidden - stats["running_mean"]) / np.sqrt(stats["running_var"] + 1e-5)
        hidden = hidden * state[f"cls_head_finetune.{norm}.weight"]
        hidden = np.maximum(hidden + state[f"cls_head_finetune.{norm}.bias"], 0)
    logits = hidden @ state["cls_head_finetune.8.weight"].T + state["cls_head_finetune.8.bias"]
    _close(
        logits,
        [0.00633611, 0.12003282, 0.10883619, -0.01155215, 0.00353389],
        0.59972413,
        0.58076421,
    )


TINY = {"width": 48, "depth": 3, "widths": (8, 12, 16)}
# First numbers, sum and sum of squares of the final tokens, computed in float64 by the PyTorch
# models of `twins`: 6 heads, 8 patches of 10 points.
FAMILIES = {
    "PCP-MAE": (
        checkpoints.pcp_mae_fine_tuned(**TINY),
        ([-2.33376848, 0.08485559, -0.73319435, 0.54282687, 0.07427957], 2.98473915, 868.21254086),
    ),
    "Point-JEPA": (
        checkpoints.point_jepa_pretrained(**TINY),
        ([0.32150818, 0.65457099, 0.41585019, 0.00302352, -1.02530166], -18.91479283, 791.11080743),
    ),
    "point2vec": (
        checkpoints.point2vec_pretrained(**TINY),
        (
            [-1.14951504, -1.04253568, 0.29983421, -0.27144695, -0.04273302],
            2.33106960,
            763.73127165,
        ),
    ),
    "Uni3D Ti, S": (
        checkpoints.uni3d(**TINY, kind="fused", output=20),
        (
            [0.61484918, -0.33938233, 0.86613472, -0.89673171, -0.45321385],
            65.05820461,
            305.39081744,
        ),
    ),
    "Uni3D B, L": (
        checkpoints.uni3d(**TINY, kind="separate", output=20),
        (
            [0.33678506, -0.85352485, -0.82864357, 0.01978101, 0.71253318],
            -83.15432447,
            880.26205644,
        ),
    ),
    "Uni3D g": (
        checkpoints.uni3d(**TINY, kind="giant", output=20),
        (
            [0.89018447, 0.77019034, -0.71252910, -1.99539436, 0.41044603],
            -23.14797680,
            374.64913651,
        ),
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_golden_numbers_of_the_twins(name):
    shapes, numbers = FAMILIES[name]
    options = {"num_heads": 6, "num_groups": 8, "group_size": 10}
    accounts, variables = checkpoints.variables_of(_filled(shapes), np.float32, **options)
    config = BackboneConfig.from_dict(accounts.architecture.to_dict())
    points = 0.9 * (2 * _hash((2, 60, config.input_channels), 1000) - 1)
    tokens = jax.jit(Backbone(config).apply)(variables, jnp.asarray(points, jnp.float32))
    _close(tokens, *numbers)


@pytest.fixture(scope="module")
def parity(shared_data):
    folder = shared_data / "point_mae_parity_fixture"
    state = read_checkpoint(folder / "pretrain_tiny.pth")["base_model"]
    accounts, backbone = checkpoints.variables_of(state, np.float32, num_heads=6, num_groups=16)
    config = BackboneConfig.from_dict(accounts.architecture.to_dict())
    assert (config.width, config.depth, config.decoder_depth, config.group_size) == (96, 3, 2, 32)
    (dropped,) = (names for why, names in accounts.dropped.items() if "decoder" in why)
    decoder = {entry.name: entry for entry in decoder_entries(accounts.architecture)}
    assert set(decoder) == set(dropped)
    params = {"backbone": backbone["params"]}
    for name, entry in decoder.items():
        _, *folders, leaf = entry.path.split("/")
        place = params
        for part in folders:
            place = place.setdefault(part, {})
        place[leaf] = entry.to_ours(state[name])
    variables = {"params": params, "batch_stats": {"backbone": backbone["batch_stats"]}}
    with np.load(folder / "expected.npz", allow_pickle=False) as file:
        return config, variables, dict(file)


def test_every_intermediate_tensor_of_the_official_code(parity):
    config, variables, expected = parity

    def intermediates(model: MaskedAutoencoder, points):
        patches, centers = group_points(points, config.num_groups, config.group_size)
        backbone = model.backbone
        tokens, position = backbone.embedder(patches), backbone.position(centers)
        out = {"neighborhood": patches, "center": centers, "tokens": tokens, "pos": position}
        x = tokens
        for i, block in enumerate(backbone.blocks):
            x = out[f"enc_block{i}"] = block(x + position)
        out["enc_out"] = backbone.norm(x)
        return out

    points = jnp.asarray(expected["points"])
    model = MaskedAutoencoder(config)
    apply: Any = model.apply  # its annotation is a union that only the call narrows
    ours = apply(variables, points, method=intermediates)
    for name, value in ours.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
    masked = apply(variables, points, jnp.asarray(expected["mask"], bool), 9)
    np.testing.assert_allclose(masked["visible"], expected["vis_out"], atol=1e-5)
    np.testing.assert_allclose(masked["decoded"], expected["dec_out"], atol=1e-5)
    np.testing.assert_allclose(masked["rebuilt"].reshape(18, 32, 3), expected["rebuild"], atol=1e-5)
    np.testing.assert_allclose(
        masked["target"].reshape(18, 32, 3), expected["rebuild_target"], atol=1e-6
    )

"""Converted backbones give the outputs of their family, and no known mistake would go unnoticed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.models.point_mae import Backbone, BackboneConfig
from tests.weights_convert import checkpoints
from tests.weights_convert.reference import Rules, forward

HEADS, GROUPS, SIZE = 4, 5, 6
ARCHITECTURES = {
    "Point-MAE": checkpoints.trunk(**checkpoints.SIZES),
    "Point-BERT": checkpoints.point_bert_fine_tuned(**checkpoints.SIZES),
    "ReCon": checkpoints.recon_fine_tuned(**checkpoints.SIZES),
    "ULIP-2": checkpoints.ulip_2(**checkpoints.SIZES),
}


def _cloud(channels, dtype):
    points = np.random.default_rng(1).uniform(-0.7, 0.7, (1, 40, channels))
    return points.astype(dtype)


def _case(name):
    """Checkpoint of an architecture, its tensors by standard name in float64, and points."""
    state = checkpoints.fill(ARCHITECTURES[name], seed=3)
    bare = {k.removeprefix("point_encoder."): v.astype(np.float64) for k, v in state.items()}
    channels = bare["encoder.first_conv.0.weight"].shape[1]
    return state, bare, _cloud(channels, np.float64)


def _ours(state, points, dtype):
    accounts, variables = checkpoints.variables_of(
        state, dtype, num_heads=HEADS, num_groups=GROUPS, group_size=SIZE
    )
    config = BackboneConfig.from_dict(accounts.architecture.to_dict())
    backbone = Backbone(config)
    return np.asarray(jax.jit(backbone.apply)(variables, jnp.asarray(points, dtype))[0])


RIGHT = Rules()


def _reference(bare, points, rules=RIGHT):
    return forward(bare, points[0], num_groups=GROUPS, group_size=SIZE, heads=HEADS, rules=rules)


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def compared(request):
    state, bare, points = _case(request.param)
    with jax.enable_x64(True):
        ours = _ours(state, points, np.float64)
    return request.param, bare, points, ours, _reference(bare, points)


def test_float64_equals_the_reference(compared):
    name, _, _, ours, expected = compared
    assert ours.dtype == np.float64
    extra = {"Point-MAE": 0, "Point-BERT": 1, "ReCon": 3, "ULIP-2": 1}[name]
    assert ours.shape == expected.shape == (extra + GROUPS, 64)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["Point-MAE", "ReCon"])
def test_float32_equals_the_reference(name):
    state, bare, points = _case(name)
    ours = _ours(state, points, np.float32)
    np.testing.assert_allclose(ours, _reference(bare, points), rtol=0, atol=1e-5)


WRONG_RULES = {
    "Flax's LayerNorm epsilon": Rules(layer_norm_epsilon=1e-6),
    "another BatchNorm epsilon": Rules(batch_norm_epsilon=1e-3),
    "approximate GELU": Rules(exact_gelu=False),
    "heads outside q, k, v": Rules(qkv_order="head,q,k,v"),
    "position added once": Rules(position_everywhere=False),
    "local before maximum": Rules(global_first=False),
    "plain residual": Rules(recon_residual_normalized=False),
    "cross-attention after attention": Rules(recon_patches_before=False),
}
RECON_ONLY = ("plain residual", "cross-attention after attention")


def test_every_wrong_rule_changes_the_outputs(compared):
    name, bare, points, ours, _ = compared
    for description, rules in WRONG_RULES.items():
        if name == "ReCon" or description not in RECON_ONLY:
            # At least ten thousand times the tolerance of the comparison above.
            difference = np.abs(ours - _reference(bare, points, rules)).max()
            assert difference > 1e-6, f"{name} has the same outputs with {description}"


def test_recon_patches_do_not_depend_on_the_global_tokens():
    _, bare, points = _case("ReCon")
    ours = _reference(bare, points)
    other = {k: 2 * v if k.endswith(("_token", "_pos")) else v for k, v in bare.items()}
    changed = _reference(other, points)
    np.testing.assert_allclose(changed[3:], ours[3:], atol=1e-10)
    assert np.abs(changed[:3] - ours[:3]).max() > 1e-3


@pytest.mark.wrong_arguments
def test_a_backbone_refuses_points_without_its_colors():
    accounts, variables = checkpoints.variables_of(
        checkpoints.fill(ARCHITECTURES["ULIP-2"]), np.float32, num_groups=GROUPS, group_size=SIZE
    )
    config = BackboneConfig.from_dict(accounts.architecture.to_dict())
    with pytest.raises(ValueError, match="3 columns.*reads 6"):
        Backbone(config).apply(variables, _cloud(3, np.float32))


def test_architecture_has_the_fields_of_the_backbone():
    accounts = checkpoints.accounts_of(checkpoints.fill(ARCHITECTURES["ReCon"]), num_heads=HEADS)
    config = BackboneConfig.from_dict(accounts.architecture.to_dict())
    assert config.to_dict() == accounts.architecture.to_dict()
    assert [f.name for f in dataclasses.fields(config)] == list(accounts.architecture.to_dict())

"""Converted Point-MAE, Point-BERT and ReCon against PyTorch, in float64 and float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.models.backbone_file import load_backbone
from pointata_jax.models.point_mae import Backbone, BackboneConfig
from tests.weights_convert import checkpoints
from weights_convert.convert import convert
from weights_convert.recognize import Options

torch = pytest.importorskip("torch")

SIZES = {"width": 48, "depth": 3, "widths": (8, 12, 16)}
HEADS, GROUPS, SIZE = 6, 8, 10
OPTIONS = {"num_heads": HEADS, "num_groups": GROUPS, "group_size": SIZE}
FAMILIES = {
    "Point-MAE": (checkpoints.point_mae_fine_tuned(**SIZES), {"tokens": ("cls",)}),
    "Point-BERT": (
        checkpoints.point_bert_fine_tuned(**SIZES, output=20),
        {"tokens": ("cls",), "output": 20},
    ),
    "ReCon": (checkpoints.recon_fine_tuned(**SIZES), {"tokens": ("cls", "img", "text")}),
}


def _case(name):
    """A PyTorch model with random weights, its checkpoint, and points."""
    from tests.weights_convert import twins

    shapes, special = FAMILIES[name]
    state = checkpoints.fill(shapes, seed=5)
    twin = twins.PointTransformer(**SIZES, heads=HEADS, groups=GROUPS, size=SIZE, **special)
    trunk = {k: torch.from_numpy(v) for k, v in state.items() if not k.startswith("cls_head")}
    twin.load_state_dict(trunk, strict=True)
    points = np.random.default_rng(2).uniform(-0.7, 0.7, (2, 60, 3))
    return twin.eval(), state, points


@pytest.mark.parametrize("name", FAMILIES)
def test_float64(name):
    twin, state, points = _case(name)
    with torch.no_grad():
        expected = twin.double()(torch.from_numpy(points)).numpy()
    with jax.enable_x64(True):
        accounts, variables = checkpoints.variables_of(state, np.float64, **OPTIONS)
        config = BackboneConfig.from_dict(accounts.architecture.to_dict())
        ours = np.asarray(jax.jit(Backbone(config).apply)(variables, jnp.asarray(points)))
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_float32_through_files(name, tmp_path):
    twin, state, points = _case(name)
    points = points.astype(np.float32)
    with torch.no_grad():
        expected = twin(torch.from_numpy(points)).numpy()
    saved = {k: torch.from_numpy(v) for k, v in state.items()}
    torch.save({"base_model": saved, "epoch": 3}, tmp_path / "c.pth")
    convert(tmp_path / "c.pth", tmp_path / "b.safetensors", options=Options(**OPTIONS))
    config, variables = load_backbone(tmp_path / "b.safetensors")
    ours = jax.jit(Backbone(config).apply)(variables, jnp.asarray(points))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    # The PyTorch model, loaded from the file written for PyTorch, computes the same bits.
    from safetensors.torch import load_file

    convert(tmp_path / "b.safetensors", tmp_path / "t.safetensors", to="torch")
    twin.load_state_dict(load_file(tmp_path / "t.safetensors"), strict=True)
    with torch.no_grad():
        assert np.array_equal(twin.eval()(torch.from_numpy(points)).numpy(), expected)

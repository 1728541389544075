"""Converted backbones of all families against PyTorch, in float64 and float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.models.backbone_file import load_backbone
from pointata_jax.models.blocks import Block
from pointata_jax.models.point_mae import Backbone, BackboneConfig
from tests.weights_convert import checkpoints
from weights_convert.convert import convert
from weights_convert.recognize import Options

torch = pytest.importorskip("torch")

SIZES = {"width": 48, "depth": 3, "widths": (8, 12, 16)}
HEADS, GROUPS, SIZE = 6, 8, 10
OPTIONS = {"num_heads": HEADS, "num_groups": GROUPS, "group_size": SIZE}
# Shapes of the checkpoint, class in `twins`, its arguments.
FAMILIES = {
    "Point-MAE": (
        checkpoints.point_mae_fine_tuned(**SIZES),
        "PointTransformer",
        {"tokens": ("cls",)},
    ),
    "Point-BERT": (
        checkpoints.point_bert_fine_tuned(**SIZES, output=20),
        "PointTransformer",
        {"tokens": ("cls",), "output": 20},
    ),
    "ReCon": (
        checkpoints.recon_fine_tuned(**SIZES),
        "PointTransformer",
        {"tokens": ("cls", "img", "text")},
    ),
    "PCP-MAE": (
        checkpoints.pcp_mae_fine_tuned(**SIZES),
        "PcpTransformer",
        {"tokens": ("cls",)},
    ),
    "Point-JEPA": (checkpoints.point_jepa_pretrained(**SIZES), "PointJepa", {}),
    "Point-JEPA, fine-tuned": (
        checkpoints.point_jepa_fine_tuned(**SIZES),
        "PointJepa",
        {"encoder": "encoder", "token": True},
    ),
    "point2vec": (checkpoints.point2vec_pretrained(**SIZES), "PointJepa", {"nested": False}),
} | {
    f"Uni3D {sizes}": (
        checkpoints.uni3d(**SIZES, kind=kind, output=20),
        "Uni3D",
        {"kind": kind, "output": 20},
    )
    for sizes, kind in (("Ti, S", "fused"), ("B, L", "separate"), ("g", "giant"))
}


def _case(name):
    """A PyTorch model with random weights, its checkpoint, and points."""
    from tests.weights_convert import twins

    shapes, kind, special = FAMILIES[name]
    state = checkpoints.fill(shapes, seed=5)
    twin = getattr(twins, kind)(**SIZES, heads=HEADS, groups=GROUPS, size=SIZE, **special)
    own = twin.state_dict().keys()
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in state.items() if k in own})
    channels = 6 if kind == "Uni3D" else 3
    points = np.random.default_rng(2).uniform(-0.7, 0.7, (2, 60, channels))
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
    # The PyTorch model has every tensor that is not dropped.
    dropped = {name for names in accounts.dropped.values() for name in names}
    assert state.keys() - twin.state_dict().keys() <= dropped


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
    written = load_file(tmp_path / "t.safetensors")
    if name == "point2vec":  # Its backbone is written under the names of Point-JEPA.
        nested = "tokenizer.embedding.encoder."
        written = {k.replace(nested, "tokenizer.embedding."): v for k, v in written.items()}
    twin.load_state_dict(written, strict=True)
    with torch.no_grad():
        assert np.array_equal(twin.eval()(torch.from_numpy(points)).numpy(), expected)


FACTS = {
    "position before every block": ("Uni3D Ti, S", {"position_every_block": True}),
    "position before the first block": ("Point-JEPA", {"position_every_block": False}),
    "PyTorch's epsilon": ("Uni3D B, L", {"norm_epsilon": 1e-5}),
    "Flax's epsilon": ("Point-JEPA", {"norm_epsilon": 1e-6}),
    "gate last": ("Uni3D Ti, S", {"gate_first": False}),
}


@pytest.mark.parametrize("fact", FACTS)
def test_facts_without_a_trace_in_shapes(fact):
    """The other value of a fact fits the same tensors and gives other outputs than PyTorch."""
    name, change = FACTS[fact]
    twin, state, points = _case(name)
    with torch.no_grad():
        expected = twin.double()(torch.from_numpy(points)).numpy()
    with jax.enable_x64(True):
        accounts, variables = checkpoints.variables_of(state, np.float64, **OPTIONS)
        config = BackboneConfig.from_dict(accounts.architecture.to_dict())
        wrong = dataclasses.replace(config, **change)
        assert wrong != config
        ours = np.asarray(jax.jit(Backbone(wrong).apply)(variables, jnp.asarray(points)))
    # At least ten thousand times the tolerance of the comparison above.
    assert np.abs(ours - expected).max() > 1e-6


def test_the_last_norm_of_uni3d_acts_on_the_class_token_alone():
    twin, state, points = _case("Uni3D Ti, S")
    with torch.no_grad():
        expected = twin.double()(torch.from_numpy(points)).numpy()
    with jax.enable_x64(True):
        accounts, variables = checkpoints.variables_of(state, np.float64, **OPTIONS)
        config = BackboneConfig.from_dict(accounts.architecture.to_dict())
        for other, named in (("none", {}), ("all", {"norm": variables["params"]["class_norm"]})):
            params = {k: v for k, v in variables["params"].items() if k != "class_norm"} | named
            backbone = Backbone(dataclasses.replace(config, final_norm=other))
            ours = np.asarray(backbone.apply({**variables, "params": params}, jnp.asarray(points)))
            same = np.abs(ours - expected).max(-1) < 1e-10
            assert same[:, 1:].all() == (other == "none")
            assert same[:, 0].all() == (other == "all")


def test_points_without_color_have_the_constant_of_the_family():
    twin, state, points = _case("Uni3D Ti, S")
    gray = np.concatenate([points[..., :3], np.full((*points.shape[:2], 3), 0.4)], axis=-1)
    with torch.no_grad():
        expected = twin.double()(torch.from_numpy(gray)).numpy()
    with jax.enable_x64(True):
        accounts, variables = checkpoints.variables_of(state, np.float64, **OPTIONS)
        config = BackboneConfig.from_dict(accounts.architecture.to_dict())
        ours = np.asarray(Backbone(config).apply(variables, jnp.asarray(points[..., :3])))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["fused", "separate", "giant"])
def test_blocks_of_timm(kind):
    """Blocks of EVA from timm, which the twins are independent of."""
    eva = pytest.importorskip("timm.models.eva", exc_type=ImportError)
    from functools import partial

    gated = kind != "giant"
    torch.manual_seed(0)
    block = eva.EvaBlock(
        48,
        HEADS,
        qkv_fused=kind != "separate",
        mlp_ratio=8 / 3 if gated else 4,
        swiglu_mlp=gated,
        scale_mlp=kind == "separate",
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    own = {f"visual.blocks.0.{name}": value.numpy() for name, value in block.state_dict().items()}
    state = checkpoints.fill(checkpoints.uni3d(width=48, depth=1, widths=(8, 12, 16), kind=kind))
    own = {f"point_encoder.{name}": value for name, value in own.items()}
    assert own.keys() <= state.keys()
    x = np.random.default_rng(3).normal(size=(2, 7, 48))
    with torch.no_grad():
        expected = block.double()(torch.from_numpy(x)).numpy()
    with jax.enable_x64(True):
        accounts, variables = checkpoints.variables_of(state | own, np.float64, num_heads=HEADS)
        arch = accounts.architecture
        names = {f.name for f in dataclasses.fields(Block)} & arch.to_dict().keys()
        ours = Block(hidden_width=arch.hidden_width, **{n: getattr(arch, n) for n in names})
        out = np.asarray(ours.apply({"params": variables["params"]["blocks_0"]}, jnp.asarray(x)))
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-10)

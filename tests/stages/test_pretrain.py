import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import pretrain as command
from pointata_jax.alignment import load_source_bank
from pointata_jax.errors import InputError
from pointata_jax.models import point_mae
from pointata_jax.models.backbone_file import load_backbone
from pointata_jax.stages.pretrain import PretrainConfig, contrast_loss
from pointata_jax.stages.views import ViewConfig, partial_view

MICRO = point_mae.BackboneConfig(
    width=24, depth=1, num_heads=2, embedder_widths=(8, 8, 16), num_groups=8, group_size=8
)


def _unit(rng, *shape):
    rows = rng.normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_contrast_against_its_definition():
    rng = np.random.default_rng(0)
    rows = _unit(rng, 6, 5)
    expected = 0.0
    for i in range(6):
        scores = np.exp(rows @ rows[i] / 0.2)
        expected -= np.log(scores[(i + 3) % 6] / (scores.sum() - scores[i])) / 6
    assert float(contrast_loss(jnp.asarray(rows), 0.2)) == pytest.approx(expected, rel=1e-5)


def test_a_view_is_part_of_the_shape_in_the_unit_sphere():
    shape = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    exact = ViewConfig(num_points=150, crop_probability=1.0, scale_range=(1.0, 1.0), jitter_std=0.0)
    view = np.asarray(partial_view(jax.random.key(1), jnp.asarray(shape), 2.0, exact))
    assert view.shape == (150, 3)
    assert np.linalg.norm(view, axis=1).max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(view.mean(0), 0, atol=1e-5)
    # Turned about y alone: heights are those of shape points, up to the common shift and scale.
    heights = np.sort(shape[:, 1])
    scale = np.ptp(view[:, 1])
    found = [
        (view[:, 1] - view[:, 1].min()) / scale * (high - low) + low
        for low in heights[:60]
        for high in heights[-60:]
    ]
    error = min(np.abs(heights[None] - f[:, None]).min(1).max() for f in found)
    assert error < 1e-4


def test_defaults_of_the_command_line_are_those_of_the_library():
    # Two lists, since --help is not to wait for the library.
    library = dataclasses.asdict(PretrainConfig())
    library["pairs"] = library.pop("num_pairs")
    flags = dataclasses.asdict(command.Args())
    shared = library.keys() & flags.keys() - {"class_factors"}  # one text, several pairs
    assert {"pairs", "members", "steps", "temperature"} <= shared
    assert {name: flags[name] for name in shared} == {name: library[name] for name in shared}


@pytest.fixture
def micro_preset(monkeypatch):
    monkeypatch.setitem(point_mae.PRESETS, "tiny", MICRO)


def test_command_line_makes_backbone_bank_and_gate(micro_preset, tmp_path, capsys):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(24, 1100, 3))
    np.savez(tmp_path / "s.npz", points=points, label=np.arange(24) % 3 - 1, classes=["a", "b"])
    small = {"shapes": str(tmp_path / "s.npz"), "batch_size": 8, "pairs": 8, "steps": 2}
    command.main(command.Args(workdir=str(tmp_path / "first"), **small))
    config, first = load_backbone(tmp_path / "first" / "backbone.safetensors")
    assert config == MICRO
    bank = load_source_bank(tmp_path / "first" / "source_bank.npz", width=24)
    assert bank.class_names == ("a", "b")
    assert len(bank.labels) == 16
    result = json.loads(capsys.readouterr().out)
    assert result["gate"]["num_shapes"] == 16
    assert bank.provenance["backbone_sha256"] == result["backbone_sha256"]
    more = {**small, "start": str(tmp_path / "first"), "learning_rate": 1e-9}
    command.main(command.Args(workdir=str(tmp_path / "more"), **more))
    _, second = load_backbone(tmp_path / "more" / "backbone.safetensors")
    # A run that starts from another and hardly learns keeps its weights.
    for ours, theirs in zip(
        jax.tree.leaves(first["params"]), jax.tree.leaves(second["params"]), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    with pytest.raises(InputError, match="already holds a run"):
        command.main(command.Args(workdir=str(tmp_path / "first"), **small))
    with pytest.raises(InputError, match="--shapes"):
        command.main(command.Args())

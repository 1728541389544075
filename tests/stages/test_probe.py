"""The measure of a backbone, in the library and on the command line."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from experiments import pretrain, probe_backbone
from pointata_jax.errors import InputError
from pointata_jax.models import point_mae
from pointata_jax.models.backbone_file import save_backbone
from pointata_jax.shapes.collection import Shapes
from pointata_jax.stages import pretrain as stage
from pointata_jax.stages.probe import probe

MICRO = point_mae.BackboneConfig(
    width=24,
    depth=1,
    num_heads=2,
    embedder_widths=(8, 16, 16),
    num_groups=8,
    group_size=8,
    decoder_depth=1,
)


def boxes(per_class, seed):
    """Flat, long and cubic boxes of random points; a kind is a class."""
    rng = np.random.default_rng(seed)
    sides = np.array([[1, 1, 0.05], [1, 0.05, 0.05], [1, 1, 1]])
    labels = np.repeat(np.arange(3), per_class)
    points = rng.uniform(-1, 1, (len(labels), 1200, 3)) * sides[labels][:, None]
    return points.astype(np.float32), labels.astype(np.int32)


def test_classes_that_are_easy_to_see_are_told_apart():
    points, labels = boxes(8, 0)
    shapes = Shapes(points, labels, ("flat", "long", "cube"))
    variables = point_mae.Backbone(MICRO).init(jax.random.key(9), points[:1, :64])
    found = probe(MICRO, variables, shapes, 64)
    assert (found["num_shapes"], found["num_classes"]) == (24, 3)
    for name in ("nearest_neighbor", "ridge"):
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high
        assert found[name] > 70
        assert found[f"{name}_random"] > 70
    shuffled = Shapes(points, np.random.default_rng(0).permutation(labels), shapes.class_names)
    assert probe(MICRO, variables, shuffled, 64)["nearest_neighbor"] < 65


@pytest.fixture
def files(tmp_path):
    points, labels = boxes(10, 1)
    # All flat boxes are variants of one model.
    names = [f"a0y_{i}" if label == 0 else f"{label}_{i}x" for i, label in enumerate(labels)]
    arrays = {"label": labels, "classes": ["flat", "long", "cube"], "name": names}
    np.savez(tmp_path / "s.npz", points=points, **arrays)
    variables = point_mae.Backbone(MICRO).init(jax.random.key(9), points[:1, :64])
    save_backbone(tmp_path / "backbone.safetensors", MICRO, variables)
    return tmp_path


def test_command_line(files, capsys):
    place = {"shapes": str(files / "s.npz"), "backbone": str(files / "backbone.safetensors")}
    probe_backbone.main(probe_backbone.Args(**place, points=64, output=str(files / "out.json")))
    found = json.loads(capsys.readouterr().out)
    assert found["num_shapes"] == 30
    assert json.loads((files / "out.json").read_text()) == found
    flags = {"per_class": 4, "except_classes": "fl*"}
    probe_backbone.main(probe_backbone.Args(**place, points=64, **flags))
    found = json.loads(capsys.readouterr().out)
    assert (found["num_shapes"], found["num_classes"]) == (8, 2)
    for wrong, words in (
        ({"shapes": ""}, "no shapes given"),
        ({"per_class": 1}, "two or more"),
        ({"per_class": 3, "except_classes": "brick_*"}, "no class is named"),
        ({"points": 0}, "--points=0"),
    ):
        with pytest.raises(InputError, match=words):
            probe_backbone.main(probe_backbone.Args(**{**place, **wrong}))


def test_shapes_that_are_measured_and_their_variants_are_not_trained_on(files, capsys, monkeypatch):
    seen = {}
    train = stage.pretrain

    def spy(backbone, config, shapes, run, *, held_out=None, **rest):
        seen.update(trained=set(shapes.names), measured=set(held_out.names))
        return train(backbone, config, shapes, run, held_out=held_out, **rest)

    monkeypatch.setattr(stage, "pretrain", spy)
    monkeypatch.setitem(point_mae.PRESETS, "tiny", MICRO)
    flags = {"per_class": 4, "batch_size": 8, "pairs": 0, "steps": 1}
    pretrain.main(pretrain.Args(shapes=str(files / "s.npz"), workdir=str(files / "run"), **flags))
    trained, measured = seen["trained"], seen["measured"]
    assert len(measured) == 12
    assert not trained & measured
    variants = {f"a0y_{number}" for number in range(10)}
    assert variants & measured, "one of the ten variants of a model is measured"
    assert not variants & trained, "so none of them is trained on"
    assert len(trained) == 20 - len(measured - variants)
    assert json.loads(capsys.readouterr().out)["gate"]["num_shapes"] == 12

"""Pre-training by the names of classes."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import pretrain as command
from pointata_jax.errors import InputError
from pointata_jax.models import point_mae
from pointata_jax.models.backbone_file import load_backbone
from pointata_jax.stages.class_objective import (
    ShapeClassifier,
    classification_loss,
    supervised_contrast,
)
from pointata_jax.stages.pretrain import PretrainConfig
from pointata_jax.stages.probe import backbone_features

MICRO = point_mae.BackboneConfig(
    width=24, depth=1, num_heads=2, embedder_widths=(8, 8, 16), num_groups=8, group_size=8
)


def test_supervised_contrast_against_its_definition():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(7, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = np.array([0, 1, 0, 2, 1, 0, 3])
    losses = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        total = sum(np.exp(rows[i] @ rows[j] / 0.3) for j in others)
        same = [j for j in others if labels[j] == labels[i]]
        if same:
            terms = [np.log(np.exp(rows[i] @ rows[j] / 0.3) / total) for j in same]
            losses.append(-np.mean(terms))
    found = supervised_contrast(jnp.asarray(rows), jnp.asarray(labels), 0.3)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)
    alone = jnp.arange(7)
    assert float(supervised_contrast(jnp.asarray(rows), alone, 0.3)) == 0.0
    gradient = jax.grad(lambda x: supervised_contrast(x, jnp.asarray(labels), 0.3))(
        jnp.asarray(rows)
    )
    assert jnp.isfinite(gradient).all()


def test_smoothed_cross_entropy_against_its_definition():
    logits, labels = jnp.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), jnp.array([1, 0])
    log_p = np.asarray(jax.nn.log_softmax(logits))
    expected = -np.mean([0.9 * log_p[i, y] + 0.1 * log_p[i].mean() for i, y in enumerate((1, 0))])
    assert float(classification_loss(logits, labels, 0.1)) == pytest.approx(expected, rel=1e-6)


def test_all_patches_are_seen_outside_training():
    points = np.random.default_rng(0).normal(size=(3, 64, 3)).astype(np.float32)
    model = ShapeClassifier(MICRO, num_classes=4, num_kept=3)
    variables = model.init(jax.random.key(0), points)
    outputs: Any = model.apply(variables, points)
    logits, features, distance = outputs
    assert logits.shape == (3, 4)
    assert float(distance) == 0.0
    inner = {name: variables[name]["autoencoder"]["backbone"] for name in ("params", "batch_stats")}
    expected = backbone_features(MICRO, inner, points)
    np.testing.assert_allclose(np.asarray(features), expected, atol=1e-5)
    once, again, other = (
        model.apply(variables, points, jax.random.key(k), True, mutable=["batch_stats"])[0][1]
        for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other)


def test_bad_settings_are_sentences():
    with pytest.raises(InputError, match="unknown objective 'names'"):
        PretrainConfig(objective="names")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="kept_patches is 0"):
        PretrainConfig(kept_patches=0.0)


def test_command_line_learns_classes(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(point_mae.PRESETS, "tiny", MICRO)
    rng = np.random.default_rng(0)
    sides = np.array([[1, 1, 0.05], [1, 0.05, 0.05], [1, 1, 1], [1, 1, 1]])
    labels = np.repeat(np.arange(4), 8)
    points = rng.uniform(-1, 1, (32, 1100, 3)) * sides[labels][:, None]
    names = ["flat", "long", "cube", "misc"]
    np.savez(tmp_path / "s.npz", points=points, label=labels, classes=names)
    flags = {
        "shapes": str(tmp_path / "s.npz"),
        "objective": "classes",
        "unlabeled_classes": "misc",
        "batch_size": 16,
        "steps": 60,
        "learning_rate": 3e-3,
    }
    command.main(command.Args(workdir=str(tmp_path / "run"), **flags))
    result = json.loads(capsys.readouterr().out)
    assert result["objective"] == "classes"
    assert (result["gate"]["num_shapes"], result["gate"]["num_classes"]) == (24, 3)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    train = [row for row in rows if row["kind"] == "train"]
    assert train[-1]["cross_entropy"] < train[0]["cross_entropy"]
    assert train[-1]["accuracy"] > 50
    assert load_backbone(tmp_path / "run" / "backbone.safetensors")[0] == MICRO


def test_hidden_patches_are_reconstructed_beside_the_classes(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(point_mae.PRESETS, "tiny", MICRO)
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(16, 1100, 3)), np.arange(16) % 2
    np.savez(tmp_path / "s.npz", points=points, label=labels, classes=["a", "b"])
    flags = {
        "shapes": str(tmp_path / "s.npz"),
        "objective": "classes",
        "reconstruction_weight": 10.0,
        "class_factors": "b=0.5",
        "batch_size": 8,
        "steps": 4,
        "snapshot_every": 2,
    }
    command.main(command.Args(workdir=str(tmp_path / "run"), **flags))
    capsys.readouterr()
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["chamfer"] > 0 for row in rows if row["kind"] == "train")
    last = load_backbone(tmp_path / "run" / "snapshots" / "4.safetensors")[1]
    trained = load_backbone(tmp_path / "run" / "backbone.safetensors")[1]
    jax.tree.map(np.testing.assert_array_equal, last, trained)
    earlier = load_backbone(tmp_path / "run" / "snapshots" / "2.safetensors")[1]
    kernels = [v["params"]["position"]["dense_0"]["kernel"] for v in (earlier, last)]
    assert not np.allclose(*kernels)
    with pytest.raises(InputError, match="class_factors has 'b'"):
        command.main(
            command.Args(workdir=str(tmp_path / "other"), **{**flags, "class_factors": "b"})
        )

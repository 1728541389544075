"""Checkpoints of published size through both stages, given by `--backbone=pretrain.pth` alone."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import pointata_jax
from experiments import adapt, align, configs
from pointata_jax.alignment.source_bank import build_source_bank, save_source_bank
from pointata_jax.data.clips import ClipConfig
from pointata_jax.file_hash import file_sha256
from pointata_jax.models.backbone_file import load_backbone
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig
from tests.weights_convert import checkpoints, torch_files
from weights_convert.__main__ import main

TASK = TaskConfig(
    task="synthetic_actions",
    dataset="synthetic_actions",
    variant="tiny",
    clip=ClipConfig(frames=4, stride=4, eval_stride=4, points=32),
    model=ModelSettings(num_centers=3, neighbors=3, radius=0.4, bottleneck=8, sce_neighbors=2),
    align=AlignSettings(steps=2, batch_size=8, report_every=1, report_clips=16),
    adapt=AdaptSettings(steps=2, batch_size=8, eval_every=2),
    needs_data_dir=False,
)


def _bank(folder, config, variables, sha256):
    points = max(64, config.num_groups, config.group_size)
    shapes = np.random.default_rng(0).normal(size=(8, points, 3)).astype(np.float32)
    shapes /= np.linalg.norm(shapes, axis=-1).max()
    colors = np.tile(np.float32(config.channel_constants), (8, points, 1))
    shapes = np.concatenate([shapes, colors], axis=-1)
    bank = build_source_bank(
        config,
        variables,
        shapes,
        np.arange(8) % 2,
        ("a", "b"),
        provenance={"backbone_sha256": sha256},
    )
    save_source_bank(folder / "source_bank.npz", bank)


def _run_both_stages(folder, backbone, monkeypatch):
    monkeypatch.setattr(configs, "load", lambda task, protocol=None: TASK)
    place = {"backbone": str(backbone), "cache_dir": str(folder / "cache")}
    workdir = folder / "run"
    align.main(align.Args(workdir=str(workdir), **place))
    adapt.main(adapt.Args(workdir=str(workdir), test=False, **place))
    result = json.loads((workdir / "result.json").read_text())
    assert (result["steps"], result["stage_1"]) == (2, True)
    stored = load_file(workdir / "adapter.safetensors")
    assert not any(name.startswith("params/backbone") for name in stored)
    assert all(np.isfinite(value).all() for value in stored.values())
    predictor = pointata_jax.load_run(workdir)
    frames = list(np.random.default_rng(0).normal(size=(4, 30, 3)))
    assert predictor.predict(frames)["label"] in predictor.class_names
    return result


@pytest.mark.slow
def test_converted_point_mae_of_size_small(tmp_path, monkeypatch):
    state = checkpoints.fill(checkpoints.point_mae_pretrained(**checkpoints.SMALL, decoder_depth=1))
    checkpoint = torch_files.save(tmp_path / "pretrain.pth", {"base_model": state})
    backbone = tmp_path / "backbone.safetensors"
    assert main([str(checkpoint), f"--output={backbone}"]) == 0
    config, variables = load_backbone(backbone)
    assert config.to_dict() == pointata_jax.PRESETS["small"].to_dict() | {"decoder_depth": 1}
    _bank(tmp_path, config, variables, file_sha256(backbone))
    result = _run_both_stages(tmp_path, backbone, monkeypatch)
    head = 768 * 256 + 256 + 2 * 256 + 256 * 256 + 256 + 2 * 256 + 256 * 40 + 40
    assert result["parameters"]["backbone"] == 22_099_752 - 2 * 384 - head


@pytest.mark.slow
def test_point_bert_checkpoint_without_conversion(tmp_path, monkeypatch):
    shapes = checkpoints.point_bert_pretrained(**checkpoints.SMALL, output=256)
    checkpoint = torch_files.save(
        tmp_path / "Point-BERT.pth", {"base_model": checkpoints.fill(shapes)}
    )
    config, variables = load_backbone(checkpoint)
    assert config.class_token
    assert config.embedder_output == 256
    _bank(tmp_path, config, variables, file_sha256(checkpoint))
    _run_both_stages(tmp_path, checkpoint, monkeypatch)


WIDTHS = checkpoints.SMALL["widths"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "shapes",
    [
        checkpoints.recon_pretrained(**checkpoints.SMALL),
        checkpoints.ulip(**checkpoints.SMALL, output=256),
        checkpoints.pcp_mae_pretrained(**checkpoints.SMALL),
        checkpoints.point_jepa_pretrained(**checkpoints.SMALL),
        checkpoints.point2vec_pretrained(**checkpoints.SMALL),
        checkpoints.uni3d(192, 12, WIDTHS, kind="fused", output=512),
        checkpoints.uni3d(384, 12, WIDTHS, kind="fused", output=512),
        checkpoints.uni3d(768, 12, WIDTHS, kind="separate", output=512),
    ],
    ids="ReCon ULIP PCP-MAE Point-JEPA point2vec Uni3D-Ti Uni3D-S Uni3D-B".split(),
)
def test_checkpoints_of_other_families(shapes, tmp_path, monkeypatch):
    checkpoint = torch_files.save(tmp_path / "c.pth", {"state_dict": checkpoints.fill(shapes)})
    backbone = tmp_path / "backbone.safetensors"
    assert main([str(checkpoint), f"--output={backbone}"]) == 0
    config, variables = load_backbone(backbone)
    _bank(tmp_path, config, variables, file_sha256(backbone))
    _run_both_stages(tmp_path, backbone, monkeypatch)
    # Without stage 1, the embedder may be a copy of the backbone's.
    workdir, cache_dir = str(tmp_path / "copied"), str(tmp_path / "cache")
    copied = {"tuning": "adapter", "embedder_init": "backbone", "test": False}
    adapt.main(adapt.Args(workdir=workdir, backbone=str(backbone), cache_dir=cache_dir, **copied))
    assert json.loads((tmp_path / "copied" / "result.json").read_text())["steps"] == 2

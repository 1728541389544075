"""The whole way of `--task=hoi4d` on a small archive in the public layout."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from experiments import adapt, configs, hoi4d_submission
from pointata_jax.errors import InputError
from pointata_jax.stages.config import AlignSettings, ModelSettings

ROWS = {"train1.h5": 60, "train2.h5": 60, "train3.h5": 60, "train4.h5": 40, "test_wolabel.h5": 3}


def write_archive(folder, frames=6, points=24):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name, rows in ROWS.items():
        with h5py.File(folder / name, "w") as file:
            file["pcd"] = rng.normal(size=(rows, frames, points, 3)).astype(np.float32)
            file["center"] = rng.normal(size=(rows, frames, 3)).astype(np.float32)
            if "wolabel" not in name:
                file["label"] = rng.integers(0, 19, (rows, frames))


def test_train_evaluate_and_submit(place, tmp_path, monkeypatch):
    write_archive(tmp_path / "data")
    config = configs.load("hoi4d")
    small = dataclasses.replace(
        config,
        clip=dataclasses.replace(config.clip, frames=6, points=16),
        model=ModelSettings(num_centers=4, neighbors=4, radius=0.4, bottleneck=8, sce_neighbors=3),
        align=AlignSettings(steps=2, batch_size=8, units=24, report_every=2, report_clips=8),
        adapt=dataclasses.replace(config.adapt, steps=2, eval_every=2),
    )
    monkeypatch.setattr(configs, "load", lambda task, protocol=None: small)
    where = {"data_dir": str(tmp_path / "data"), "cache_dir": place["cache_dir"]}
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match="150, 2048, 3"):
        adapt.main(adapt.Args(task="hoi4d", workdir=run, backbone=place["backbone"], **where))
    adapt.main(
        adapt.Args(task="hoi4d", workdir=run, backbone=place["backbone"], partial=True, **where)
    )
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    # The fixed hold-out: of 220 sequences, blocks 1, 5 (and 3 for validation) of every 8 blocks.
    parts = result["num_train_videos"], result["validation"]["num_videos"]
    assert sum(parts) + result["test"]["num_videos"] == 220
    assert min(parts) > 0
    assert result["test"]["official"]["acc"] >= 0
    output = tmp_path / "pred.npy"
    hoi4d_submission.main(hoi4d_submission.Args(run=run, output=str(output), **where))
    predictions = np.load(output)
    assert predictions.shape == (3, 6)
    assert predictions.dtype == np.int64
    assert predictions.min() >= 0
    assert predictions.max() < 19

"""Grids: what is in them, one table from many runs, and that a killed grid goes on."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from experiments import cells, compare, comparison, grids
from pointata_jax.errors import InputError
from pointata_jax.training.run_folder import RunFolder

SMALL = (
    "--variant=tiny --frames=8 --points=48 --steps=6 --batch_size=16 --eval_every=3 "
    "--set=model.num_centers=4 --set=model.neighbors=4 --set=model.radius=0.4 "
    "--set=model.sce_neighbors=3 --set=clip.stride=8 --set=clip.eval_stride=8 "
    "--set=align.steps=4 --set=align.report_every=2 --set=align.report_clips=32"
).split()


def test_rows_of_the_grids():
    tunings = grids.rows_of("tunings", [], [], [])
    assert [row.arm for row in tunings] == list(grids.ARMS)
    assert tunings[-1].flags == ("--model=p4transformer",)
    labels = grids.rows_of("labels", ["pointata", "scratch"], ["3", "10%", "100%"], [])
    assert [row.flags[-1] for row in labels[:3]] == [
        "--videos_per_class=3",
        "--label_fraction=0.1",
        "--tuning=pointata",
    ]
    assert len({row.name for row in labels}) == 6
    alignment = grids.rows_of("alignment", [], [], ["a.npz"])
    assert sum("objective" in row.name for row in alignment) == 6  # Seven with the default.
    assert alignment[-1].flags[-1] == "--source_bank=a.npz"
    adapters = [row.name for row in grids.rows_of("adapters", [], [], [])]
    assert {"pva-off", "pva-index", "pva-frame", "sce-off", "rank-128"} <= set(adapters)
    for grid, arms, budgets in (
        ("tuning", [], []),
        ("tunings", ["adapters"], []),
        ("labels", [], ["10 %%"]),
        ("labels", [], ["0.5"]),
    ):
        with pytest.raises(InputError, match="choose|budget"):
            grids.rows_of(grid, arms, budgets, [])


def test_flags_reach_every_run():
    args = compare.Args(task="radhar", data_dir="D", points=64, validation=False, partial=True)
    args = dataclasses.replace(args, set="model.radius=0.1\nadapt.steps=3")
    assert cells.passed_flags(args) == [
        "--task=radhar",
        "--data_dir=D",
        "--partial",
        "--points=64",
        "--set=model.radius=0.1",
        "--set=adapt.steps=3",
        "--novalidation",
    ]


def _finish(folder, accuracy, **more):
    """A run folder with a result."""
    run = RunFolder.create(folder, task="t", settings={})
    test = {"video_accuracy": accuracy, "window_accuracy": accuracy - 5, "num_videos": 40}
    result = {"test": test, "num_train_videos": 9, "train_accuracy": 99.0, "learning_rate": 1e-3}
    result |= {"parameters": {"trainable": 1000, "total": 5000}, "peak_memory_mb": 900.0}
    run.write_result({**result, "seconds_per_step": 0.25, **more}, seed=0)


def test_a_table_is_the_mean_over_the_finished_runs(tmp_path):
    rows = grids.rows_of("tunings", ["pointata", "full", "probe"], [], [])
    for seed, accuracy in enumerate((80.0, 90.0)):
        _finish(tmp_path / f"pointata-s{seed}", accuracy)
    _finish(tmp_path / "full-s0", 70.0, step_temporary_bytes=2e6)
    table = comparison.collect(tmp_path, rows, 2)
    assert [entry["row"] for entry in table] == ["pointata", "full"]  # Nothing of the probe.
    first = table[0]
    assert (first["video_accuracy"], first["n"], first["test_videos"]) == (85.0, 2, 40)
    assert first["video_accuracy_std"] == pytest.approx(50**0.5)
    assert first["gap"] == pytest.approx(99 - 80)
    comparison.write(tmp_path, "tunings", table, "heading")
    text = (tmp_path / "tunings.md").read_text()
    assert "| pointata | 2 | 9 | 40 | 85.0 ± 7.1 | 80.0 ± 7.1 |" in text
    with open(tmp_path / "tunings.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert float(written[1]["temporary_mb"]) == 2.0
    pytest.importorskip("matplotlib")
    assert {path.name for path in comparison.draw(tmp_path, "tunings", table)} == {
        "tunings-parameters.png",
        "tunings-gaps.png",
    }


def test_cells_of_other_flags_are_not_taken_over(tmp_path):
    (tmp_path / "pointata-s0").mkdir()
    (tmp_path / "cells.json").write_text(json.dumps({"pointata-s0": ["--steps=3"]}))
    with pytest.raises(InputError, match="--steps=3, not --steps=4.*another --workdir"):
        cells.train(tmp_path, "pointata-s0", ["--steps=4", "--data_dir=elsewhere"])


def test_a_failed_cell_is_named_and_the_others_are_trained(tmp_path):
    problem = cells.train(tmp_path, "a", ["--task=nothing"])
    assert problem.startswith("exit status 2: error: ")
    assert "nothing" in problem


@pytest.mark.slow
def test_the_embedded_task_is_compared_in_minutes(tmp_path):
    # Ten minutes on two cores: two tunings with two seeds each, at the task's own size.
    started = time.monotonic()
    flags = ["--arms=pointata,adapter", "--seeds=2", f"--workdir={tmp_path / 'grid'}"]
    flags.append(f"--cache_dir={tmp_path / 'cache'}")
    assert subprocess.run([sys.executable, "-m", "experiments.compare", *flags]).returncode == 0
    with open(tmp_path / "grid" / "tunings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["n"], row["test_videos"]) for row in rows] == [
        ("pointata", "2", "144"),
        ("adapter", "2", "144"),
    ]
    assert min(float(row["video_accuracy"]) for row in rows) > 90
    assert time.monotonic() - started < 15 * 60


@pytest.mark.slow
def test_a_killed_grid_ends_with_the_table_of_one_that_was_not(place, tmp_path):
    arms = "--arms=pointata,side,p4transformer"
    baseline = [
        "--set=baseline.width=16",
        "--set=baseline.mlp_width=16",
        "--set=baseline.neighbors=4",
    ]

    def command(workdir):
        flags = [f"--{name}={value}" for name, value in place.items()]
        flags += [*SMALL, *baseline, arms, "--seeds=1", f"--workdir={workdir}"]
        return [sys.executable, "-m", "experiments.compare", *flags]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert subprocess.run(command(whole)).returncode == 0
    process = subprocess.Popen(command(killed), start_new_session=True)
    while not (killed / "side-s0" / "config.json").is_file():
        time.sleep(0.2)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = (killed / "pointata-s0" / "result.json").stat().st_mtime_ns
    assert subprocess.run(command(killed)).returncode == 0
    assert (killed / "pointata-s0" / "result.json").stat().st_mtime_ns == before

    def scores(workdir):
        with open(workdir / "tunings.csv", newline="") as file:
            return [
                {k: v for k, v in row.items() if not k.startswith(("seconds", "memory"))}
                for row in csv.DictReader(file)
            ]

    assert len(scores(whole)) == 3
    assert scores(whole) == scores(killed)
    robust = [*command(whole), "--grid=robustness"]
    assert subprocess.run(robust).returncode == 0
    with open(whole / "robustness.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["none"] for row in rows] == [row["video_accuracy"] for row in scores(whole)]
    assert {"points_eighth", "frames_dropped", "noise", "camera_turned"} <= rows[0].keys()

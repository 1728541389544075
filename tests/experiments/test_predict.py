"""Recordings in, lines, tables, labeled clouds and a page out."""

from __future__ import annotations

import csv
import json
import types
from pathlib import Path

import numpy as np
import pytest

from experiments import predict, predictions
from experiments.predictions import Prediction
from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.recordings import open_recording
from pointata_jax.data.sensor_files import read_frame
from pointata_jax.errors import InputError
from pointata_jax.serving.predictor import Predictor
from pointata_jax.stages.config import TaskConfig

CLASSES = ("left", "right")


def predictor(kind, columns=("x", "y", "z"), channels=()):
    """A model that calls points with negative x left."""

    def forward(_, clips):
        values = np.stack([-clips[..., 0], clips[..., 0]], axis=-1) * 9
        return {"point": values, "frame": values.mean(2), "clip": values.mean((1, 2))}[kind]

    # "max" and "mean" of a cloud that lies symmetrically but for few points.
    clip = ClipConfig(frames=4, points=16, stride=2, eval_stride=2, channels=channels)
    task = TaskConfig(task="toy", dataset="toy", kind=kind, clip=clip)
    model = types.SimpleNamespace(kind=kind)
    return Predictor(Path("."), task, model, {}, CLASSES, columns, forward)


def write_recording(folder, frames=9, sign=1.0):
    """Most points lie to the right (left for sign -1) of the median, and a few far left."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(frames):
        cloud = rng.normal(size=(50, 3)).astype(np.float32)
        cloud[:, 0] = sign * np.abs(cloud[:, 0])
        np.save(folder / f"{number}.npy", cloud)


@pytest.fixture
def run(monkeypatch):
    """`run(kind, *flags)` predicts with a model that needs no training."""

    def start(kind, inputs, **flags):
        monkeypatch.setattr("pointata_jax.serving.predictor.load_run", lambda _: predictor(kind))
        predict.main(predict.Args(run="run", **flags), *map(str, inputs))

    return start


def test_a_bad_recording_does_not_stop_the_others(run, tmp_path, capsys):
    for name, sign in (("b", 1), ("d", -1)):
        write_recording(tmp_path / "all" / name, sign=sign)
    (tmp_path / "all" / "a").mkdir()
    (tmp_path / "all" / "a" / "0.npy").write_bytes(b"junk")
    write_recording(tmp_path / "all" / "c", frames=2)
    page, table = tmp_path / "look.html", tmp_path / "out.csv"
    with pytest.raises(SystemExit) as stopped:
        run("clip", [tmp_path / "all"], output=str(table), html=str(page))
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert [line.split(": ")[1].split(",")[0] for line in said.out.splitlines()] == [
        "right",
        "left",
    ]
    assert "2 of 4 recordings could not be predicted" in said.err
    with open(table, newline="") as file:
        rows = {Path(row["recording"]).name: row for row in csv.DictReader(file)}
    assert rows["b"]["label"] == rows["d"]["runner_up"] == "right"
    assert float(rows["b"]["probability"]) > 0.5
    assert "0.npy" in rows["a"]["error"]
    assert "window of this task 4" in rows["c"]["error"]
    assert page.read_text().count("<figcaption") == 2


def test_timelines_are_written_as_segments(run, tmp_path, capsys):
    write_recording(tmp_path / "one")
    run("frame", [tmp_path / "one"], output=str(tmp_path / "out.json"))
    (content,) = json.loads((tmp_path / "out.json").read_text())
    assert len(content["frame_labels"]) == 9
    assert "0-" in capsys.readouterr().out
    result = {"frame_labels": ["left"] * 3 + ["right"] * 2 + ["left"]}
    timeline = Prediction(Path("one"), "frame", result, [float(t) for t in range(6)])
    assert predictions.line(timeline, CLASSES) == "one: 0-2 left, 3-4 right, 5-5 left"
    predictions.write(tmp_path / "out.csv", [timeline], CLASSES)
    with open(tmp_path / "out.csv", newline="") as file:
        assert list(csv.DictReader(file))[1] == {
            "recording": "one",
            "first_frame": "3",
            "last_frame": "4",
            "label": "right",
            "first_time": "3.0",
            "last_time": "4.0",
        }


def test_labeled_clouds_come_back_as_files_with_a_class(run, tmp_path):
    write_recording(tmp_path / "one", frames=11)
    run("point", [tmp_path / "one"], clouds=str(tmp_path / "out"), output=str(tmp_path / "o.json"))
    (content,) = json.loads((tmp_path / "o.json").read_text())
    assert sum(content["points"].values()) == 11 * 50
    files = sorted((tmp_path / "out" / "one").iterdir())
    assert [file.name for file in files] == [f"{i:02}.ply" for i in range(11)]
    labels = predictor("point").predict(open_recording(tmp_path / "one").frames)["point_labels"]
    for index, file in enumerate(files):
        frame = read_frame(file)
        assert frame.columns == ("x", "y", "z", "class")
        np.testing.assert_array_equal(frame.values[:, :3], np.load(tmp_path / f"one/{index}.npy"))
        np.testing.assert_array_equal(frame.values[:, 3], labels[index])


def test_columns_are_found_by_name(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(24.0).reshape(2, 3, 4))
    recording = open_recording(tmp_path / "a.npy", columns=("x", "y", "z", "speed"))
    model = predictor("clip", ("x", "y", "z", "power", "speed"), ("speed",))
    (first, _) = model.frames_of(recording)
    np.testing.assert_array_equal(first, [[0, 1, 2, 0, 3], [4, 5, 6, 0, 7], [8, 9, 10, 0, 11]])
    with pytest.raises(InputError, match="lacks power, which this run reads"):
        next(predictor("clip", model.columns, ("power",)).frames_of(recording))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"run": ""}, "no run given"),
        ({"output": "a.xlsx"}, "must end in .json or .csv"),
        ({"clouds": "here"}, "one per clip"),
    ],
)
def test_flags_that_make_no_sense(monkeypatch, tmp_path, flags, words):
    monkeypatch.setattr("pointata_jax.serving.predictor.load_run", lambda _: predictor("clip"))
    with pytest.raises(InputError, match=words):
        predict.main(predict.Args(**{"run": "run", **flags}), str(tmp_path))
    with pytest.raises(InputError, match="no recording given"):
        predict.main(predict.Args(run="run"))

"""Own videos from the folder to the figure: what every command does with them, and what it says."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import pointata_jax
from experiments import adapt, align, configs, evaluate, runs
from pointata_jax.alignment.source_bank import load_source_bank, save_source_bank
from pointata_jax.errors import InputError
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings
from pointata_jax.stages.task_data import DataPlace, load_training, look_ahead

KINDS = {"clip": "label", "frame": "frame_labels", "point": "point_labels"}


@pytest.fixture(autouse=True, scope="module")
def small_tasks():
    load = configs.load

    def small(task, protocol=None):
        config = load(task, protocol)
        return dataclasses.replace(
            config,
            clip=dataclasses.replace(config.clip, frames=4, stride=3, eval_stride=3, points=24),
            model=ModelSettings(
                anchor_stride=2,
                num_centers=4,
                neighbors=3,
                radius=0.5,
                bottleneck=4,
                sce_neighbors=3,
                head_hidden=8,
            ),
            align=AlignSettings(
                steps=2, batch_size=8, report_every=1, report_clips=8, units=8, report_units=8
            ),
            adapt=AdaptSettings(steps=2, batch_size=8, eval_every=1),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configs, "load", small)
        yield


def write_videos(
    folder,
    splits=(("train", 8), ("test", 4)),
    *,
    kind="clip",
    classes=("a", "b"),
    columns=("x", "y", "z"),
    frames=7,
    subjects=0,
    seed=0,
):
    """Videos of classes that differ in height; labels 0, 1, 0, 1 …"""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    description = {"kind": kind, "columns": list(columns), "classes": list(classes)}
    (folder / "dataset.json").write_text(json.dumps(description))
    for split, count in splits:
        (folder / split).mkdir()
        for index in range(count):
            sizes = rng.integers(10, 30, frames)
            points = rng.normal(size=(sizes.sum(), len(columns))) * [
                1,
                1 + index % 2,
                *[1] * (len(columns) - 2),
            ]
            labels = {
                "clip": index % 2,
                "frame": np.arange(frames) // 3 % 2,
                "point": (points[:, 1] > 0).astype(int),
            }[kind]
            video = {"points": points, "frame_sizes": sizes, KINDS[kind]: labels}
            if subjects:
                video["subject"] = f"person{index % subjects}"
            np.savez(folder / split / f"{split}{index}.npz", **video)
    return folder


def read(*parts):
    with open(os.path.join(*parts)) as file:
        return json.load(file)


def run(place, data, workdir, task="point_videos_clips", **options):
    options = {"tuning": "adapter", "data_dir": str(data), "workdir": str(workdir)} | options
    adapt.main(adapt.Args(task=task, **place, **options))
    return read(workdir, "result.json")


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    """A folder of clips, and a run on it."""
    folder = tmp_path_factory.mktemp("finished")
    data = write_videos(folder / "data")
    run(place, data, folder / "run", steps=1)
    return data, folder / "run"


@pytest.fixture
def copied(finished, tmp_path):
    """Copies of the two, to be changed."""
    for source, name in zip(finished, ("data", "run"), strict=True):
        shutil.copytree(source, tmp_path / name)
    return tmp_path / "data", tmp_path / "run"


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
def test_predictions_are_those_of_the_test_figure(kind, place, tmp_path):
    data = write_videos(tmp_path / "data", kind=kind)
    result = run(place, data, tmp_path / "run", task=f"point_videos_{kind}s")
    predictor = pointata_jax.load_run(tmp_path / "run")
    right = []
    for path in sorted((data / "test").iterdir()):
        with np.load(path) as video:
            frames = np.split(video["points"], np.cumsum(video["frame_sizes"])[:-1])
            answer = predictor.predict(frames)
            truth = video[KINDS[kind]]
        if kind == "clip":
            right.append(answer["label"] == "ab"[int(truth)])
        elif kind == "frame":
            right += [
                said == "ab"[t] for said, t in zip(answer["frame_labels"], truth, strict=True)
            ]
        else:
            assert [len(labels) for labels in answer["point_labels"]] == [len(f) for f in frames]
    if kind == "clip":
        assert result["test"]["video_accuracy"] == 100 * np.mean(right)
    elif kind == "frame":
        assert result["test"]["num_frames"] == 4 * 7  # every frame of every test video
        assert result["test"]["frame_accuracy"] == pytest.approx(100 * np.mean(right), abs=0.01)


def test_without_a_test_split_there_is_a_result_without_a_test_figure(place, tmp_path, capsys):
    data = write_videos(tmp_path / "data", [("train", 8)])
    result = run(place, data, tmp_path / "run")
    assert "test" not in result
    assert result["validation"]["num_videos"] == 2
    assert "has no test split" in capsys.readouterr().err
    with pytest.raises(InputError, match="no split 'test'; its splits are train"):
        evaluate.main(evaluate.Args(str(tmp_path / "run"), str(data), place["cache_dir"]))


def test_the_own_validation_split_is_used_and_said(place, tmp_path, capsys):
    data = write_videos(tmp_path / "data", [("train", 6), ("validation", 4), ("test", 2)])
    result = run(place, data, tmp_path / "run")
    assert (result["num_train_videos"], result["validation"]["num_videos"]) == (6, 4)
    said = capsys.readouterr().err
    assert "training: 6 videos, 12 windows; validation: 4 videos, 8 windows; test: 2 videos" in said
    assert "(validation: the split validation of the data)" in said
    # 4 videos are steps of 25 points.
    assert result["chosen_by"] == "window_accuracy"
    assert "window accuracy decides" in said
    evaluate.main(
        evaluate.Args(str(tmp_path / "run"), str(data), place["cache_dir"], split="validation")
    )
    assert read(tmp_path / "run", "evaluation-validation-ordered.json")["num_videos"] == 4


@pytest.mark.parametrize(
    ("hold_out", "held", "said"),
    [
        (None, None, "all videos of the subjects person"),
        ("person2", {"person2"}, "all videos of the subjects person2"),
        ("person0, person3", {"person0", "person3"}, "subjects person0, person3"),
        ("recordings", None, "15% of the recordings of each class"),
    ],
)
def test_people_are_held_out_where_they_are_named(hold_out, held, said, place, tmp_path):
    data = write_videos(tmp_path / "data", [("train", 12)], subjects=4)
    args = adapt.Args(task="point_videos_clips", hold_out=hold_out)
    config = runs.task_config(args, stage="adapt")
    parts = load_training(config, DataPlace(str(data), place["cache_dir"]))
    assert said in parts.held_out
    assert said in look_ahead(config, parts)[0]
    trained, held_out = set(parts.train.subjects), set(parts.validation.subjects)
    assert trained.isdisjoint(held_out) == (hold_out != "recordings")
    assert held in (None, held_out)


def test_own_columns_become_channels(place, tmp_path):
    data = write_videos(tmp_path / "data", columns=("x", "y", "z", "intensity", "ring"))
    run(place, data, tmp_path / "run", channels="ring,intensity")
    predictor = pointata_jax.load_run(tmp_path / "run")
    assert predictor.task.clip.channels == ("ring", "intensity")
    assert len(predictor.task.clip.channel_mean) == predictor.model.channels == 2
    frames = np.random.default_rng(0).normal(size=(7, 15, 5))
    by_position = predictor.predict(frames)
    fields = [(name, "f8") for name in ("ring", "z", "x", "y", "intensity")]
    named = [np.zeros(15, fields) for _ in frames]
    for array, frame in zip(named, frames, strict=True):
        for column, name in enumerate(predictor.columns):
            array[name] = frame[:, column]
    assert predictor.predict(named) == by_position
    with pytest.raises(InputError, match="no extra channel 'color'.*'intensity', 'ring'"):
        run(place, data, tmp_path / "other", channels="color")
    with pytest.raises(InputError, match="contain a name twice"):
        run(place, data, tmp_path / "other", channels="ring,ring")


def test_classes_of_other_data_are_matched_by_name(place, copied, tmp_path, capsys):
    data, workdir = copied
    expected = read(workdir, "result.json")["test"]

    def evaluated(folder):
        evaluate.main(evaluate.Args(str(workdir), str(folder), place["cache_dir"]))
        return read(workdir, "evaluation-test-ordered.json")

    (data / "dataset.json").write_text(json.dumps({"kind": "clip", "classes": ["b", "a"]}))
    for path in sorted(data.glob("*/*.npz")):
        with np.load(path) as video:
            content = dict(video)
        np.savez(path, **content | {"label": 1 - content["label"]})
    found = evaluated(data)
    assert found["per_class"] == expected["per_class"]
    assert found["video_accuracy"] == expected["video_accuracy"]
    more = write_videos(tmp_path / "more", classes=("a", "b", "c"))
    with pytest.raises(InputError, match="1 classes that are not known here, 'c'"):
        evaluated(more)
    assert "scores are too high" not in capsys.readouterr().err
    # A test split of training videos is a test of nothing.
    (data / "test").rename(data / "aside")
    (data / "train").rename(data / "test")
    (data / "aside").rename(data / "train")
    assert evaluated(data)["num_videos_trained_on"] == 8
    assert "8 of the 8 videos" in capsys.readouterr().err


def test_a_run_knows_its_videos(place, copied):
    data, workdir = copied
    videos = read(workdir, "videos.json")
    assert {split: len(known) for split, known in videos.items()} == {
        "train": 6,
        "validation": 2,
        "test": 4,
    }
    with np.load(data / "train" / "train3.npz") as file:
        content = dict(file)
    content["points"][0] += 0.5
    np.savez(data / "train" / "train3.npz", **content)
    with pytest.raises(InputError, match=r"other videos: 1 with other points \('train/train3'\)"):
        run(place, data, workdir, steps=1, resume=True)
    with pytest.raises(InputError, match="other videos"):
        evaluate.main(
            evaluate.Args(str(workdir), str(data), place["cache_dir"], split="validation")
        )


def test_stage_1_of_anything_else_is_not_taken_over(place, finished, tmp_path):
    data = finished[0]
    workdir = str(tmp_path / "run")
    task = {"task": "point_videos_clips", "data_dir": str(data), "workdir": workdir, **place}
    bank = load_source_bank(Path(place["backbone"]).with_name("source_bank.npz"), width=24)
    other_bank = tmp_path / "other_bank.npz"
    save_source_bank(other_bank, dataclasses.replace(bank, features=bank.features + 1))
    align.main(align.Args(**task))
    for flags, words in [
        ({"seed": 3}, "run with seed 0 instead of 3"),
        ({"points": 16}, "run with points 24 instead of 16"),
        ({"frames": 6}, "run with frames 4 instead of 6"),
        ({"data_dir": str(write_videos(tmp_path / "other", seed=1))}, "trained on other videos"),
        ({"source_bank": str(other_bank)}, "run with another source bank"),
    ]:
        with pytest.raises(InputError, match=words):
            adapt.main(adapt.Args(**task | flags))
        # What was refused left no trace of a run that it could be taken for.
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
    adapt.main(adapt.Args(**task))
    assert read(workdir, "result.json")["stage_1"] is True


def test_own_data_sets_have_run_folders_of_their_own(tmp_path):
    clips, radhar = configs.load("point_videos_clips"), configs.load("radhar")
    assert runs.default_workdir(clips, "/data/waves/") == "runs/point_videos_clips-waves"
    assert (
        runs.default_workdir(clips, "/data/waves", "full") == "runs/point_videos_clips-waves-full"
    )
    assert runs.default_workdir(radhar, "/data/radhar", "full") == "runs/radhar-full"
    assert runs.default_workdir(configs.load("synthetic_parts"), None) == "runs/synthetic_parts"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"frames": 0}, "frames must be at least 1, it is 0"),
        ({"points": 0}, "points must be at least 1, it is 0"),
        ({"merge": 0}, "frame_merge must be at least 1, it is 0"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "[Bb]atch"),
        ({"learning_rate": 0.0}, "learning_rate|learning rate"),
        ({"protocol": ""}, "protocol ''"),
        ({"hold_out": ""}, "--hold_out names nobody"),
        ({"hold_out": "nobody"}, "no subject nobody"),
        ({"hold_out": "subjects"}, "names 0 subjects"),
        ({"channels": "velocity"}, "no extra channel 'velocity'"),
    ],
)
def test_a_flag_of_nothing_is_not_a_flag_left_out(flags, message, place, finished, tmp_path):
    data = finished[0]
    with pytest.raises(InputError, match=message):
        run(place, data, tmp_path / "run", **flags)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_the_right_task_is_named_for_labels_of_another_kind(place, tmp_path):
    data = write_videos(tmp_path / "data", kind="frame")
    with pytest.raises(InputError, match="label for each frame.*is point_videos_frames"):
        run(place, data, tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folders_that_cannot_be_written_to(place, tmp_path):
    data = write_videos(tmp_path / "data")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(InputError, match="closed"):
        run(place, data, closed / "run")
    with pytest.raises(InputError, match="closed"):
        run(place | {"cache_dir": str(closed / "cache")}, data, tmp_path / "run")


def test_a_file_in_the_way_of_a_folder(place, finished, tmp_path):
    data = finished[0]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        run(place, data, tmp_path / "file" / "run")
    with pytest.raises(InputError, match="file"):
        run(place | {"cache_dir": str(tmp_path / "file" / "cache")}, data, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()

"""From a tree of frame files to a data set, and what it suggests."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from experiments import import_videos, runs
from experiments.command_line import TaskFlags
from pointata_jax.datasets.point_videos import importing, suggestions
from pointata_jax.errors import InputError
from pointata_jax.stages.config import TaskConfig
from pointata_jax.stages.task_data import DataPlace, load_split


def write_recording(folder, frames=9, points=90, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    clouds = [rng.normal(size=(points, 3)).astype(np.float32) for _ in range(frames)]
    for number, cloud in enumerate(clouds):
        np.save(folder / f"frame_{number}.npy", cloud)
    return clouds


def test_a_tree_becomes_a_data_set_that_adapt_reads(tmp_path, capsys):
    source, target = tmp_path / "in", tmp_path / "out"
    written = {}
    for c, label in enumerate(("wave", "jump")):
        for who in range(4):
            for take in range(2):
                name = f"{label}/p{who}/take{take}"
                frames = 12 if name == "wave/p0/take1" else 9
                written[name] = write_recording(source / name, frames, seed=8 * c + 2 * who + take)
    (source / "jump" / "p9" / "take0").mkdir(parents=True)
    (source / "jump" / "p9" / "take0" / "a.npy").write_bytes(b"junk")
    args = import_videos.Args(source=str(source), to=str(target))
    import_videos.main(args)
    said = capsys.readouterr()
    assert "jump                           8         2        9              90" in said.out
    assert "skipped" in said.err
    assert "a.npy" in said.err
    flags = TaskFlags(task="point_videos_clips", data_dir=str(target))
    flags = dataclasses.replace(flags, points=16)
    # Eight frames of 90 points, two of which are merged for 32 tokens; the flag has precedence.
    config = runs.task_config(flags, stage="adapt")
    assert isinstance(config, TaskConfig)
    assert (config.clip.frame_merge, config.clip.frames, config.clip.points) == (2, 4, 16)
    place = DataPlace(str(target), str(tmp_path / "cache"))
    parts = {name: load_split(config, place, name) for name in ("train", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 12, "test": 4}
    subjects = {name: {video.subject for video in part} for name, part in parts.items()}
    assert len(subjects["test"]) == 1
    assert not subjects["train"] & subjects["test"]
    for part in parts.values():
        for video in part:
            clouds = written[video.video_id]
            np.testing.assert_array_equal(video.points, np.concatenate(clouds))
            assert part.label_names[video.labels] == video.video_id.split("/")[0]
    with pytest.raises(InputError, match="not empty"):
        import_videos.main(args)


def test_a_table_names_parts_of_recordings(tmp_path):
    write_recording(tmp_path / "day1", 20)
    table = tmp_path / "videos.csv"
    table.write_text("path,label,start,end,split\nday1,sit,0,8,train\nday1,stand,8,,test\n")
    found = importing.from_table(table)
    assert [(v.name, v.label, v.start, v.end, v.split) for v in found] == [
        ("day1_0_8", "sit", 0, 8, "train"),
        ("day1_8_end", "stand", 8, None, "test"),
    ]
    import_videos.main(import_videos.Args(source=str(table), to=str(tmp_path / "out")))
    with np.load(tmp_path / "out" / "test" / "day1_8_end.npz") as file:
        assert (len(file["frame_sizes"]), str(file["label"])) == (12, "stand")
    for text, words in (
        ("path,lable\n", "lacks the column label"),
        ("path,label\na,\n", "line 2: path and label"),
        ("path,label,start,end\na,b,5,5\n", "are none"),
        ("path,label\na,b\na,b\n", "a second time"),
        ("path,label,split\na,b,tset\n", "split is 'tset'"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=words):
            importing.from_table(table)


def test_every_class_stays_in_training_and_no_subject_is_in_both_parts():
    sources = [
        importing.Source(None, f"{label}{who}{take}", label, f"p{who}")
        for label in "abc"
        for who in range(6)
        for take in range(1 + (label == "a"))
    ]
    for seed in range(20):
        parts, _ = importing.split_of(sources, 0.25, None, seed)
        by_part = {part: [s for s, p in zip(sources, parts, strict=True) if p == part]
                   for part in ("train", "test")}  # fmt: skip
        assert {s.label for s in by_part["train"]} == set("abc")
        assert not {s.subject for s in by_part["train"]} & {s.subject for s in by_part["test"]}
        assert 1 <= len(by_part["test"]) <= 8
    parts, _ = importing.split_of(sources[:13], 0.5, False, 0)
    assert parts.count("test") == 6
    lonely = [importing.Source(None, "x", "a"), importing.Source(None, "y", "b")]
    assert importing.split_of(lonely, 0.5, None, 0)[0] == ["train", "train"]


def test_the_radius_holds_two_shares_of_the_points_in_any_unit():
    rng = np.random.default_rng(0)
    video = np.concatenate([rng.uniform(-1, 1, (400, 3)) * (1, 1, 0.01) for _ in range(30)])
    sizes = np.full(30, 400)
    found = suggestions.suggest([(video, sizes)], "z")
    assert found["clip.frames"] == 24
    assert found["clip.points"] == 512
    assert suggestions.suggest([(video * 1000 + 7, sizes)], "z") == found
    # Some 360 different points (512 draws of 400) on a square of side 2/1.2/1.27: disks of 22 hold
    # an area of 22/360 of it.
    side = 2 / (1.2 * np.percentile(np.linalg.norm(video[:, :2], axis=1), 95))
    assert found["model.radius"] == pytest.approx(side * np.sqrt(22.5 / 360 / np.pi), rel=0.15)


def test_a_floor_tells_which_axis_points_up():
    rng = np.random.default_rng(1)
    room = rng.uniform(-1, 1, (900, 3)) * (3, 1, 2)
    assert suggestions.floor_axis(room) == ""
    floor = rng.uniform(-1, 1, (400, 3)) * (3, 0, 2) - (0, 1, 0)
    both = np.concatenate([room, floor])
    assert suggestions.floor_axis(both) == "y"
    assert suggestions.floor_axis(-both[:, [2, 0, 1]]) == "-z"


def test_a_suggestion_that_is_no_setting_is_a_sentence(tmp_path):
    (tmp_path / suggestions.FILE).write_text(json.dumps({"model.radios": 1}))
    flags = TaskFlags(task="point_videos_clips", data_dir=str(tmp_path))
    with pytest.raises(InputError, match="nearest setting is model.radius"):
        runs.task_config(flags, stage="adapt")

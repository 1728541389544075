"""What is said and checked before the first step."""

from __future__ import annotations

import dataclasses
import json
import types

import numpy as np
import pytest

from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.videos import VideoSource
from pointata_jax.errors import InputError
from pointata_jax.stages.config import ModelSettings, TaskConfig
from pointata_jax.stages.task_data import TaskData, balanced_weights, deciding_score, look_ahead

TASK = TaskConfig(
    task="toy",
    dataset="toy",
    clip=ClipConfig(frames=4, stride=2, eval_stride=4, points=32),
    model=ModelSettings(num_centers=8),
)


def source(videos=6, frames=8, points=20, classes=3, name="toy (train)"):
    rng = np.random.default_rng(len(name))
    records = [
        {
            "points": rng.normal(size=(frames * points, 3)).astype(np.float32),
            "frame_sizes": np.full(frames, points),
            "label": index % 2,
            "video_id": f"{name}{index}",
            "subject": f"{name}{index}",
        }
        for index in range(videos)
    ]
    names = ("walk", "run", "jump")[:classes]
    return VideoSource(records, columns=("x", "y", "z"), label_names=names, name=name)


def data(clip=TASK.clip, **options):
    return TaskData(source(**options), source(3, name="held"), clip, "15% of the recordings")


def test_sizes_and_classes_are_said_first():
    first, *rest = look_ahead(TASK, data(classes=3), source(5, name="test"))
    assert first == (
        "training: 6 videos, 18 windows; validation: 3 videos, 6 windows; test: 5 videos, "
        "10 windows (validation: 15% of the recordings). 2,000 steps of 8 clips pass 888.9 times "
        "over the 18 training windows; classes have 0 (jump) to 9 (walk) windows."
    )
    assert rest == ["no training video holds the classes jump: they cannot be learned."]
    assert len(look_ahead(TASK, data(classes=2))) == 1


def test_videos_without_a_window_are_counted_or_end_the_run_before_it_starts():
    short = VideoSource(
        [source(1, frames=3)._store._records[0], *source(2)._store._records],
        columns=("x", "y", "z"),
        label_names=("walk", "run"),
    )
    notes = look_ahead(TASK, TaskData(short, None, TASK.clip))
    assert "1 of the 3 training videos are shorter than a window of 4 frames" in notes[1]
    with pytest.raises(
        InputError, match=r"None of the 2 videos of test has the 4 frames.*--frames"
    ):
        look_ahead(TASK, data(classes=2), source(2, frames=3, name="test"))


def test_frames_far_sparser_than_a_clip_get_numbers_that_fit():
    clip = dataclasses.replace(TASK.clip, points=512)
    config = dataclasses.replace(TASK, clip=clip)
    (_, said) = look_ahead(config, data(clip, points=38, classes=2))
    assert "frames hold 38 points (median), and a clip takes 512" in said
    assert "drawn 13 times: --points=64 " in said
    assert "--merge" not in said
    (_, said) = look_ahead(config, data(clip, points=5, classes=2))
    assert "--points=8 " in said
    assert "--merge=7 " in said
    merged = dataclasses.replace(clip, frame_merge=2, frames=2, points=128)
    (_, said) = look_ahead(dataclasses.replace(TASK, clip=merged), data(merged, classes=2))
    assert "frames hold 40 points" in said
    assert "--points=64 " in said
    assert len(look_ahead(TASK, data(points=12, classes=2))) == 1


def test_columns_that_are_not_used_and_copies_of_training_videos_are_said():
    records = source()._store._records
    wide = [{**r, "points": np.repeat(r["points"], 2, axis=1)[:, :5]} for r in records]
    videos = VideoSource(
        wide, columns=("x", "y", "z", "ring", "intensity"), label_names=("walk", "run"), name="wide"
    )
    clip = dataclasses.replace(
        TASK.clip, channels=("ring",), channel_mean=(0.0,), channel_std=(1.0,)
    )
    said = look_ahead(TASK, TaskData(videos.select([0, 1, 2, 3]), videos.select([3, 4, 5]), clip))
    assert said[1:] == [
        "1 of the 3 validation videos hold the same points as training videos, so "
        "the scores are too high: remove the copies.",
        "the columns intensity are not used: --channels=ring,intensity uses them.",
    ]


def test_windows_decide_where_one_video_is_worth_too_much():
    score, said = deciding_score(TASK, data())
    assert score == "window_accuracy"
    assert said.startswith("one of 3 validation videos is worth 33.3 points")
    many = TaskData(source(), source(50, name="held"), TASK.clip)
    assert deciding_score(TASK, many) == ("video_accuracy", "")
    assert deciding_score(dataclasses.replace(TASK, score="f1@50"), data()) == ("f1@50", "")
    assert deciding_score(TASK, TaskData(source(), None, TASK.clip)) == ("video_accuracy", "")


@pytest.mark.parametrize(("kind", "last"), [("clip", "drop"), ("frame", "add"), ("point", "add")])
def test_runs_of_older_versions_keep_their_windows(kind, last):
    values = json.loads(json.dumps(dataclasses.replace(TASK, kind=kind).to_dict()))
    assert TaskConfig.from_dict(values).clip.last_window == "add"
    del values["clip"]["last_window"]
    assert TaskConfig.from_dict(values).clip.last_window == last


def test_balanced_weights_are_inverse_to_the_labels():
    class Videos(list):
        num_classes = 4

    labels = [np.array([0, 0, 0, -1]), np.array([0, 1, 0, 2]), np.int32(0)]
    weights = balanced_weights(Videos(types.SimpleNamespace(labels=part) for part in labels))
    # Six, one and one of eight labels: 8 / 3 / count.
    np.testing.assert_allclose(weights, [8 / 18, 8 / 3, 8 / 3, 1])

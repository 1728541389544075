"""The embedded data set: sizes, split, repeatability, and that it needs the order of frames."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from pointata_jax.datasets.synthetic_actions import synthetic_actions_dataset_builder as synthetic
from pointata_jax.errors import InputError
from pointata_jax.procedural import bodies, figures
from tests.datasets.archives import build_tiny, subjects_apart

STANDARD, TINY = synthetic.Builder.BUILDER_CONFIGS


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return build_tiny(synthetic.Builder, tmp_path_factory.mktemp("tfds"))


def test_builder_writes_the_schema_split_by_subject(builder):
    splits = subjects_apart(builder)
    for split, subjects in (("train", 12), ("test", 4)):
        labels = collections.Counter(int(video["label"]) for video in splits[split])
        assert labels == {label: subjects for label in range(len(figures.MOTIONS))}
        for video in splits[split]:
            assert video["points"].shape == (8 * 128, 3)
            assert video["points"].dtype == np.float32
            np.testing.assert_array_equal(video["frame_sizes"], np.full(8, 128))
    assert builder.info.features["label"].names == list(figures.MOTIONS)


def test_records_are_the_videos_of_the_generator(builder):
    video = next(v for v in builder.as_data_source("test") if v["video_id"] == b"kick_s13_e00")
    label = figures.MOTIONS.index("kick")
    made = synthetic.make_video(TINY, 13, label, 0)
    np.testing.assert_array_equal(video["points"], made["points"])
    assert (int(video["label"]), video["subject"]) == (label, b"13") == (made["label"], b"13")
    other = synthetic.make_video(TINY, 13, label, 1)
    assert not np.array_equal(made["points"], other["points"])


def test_standard_videos_have_the_documented_size():
    video = synthetic.make_video(STANDARD, 0, 0, 0)
    assert video["points"].shape == (24 * 1024, 3)
    assert STANDARD.repeats * bodies.NUM_SUBJECTS * len(figures.MOTIONS) == 576
    assert "576 videos" in str(STANDARD.description)


def test_motions_can_be_told_apart_only_with_the_order_of_frames(builder):
    """A kernel classifier on shape statistics, with the frames in order and with each sorted."""

    def load(split):
        videos = list(builder.as_data_source(split))
        clips = np.stack([video["points"].reshape(8, 128, 3) for video in videos])
        clips = clips - np.median(clips, axis=(1, 2), keepdims=True)
        levels = [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98]
        features = np.moveaxis(np.quantile(clips, levels, axis=2), 0, 2)
        return features.reshape(len(clips), 8, -1), np.array([int(v["label"]) for v in videos])

    def accuracy(order):
        (train, labels), (test, truth) = load("train"), load("test")
        train, test = (order(part).reshape(len(part), -1) for part in (train, test))
        mean, deviation = train.mean(0), train.std(0)
        train, test = (train - mean) / deviation, (test - mean) / deviation

        def kernel(a, b):
            return np.exp(-np.square(a[:, None] - b).mean(-1) / 2.0)

        targets = np.eye(len(figures.MOTIONS))[labels]
        weights = np.linalg.solve(kernel(train, train) + 0.05 * np.eye(len(train)), targets)
        return np.mean((kernel(test, train) @ weights).argmax(1) == truth)

    in_order = accuracy(lambda features: features)
    without_order = accuracy(lambda features: np.sort(features, axis=1))
    assert in_order > 0.7
    assert in_order - without_order > 0.12


def test_invalid_sizes_are_refused():
    with pytest.raises(InputError, match="num_points is 0; give at least 1"):
        synthetic.SyntheticActionsConfig(name="empty", num_points=0)

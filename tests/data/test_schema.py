"""The schema: validation of videos, and storage by tfds without changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.errors import InputError

COLUMNS = ("x", "y", "z", "velocity")
NAMES = ("wave", "clap")


def frames(sizes=(3, 1, 2), width=4):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(size, width)).astype(np.float32) for size in sizes]


def example(**changes):
    arguments: dict[str, Any] = dict(
        frames=frames(), video_id="v7", subject="s2", labels=1, num_classes=2
    )
    return schema.make_example(**(arguments | changes))


LABELS = {"clip": 1, "frame": [0, 1, 1], "point": [0, 0, 1, 1, 0, 1]}


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
def test_a_video_survives_serialization(kind):
    features = schema.video_features(COLUMNS, NAMES, kind)
    video = example(kind=kind, labels=LABELS[kind])
    back = features.deserialize_example_np(features.serialize_example(video))
    np.testing.assert_array_equal(back["points"], np.concatenate(frames()))
    assert back["points"].dtype == np.float32
    np.testing.assert_array_equal(back["frame_sizes"], [3, 1, 2])
    np.testing.assert_array_equal(back[schema.label_field(kind)], LABELS[kind])
    assert (back["video_id"], back["subject"]) == (b"v7", b"s2")


@pytest.mark.parametrize(("kind", "labels"), [("frame", [0, -1, 1]), ("point", [-1] * 5 + [1])])
def test_frames_and_points_may_be_ignored(kind, labels):
    features = schema.video_features(COLUMNS, NAMES, kind)
    video = example(kind=kind, labels=labels)
    back = features.deserialize_example_np(features.serialize_example(video))
    np.testing.assert_array_equal(back[schema.label_field(kind)], labels)
    with pytest.raises(InputError, match=r"label -2 is outside 0\.\.1, .* is not -1 \(ignored\)"):
        example(kind=kind, labels=[-2, *labels[1:]])


@pytest.mark.parametrize("kind", ["clip", "frame"])
def test_names_are_read_back_from_the_saved_features(kind, tmp_path):
    schema.video_features(COLUMNS, NAMES, kind).save_config(str(tmp_path))
    features: Any = tfds.features.FeaturesDict.from_config(str(tmp_path))
    assert schema.column_names(features) == COLUMNS
    assert schema.label_names(features) == NAMES


def test_flat_points_with_sizes_equal_a_list_of_frames():
    flat = example(frames=np.concatenate(frames()), frame_sizes=[3, 1, 2])
    for key, value in example().items():
        np.testing.assert_array_equal(flat[key], value)


def frames_with(value):
    bad = frames()
    bad[2][1, 2] = value
    return bad


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"frames": frames_with(np.nan)}, r"'v7', frame 2 holds NaN or infinite"),
        ({"frames": frames_with(np.inf)}, r"'v7', frame 2 holds NaN or infinite"),
        ({"frames": frames((3, 0, 2))}, r"'v7', frame 1 has no points"),
        ({"frames": []}, r"'v7' has no frames"),
        ({"frames": [*frames(), np.zeros((2, 3))]}, r"'v7', frame 3 has shape \(2, 3\)"),
        (
            {"frames": np.zeros((5, 4)), "frame_sizes": [3, 3]},
            r"'v7': the frame sizes add up to 6, but there are 5 points",
        ),
        ({"frames": np.zeros((2, 2)), "frame_sizes": [2]}, r"at least the columns x, y, z"),
        ({"labels": 2}, r"'v7': label 2 is outside 0\.\.1"),
        ({"labels": -1}, r"'v7': label -1 is outside 0\.\.1"),
        ({"labels": 0.5}, r"labels are float64, expected integers"),
        ({"labels": [0, 1], "kind": "frame"}, r"labels have shape \(2,\), expected \(3,\)"),
    ],
)
def test_invalid_videos(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        example(**changes)


@pytest.mark.parametrize(
    ("columns", "names", "kind", "sentence"),
    [
        (("x", "z", "y"), NAMES, "clip", "begin with x, y, z"),
        (("x", "y", "z", "x"), NAMES, "clip", "same column twice"),
        (COLUMNS, (), "clip", "at least one class name"),
        (COLUMNS, ("a,b",), "clip", "no commas"),
        (COLUMNS, NAMES, "video", "Unknown kind of label 'video'"),
    ],
)
def test_invalid_features(columns, names, kind, sentence):
    with pytest.raises(InputError, match=sentence):
        schema.video_features(columns, names, kind)

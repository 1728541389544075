"""Point labels of figures in rooms: what they mean, how often they occur, split by subject."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.datasets.synthetic_parts import synthetic_parts_dataset_builder as parts
from pointata_jax.errors import InputError
from pointata_jax.procedural import bodies, figures
from tests.datasets.archives import build_tiny, subjects_apart

STANDARD, TINY = parts.Builder.BUILDER_CONFIGS


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return build_tiny(parts.Builder, tmp_path_factory.mktemp("tfds"))


def test_builder_writes_the_schema_split_by_subject(builder):
    splits = subjects_apart(builder)
    assert {split: len(videos) for split, videos in splits.items()} == {"train": 144, "test": 48}
    for videos in splits.values():
        labels = np.concatenate([video["point_labels"] for video in videos])
        assert labels.shape == (len(videos) * 3 * 64,)
        assert (np.bincount(labels, minlength=8) > 0.005 * len(labels)).all(), "all labels occur"
        for video in videos:
            np.testing.assert_array_equal(video["frame_sizes"], [64, 64, 64])
    record = next(v for v in splits["test"] if v["video_id"] == b"kick_s13_e00")
    made = parts.make_clip(TINY, 13, "kick", 0)
    np.testing.assert_array_equal(record["points"], made["points"])
    np.testing.assert_array_equal(record["point_labels"], made["point_labels"])


def test_labels_are_where_their_names_say():
    clip = parts.make_clip(STANDARD, 2, "wave", 1)
    assert clip["points"].shape == (3 * 2048, 3)
    assert STANDARD.repeats * bodies.NUM_SUBJECTS * len(figures.MOTIONS) == 576
    height = {
        name: clip["points"][clip["point_labels"] == label, 1]
        for label, name in enumerate(parts.LABEL_NAMES)
    }
    assert all(len(values) for values in height.values())
    means = [height[name].mean() for name in ("head", "torso", "thigh", "lower leg", "floor")]
    assert means == sorted(means, reverse=True)
    assert np.ptp(height["floor"]) < 0.1, "flat but for the noise of the depth"
    assert 0.0 < height["lower leg"].min() - height["floor"].mean() + 0.05 < 0.3, "stands on it"
    assert len(height["forearm"]) > 60
    assert height["furniture"].min() > height["floor"].min() - 0.1


def test_invalid_sizes_are_refused():
    with pytest.raises(InputError, match="num_points is 0; give at least 1"):
        parts.SyntheticPartsConfig(name="empty", num_points=0)
    with pytest.raises(InputError, match="num_frames is 30; a performance has 24"):
        parts.SyntheticPartsConfig(name="long", num_frames=30)

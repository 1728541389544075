"""Sequences of motions: exact labels, smooth transitions, split by subject."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.datasets.synthetic_timelines import choreography
from pointata_jax.datasets.synthetic_timelines import (
    synthetic_timelines_dataset_builder as timelines,
)
from pointata_jax.errors import InputError
from pointata_jax.procedural import bodies, figures
from tests.datasets.archives import build_tiny, subjects_apart

STANDARD, TINY = timelines.Builder.BUILDER_CONFIGS
WHO = figures.subject(4)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return build_tiny(timelines.Builder, tmp_path_factory.mktemp("tfds"))


def test_builder_writes_the_schema_split_by_subject(builder):
    splits = subjects_apart(builder)
    assert {split: len(videos) for split, videos in splits.items()} == {"train": 12, "test": 4}
    for video in (*splits["train"], *splits["test"]):
        np.testing.assert_array_equal(video["frame_sizes"], np.full(60, 32))
        assert video["points"].shape == (60 * 32, 3)
        assert video["points"].dtype == np.float32
        assert video["frame_labels"].shape == (60,)
    record = next(v for v in splits["test"] if v["subject"] == b"13")
    made = timelines.make_video(TINY, 13, 0)
    np.testing.assert_array_equal(record["points"], made["points"])
    np.testing.assert_array_equal(record["frame_labels"], made["frame_labels"])


def test_the_documented_number_of_videos():
    assert (STANDARD.takes * bodies.NUM_SUBJECTS, STANDARD.num_frames) == (320, 150)
    assert "320 videos (240 train, 80 test)" in str(STANDARD.description)


def test_plans_fill_the_video_and_follow_one_way_motions_by_their_reversal():
    frames = np.zeros(len(choreography.LABEL_NAMES))
    for seed in range(200):
        segments = choreography.plan(150, np.random.default_rng(seed))
        labels = choreography.frame_labels(segments)
        assert len(labels) == 150
        assert min(s.num_frames for s in segments) >= choreography.SHORTEST
        frames += np.bincount(labels, minlength=len(frames))
        for before, after in zip(segments, segments[1:], strict=False):
            assert before.motion != after.motion
            if before.motion in ("sit_down", "raise_arm", "push"):
                assert figures.REVERSED[after.motion] == before.motion
                assert after.seed == before.seed
    assert frames.min() > 0.03 * frames.sum(), "no class is rare"


def test_transitions_are_smooth_and_labels_change_where_the_motion_does():
    segments = [
        figures.Segment("rest", 20, 1),
        figures.Segment("raise_arm", 20, 2),
        figures.Segment("lower_arm", 20, 2),
        figures.Segment("jumping_jack", 30, 3),
        figures.Segment("circle_backward", 30, 4),
        figures.Segment("sit_down", 20, 5),
    ]
    joints = figures.animate_sequence(segments, WHO, 7)
    assert joints.shape == (140, 26, 3)
    assert np.linalg.norm(np.diff(joints, axis=0), axis=-1).max() < 0.4, "no jump at a seam"
    # Both feet are on the floor outside the jumps.
    lowest = joints[..., 1].min(axis=1)
    still = np.r_[0:55, 100:140]
    assert np.ptp(lowest[still]) < 1e-4
    assert np.ptp(lowest) > 0.04
    index = {name: number for number, name in enumerate(figures.JOINTS)}
    hands = joints[:, [index["hand_left"], index["hand_right"]], 1].max(axis=1)
    hands = hands - joints[:, index["pelvis"], 1]
    assert hands[:18].max() < 0.2, "at rest"
    assert hands[40] > 0.7, "up at the seam"
    assert abs(int(hands[20:60].argmax()) - 20) <= 4, "highest at the seam"
    assert hands[58] < 0.2, "down again"
    pelvis = joints[:, index["pelvis"], 1]
    assert pelvis[115] - pelvis[-1] > 0.25


def test_a_motion_meets_its_reversal_in_the_same_pose():
    there = figures.animate_sequence(
        [figures.Segment("sit_down", 24, 9), figures.Segment("stand_up", 24, 9)], WHO, 0
    )
    pelvis = there[:, 0, 1]
    # Down and up follow the same curve, so the take is symmetric about the seam except for sway.
    np.testing.assert_allclose(pelvis, pelvis[::-1], atol=0.06)
    assert pelvis[0] - pelvis[24] > 0.25


def test_takes_repeat_by_seed_and_differ_by_take():
    first = timelines.make_video(TINY, 3, 0)
    np.testing.assert_array_equal(first["points"], timelines.make_video(TINY, 3, 0)["points"])
    other = timelines.make_video(TINY, 3, 1)
    assert not np.array_equal(first["frame_labels"], other["frame_labels"])


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [
        ([], "at least one segment"),
        ([figures.Segment("fly", 20, 0)], "Unknown motion 'fly'"),
        ([figures.Segment("wave", 5, 0)], "shorter than a transition"),
    ],
)
def test_invalid_sequences_are_refused(segments, sentence):
    with pytest.raises(InputError, match=sentence):
        figures.animate_sequence(segments, WHO, 0)


def test_invalid_sizes_are_refused():
    with pytest.raises(InputError, match="num_frames is 12; give at least 20"):
        timelines.SyntheticTimelinesConfig(name="short", num_frames=12)
    with pytest.raises(InputError, match="no room for two motions"):
        choreography.plan(12, np.random.default_rng(0))

"""The choice of held-out subjects."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pointata_jax.data.splits import (
    choose_subjects,
    few_videos,
    hold_out_subjects,
    named_subjects,
)
from pointata_jax.data.videos import VideoSource
from pointata_jax.errors import InputError


def source(subjects, labels, kind="clip"):
    """One small video for each entry; its frames carry the label if `kind` is "frame"."""
    field = {"clip": "label", "frame": "frame_labels"}[kind]
    records = [
        {
            "points": np.full((2, 3), index, np.float32),
            "frame_sizes": np.array([1, 1]),
            field: label if kind == "clip" else np.array([label, -1]),
            "video_id": f"v{index}",
            "subject": subject,
        }
        for index, (subject, label) in enumerate(zip(subjects, labels, strict=True))
    ]
    return VideoSource(records, columns=("x", "y", "z"), label_names=("a", "b", "c"))


def test_subjects_are_named_if_one_has_several_videos():
    assert named_subjects(source(["v0", "v1", "v2"], [0, 1, 2])) == ()
    assert named_subjects(source(["eve", "bob", "eve"], [0, 1, 2])) == ("bob", "eve")


@pytest.mark.parametrize("kind", ["clip", "frame"])
@pytest.mark.parametrize("fraction", [0.15, 0.5])
def test_chosen_subjects_leave_subjects_and_classes_to_train_on(kind, fraction):
    people = [f"p{i}" for i in range(8)]
    pairs = list(itertools.product(people, range(3)))
    videos = source([p for p, _ in pairs], [label for _, label in pairs], kind)
    for seed in range(10):
        chosen = choose_subjects(videos, fraction, seed=seed)
        train, held = hold_out_subjects(videos, chosen)
        assert set(train.subjects).isdisjoint(held.subjects)
        assert train.present_labels == (0, 1, 2)
        # Whole subjects: at least the share, and less than one subject more.
        assert fraction * len(videos) <= len(held) < fraction * len(videos) + 3
    order = np.random.default_rng(0).permutation(len(videos))
    assert choose_subjects(videos.select(order), fraction) == choose_subjects(videos, fraction)


def test_a_class_of_two_subjects_keeps_one_of_them_for_training():
    # Only eve and bob perform class 1, so at most one of them may be chosen.
    videos = source(["eve", "eve", "bob", "bob", "ada", "ada"], [0, 1, 0, 1, 0, 0])
    for seed in range(20):
        chosen = choose_subjects(videos, 0.9, seed=seed)
        assert len(chosen) >= 1
        assert not {"eve", "bob"} <= set(chosen)
        assert hold_out_subjects(videos, chosen)[0].present_labels == (0, 1)


def test_the_only_subject_of_a_class_is_not_held_out():
    videos = source(["eve", "eve", "bob", "bob", "ada", "ada"], [0, 0, 1, 1, 2, 0])
    assert {choose_subjects(videos, 0.2, seed=seed) for seed in range(9)} == {("eve",)}
    each_alone = source(["eve", "eve", "bob", "bob", "ada", "ada"], [0, 0, 1, 1, 2, 2])
    assert choose_subjects(each_alone, 0.2) == ()


def test_of_two_subjects_none_is_held_out():
    videos = source(["eve", "eve", "bob", "bob"], [0, 1, 0, 1])
    assert choose_subjects(videos, 0.3) == ()
    with pytest.raises(InputError, match="between 0 and 1"):
        choose_subjects(videos, 1.0)


def test_few_videos_are_balanced_seeded_nested_and_independent_of_order():
    labels = [0] * 10 + [1] * 6 + [2]
    videos = source(["eve"] * 17, labels)
    three = few_videos(videos, per_class=3, seed=4)
    assert np.bincount(three.labels).tolist() == [3, 3, 1]
    five = few_videos(videos, per_class=5, seed=4)
    assert set(three.video_ids) < set(five.video_ids)
    reverse = few_videos(videos.select(np.arange(17)[::-1]), per_class=3, seed=4)
    assert set(reverse.video_ids) == set(three.video_ids)
    assert set(few_videos(videos, per_class=3, seed=5).video_ids) != set(three.video_ids)
    half = few_videos(videos, fraction=0.5)
    assert np.bincount(half.labels).tolist() == [5, 3, 1]
    assert few_videos(videos) is videos


def test_few_videos_need_labels_and_one_number():
    videos = source(["eve", "bob"], [0, 1])
    for wrong in ({"per_class": -1}, {"fraction": 0.0}, {"per_class": 1, "fraction": 0.5}):
        with pytest.raises(InputError, match="give a positive number or a share"):
            few_videos(videos, **wrong)
    with pytest.raises(InputError, match="frames or points of .* carry the labels"):
        few_videos(source(["eve", "bob"], [0, 1], kind="frame"), per_class=1)

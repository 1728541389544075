"""Parts of a set of shapes."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes.collection import Shapes, join
from pointata_jax.shapes.subsets import balanced_subset, class_factors, related, stem

CLASSES = ("bed", "chair", "part_a", "part_b", "rare")


def shapes(count=60):
    labels = np.arange(count) % 4
    labels[:2] = 4
    points = np.arange(count, dtype=np.float32)[:, None, None] * np.ones((1, 5, 3), np.float32)
    names = tuple(f"{CLASSES[label]}/model_{index:02d}_a" for index, label in enumerate(labels))
    return Shapes(points, labels.astype(np.int32), CLASSES, names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gaia/palm_03_b", "gaia/palm"),
        ("gaia/Palm_11", "gaia/palm"),
        ("House-2", "house"),
        ("chair", "chair"),
        ("tall_a_f", "tall"),
        ("1234", "1234"),
        ("sofa", "sofa"),
    ],
)
def test_stems(name, expected):
    assert stem(name) == expected


def test_a_balanced_subset_has_the_same_number_of_each_class():
    chosen = balanced_subset(shapes(), 5, except_classes=["part_*"], seed=1)
    assert np.bincount(shapes().labels[chosen]).tolist() == [5, 5]
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(
        chosen, balanced_subset(shapes(), 5, except_classes=["part_*"], seed=1)
    )
    assert set(chosen) != set(balanced_subset(shapes(), 5, except_classes=["part_*"], seed=2))
    assert len(set(shapes().labels[balanced_subset(shapes(), 2)].tolist())) == 5


def test_bad_subsets_are_sentences():
    with pytest.raises(InputError, match="no class is named 'brick_\\*'"):
        balanced_subset(shapes(), 5, except_classes=["brick_*"])
    with pytest.raises(InputError, match="0 classes have 90 shapes or more"):
        balanced_subset(shapes(), 90)


def test_variants_of_chosen_shapes_are_related():
    some = Shapes(
        np.zeros((5, 2, 3), np.float32),
        np.zeros(5, np.int32),
        ("tree",),
        ("palm_1", "oak", "palm_2", "", ""),
    )
    assert related(some, np.array([0])).tolist() == [True, False, True, False, False]
    assert related(some, np.array([3])).tolist() == [False, False, False, True, False]


def test_joined_sets_share_classes_by_name():
    first = shapes(8)
    second = Shapes(
        np.ones((3, 5, 3), np.float32), np.array([1, -1, 0], np.int32), ("chair", "lamp")
    )
    both = join([first, second])
    assert both.class_names == (*CLASSES, "lamp")
    assert both.labels[8:].tolist() == [5, -1, 1]
    assert both.labels[:8].tolist() == first.labels.tolist()
    assert both.names[:8] == first.names
    assert both.names[8:] == ("", "", "")
    assert both.labeled().points.shape == (10, 5, 3)
    with pytest.raises(InputError, match="5, 6 points cannot be joined"):
        join([first, Shapes(np.ones((1, 6, 3), np.float32), np.zeros(1, np.int32), ("a",))])


def test_factors_of_classes_by_pattern():
    factors = class_factors(shapes(), {"part_*": 0.25, "part_b": 2.0})
    np.testing.assert_array_equal(factors, [1, 1, 0.25, 2, 1])
    with pytest.raises(InputError, match="no class is named 'sofa'"):
        class_factors(shapes(), {"sofa": 2.0})
    with pytest.raises(InputError, match="factor of 'bed' is 0"):
        class_factors(shapes(), {"bed": 0})

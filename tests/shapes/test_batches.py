"""Batches of shapes."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes.batches import ClassBatches, PairBatches


def test_batches_cover_every_epoch_and_resume():
    points = np.arange(10, dtype=np.float32)[:, None, None]
    batches = PairBatches(points, 4, seed=1)
    drawn = [next(batches)["points"].ravel().tolist() for _ in range(5)]
    flat = sum(drawn, [])
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]
    again = PairBatches(points, 4, seed=1)
    again.set_state({"next_index": 3})
    assert next(again)["points"].ravel().tolist() == drawn[3]
    with pytest.raises(InputError, match="batch of 11"):
        PairBatches(points, 11, seed=0)


def test_pairs_are_two_members_of_one_family():
    points = -np.ones((10, 1, 1), np.float32)
    families = np.arange(30, dtype=np.float32).reshape(6, 5, 1, 1)  # value // 5 is the family
    batches = PairBatches(points, 4, 0, families, num_pairs=6)
    seen = set()
    for _ in range(40):
        batch = next(batches)
        first, second = (batch[key].ravel() for key in ("points", "partners"))
        np.testing.assert_array_equal(first[:4], second[:4])
        np.testing.assert_array_equal(first[4:] // 5, second[4:] // 5)
        assert (first[4:] != second[4:]).all()
        assert sorted(first[4:] // 5) == list(range(6))  # all of different families
        seen |= set(zip(first[4:].tolist(), second[4:].tolist(), strict=True))
    assert len(seen) > 80  # of 120
    again = PairBatches(points, 4, 0, families, num_pairs=6)
    again.set_state({"next_index": 39})
    np.testing.assert_array_equal(next(again)["partners"], batch["partners"])
    with pytest.raises(InputError, match="7 pairs"):
        PairBatches(points, 4, 0, families, num_pairs=7)


def test_classes_are_drawn_by_the_power_of_their_counts_and_resume():
    labels = np.repeat([0, 1, 2, -1], [90, 10, 0 + 1, 20])
    points = np.arange(len(labels), dtype=np.float32)[:, None, None]
    for power in (0.0, 0.5, 1.0):
        batches = ClassBatches(points, labels, 100, seed=3, power=power)
        drawn = [next(batches) for _ in range(200)]
        found = np.concatenate([batch["label"] for batch in drawn])
        which = np.concatenate([batch["points"].ravel() for batch in drawn]).astype(int)
        np.testing.assert_array_equal(labels[which], found)
        expected = np.array([90.0, 10.0, 1.0]) ** power
        share = np.bincount(found, minlength=3) / len(found)
        np.testing.assert_allclose(share, expected / expected.sum(), atol=0.015)
        assert len(set(which[found == 0].tolist())) == 90
        again = ClassBatches(points, labels, 100, seed=3, power=power)
        again.set_state({"next_index": 150})
        np.testing.assert_array_equal(next(again)["points"], drawn[150]["points"])
    rarely = ClassBatches(points, labels, 1000, seed=3, power=0.0, factors=np.array([1, 0.25, 1]))
    share = np.bincount(next(rarely)["label"], minlength=3) / 1000
    np.testing.assert_allclose(share, np.array([4, 1, 4]) / 9, atol=0.04)
    with pytest.raises(InputError, match="1 classes cannot be told apart"):
        ClassBatches(points, np.zeros(len(labels), int), 4, seed=0)

"""Batches of kept tokens."""

import numpy as np
import pytest

from pointata_jax.stages.cached_features import FeatureBatches


def test_every_row_once_an_epoch_and_the_position_is_restored():
    rows = {"a": np.arange(10), "b": {"c": np.arange(10) * 2}}
    batches = FeatureBatches(rows, 3, seed=1)
    taken = [next(batches) for _ in range(7)]
    first = np.concatenate([batch["a"] for batch in taken[:3]])
    assert len(set(first.tolist())) == 9
    assert not np.array_equal(first[:3], taken[3]["a"])
    for batch in taken:
        np.testing.assert_array_equal(batch["b"]["c"], 2 * batch["a"])
    state = batches.get_state()
    expected = [next(batches)["a"] for _ in range(4)]
    again = FeatureBatches(rows, 3, seed=1)
    again.set_state(state)
    np.testing.assert_array_equal([next(again)["a"] for _ in range(4)], expected)


def test_fewer_rows_than_a_batch():
    with pytest.raises(ValueError, match="3 rows"):
        FeatureBatches({"a": np.arange(3)}, 4, seed=0)

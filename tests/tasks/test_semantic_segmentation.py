import numpy as np
import pytest

from pointata_jax.tasks.gathering import sum_over_hosts
from pointata_jax.tasks.semantic_segmentation import score


def test_points_are_counted_over_batches_without_ignored_ones_and_padding_rows():
    predicted = np.array([[[0, 1, 1]], [[0, 0, 0]]])  # [b, t, n]
    labels = np.array([[[0, 1, -1]], [[1, 0, 0]]])

    def batch(weight):
        return {"points": np.eye(2)[predicted], "label": labels, "weight": np.array([1.0, weight])}

    found = score(lambda b: b["points"], [batch(1.0), batch(0.0)], ("a", "b"))
    # True/predicted: a/a 1+2+1, b/b 1+1, b/a 1.
    assert found["num_points"] == 7
    assert found["per_class"] == {"a": 80.0, "b": pytest.approx(66.67)}
    assert found["mean_iou"] == pytest.approx((80 + 200 / 3) / 2)
    big = np.array([[2**40 + 3, 5]])
    assert sum_over_hosts(big).tolist() == big.tolist()

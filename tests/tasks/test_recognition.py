import numpy as np
import pytest

from pointata_jax.tasks.recognition import score


def test_padding_rows_do_not_count():
    def batch(labels, weights):
        return {
            "points": np.eye(2)[labels],
            "label": np.array(labels),
            "video": np.arange(len(labels)),
            "weight": np.array(weights, np.float32),
        }

    wrong_when_padded = batch([1, 0], [1, 0])
    wrong_when_padded["label"][1] = 1
    scores = score(lambda b: b["points"], [batch([0, 1], [1, 1]), wrong_when_padded], ("a", "b"))
    assert scores["num_windows"] == 3
    assert scores["window_accuracy"] == pytest.approx(100)

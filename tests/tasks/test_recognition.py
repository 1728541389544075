import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.tasks.recognition import cross_entropy, score


def test_cross_entropy_with_smoothing_by_hand():
    logits, labels = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]), np.array([0, 2])
    log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = 0.9 * np.eye(3)[labels] + 0.1 / 3
    expected = -(targets * log_probability).sum(1)
    ours = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), label_smoothing=0.1)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


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

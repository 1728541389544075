import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from pointata_jax.errors import InputError
from pointata_jax.metrics.classification import (
    accuracy_on_classes,
    by_class_name,
    recognition_scores,
)


def test_videos_vote_by_averaged_softmax():
    # Video 7: one confident window outvotes two lukewarm ones. Video 9: right in its only window.
    logits = np.array([[4.0, 0.0], [0.0, 0.5], [0.0, 0.5], [0.0, 3.0]])
    scores = recognition_scores(logits, np.array([0, 0, 0, 1]), np.array([7, 7, 7, 9]), ("a", "b"))
    assert scores["window_accuracy"] == 50.0
    assert scores["video_accuracy"] == 100.0
    assert (scores["num_windows"], scores["num_videos"]) == (4, 2)


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 5)), rng.integers(0, 4, 200)
    names = [str(i) for i in range(5)]
    scores = recognition_scores(logits, labels, np.arange(200), names)
    predicted = logits.argmax(1)
    expected = accuracy_score(labels, predicted)
    assert scores["window_accuracy"] == scores["video_accuracy"] == pytest.approx(100 * expected)
    recalls = np.asarray(recall_score(labels, predicted, labels=range(4), average=None))
    assert scores["mean_class_accuracy"] == pytest.approx(100 * recalls.mean())
    assert scores["per_class"]["4"] is None
    assert scores["per_class"]["0"] == pytest.approx(100 * recalls[0], abs=0.01)


def test_accuracy_on_classes_ignores_all_other_labels():
    predictions, labels = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    assert accuracy_on_classes(predictions, labels, (0, 2)) == (pytest.approx(200 / 3), 3)
    assert accuracy_on_classes(predictions, labels, range(3)) == (50.0, 4)
    accuracy, count = accuracy_on_classes(predictions, labels, (5,))
    assert np.isnan(accuracy)
    assert count == 0


def test_absent_classes_have_no_value():
    assert by_class_name(np.array([1.236, np.nan]), ("a", "b")) == {"a": 1.24, "b": None}


@pytest.mark.wrong_arguments
def test_shapes_must_agree():
    with pytest.raises(InputError, match="one row per window"):
        recognition_scores(np.zeros((3, 2)), np.zeros(2, int), np.zeros(2, int), ("a", "b"))

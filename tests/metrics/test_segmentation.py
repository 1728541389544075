"""Confusion matrices against scikit-learn, padded and sharded batches, and both mean IoUs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn import metrics as sklearn_metrics

from pointata_jax.errors import InputError
from pointata_jax.metrics.segmentation import (
    batch_confusion_matrix,
    confusion_matrix,
    iou_per_class,
    segmentation_scores,
)

NAMES = ("a", "b", "c", "d")


def labels(seed=0, shape=(8, 3, 50), classes=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, shape), rng.integers(-1, classes, shape)


def test_against_scikit_learn():
    predictions, targets = labels()
    counted = targets >= 0
    truth, predicted = targets[counted], predictions[counted]
    matrix = confusion_matrix(predictions, targets, 4)
    expected = sklearn_metrics.confusion_matrix(truth, predicted, labels=range(4))
    np.testing.assert_array_equal(matrix, expected)
    jaccard = np.asarray(
        sklearn_metrics.jaccard_score(truth, predicted, labels=range(3), average=None)
    )
    np.testing.assert_allclose(iou_per_class(matrix)[:3], jaccard)
    scores = segmentation_scores(matrix, NAMES)
    assert scores["mean_iou"] == pytest.approx(100 * jaccard.mean())
    assert scores["mean_iou_published"] == pytest.approx(100 * jaccard.sum() / 4)
    assert scores["point_accuracy"] == pytest.approx(100 * np.mean(truth == predicted))
    assert scores["per_class"]["d"] is None
    assert (scores["num_points"], scores["num_classes"]) == (counted.sum(), 3)


def test_a_class_that_is_only_predicted_lowers_the_published_mean_alone():
    matrix = np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    scores = segmentation_scores(matrix, NAMES[:3])
    assert scores["mean_iou"] == pytest.approx(100 * (0.75 + 1) / 2)
    assert scores["mean_iou_published"] == pytest.approx(100 * (0.75 + 1 + 0) / 3)
    skipped = segmentation_scores(matrix, NAMES[:3], skip=(0,))
    assert skipped["mean_iou"] == 100.0
    # Points of a skipped class still count against the others.
    matrix = np.array([[0, 2], [0, 2]])
    assert segmentation_scores(matrix, NAMES[:2], skip=(0,))["mean_iou"] == 50.0


def test_padded_and_sharded_batches_sum_to_the_whole():
    predictions, targets = labels()
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    place = functools.partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec("data")))
    count = jax.jit(batch_confusion_matrix, static_argnums=2)
    matrix = count(place(predictions), place(targets), 4, place(weights))
    np.testing.assert_array_equal(matrix, confusion_matrix(predictions[:6], targets[:6], 4))
    assert matrix.dtype == jnp.int32
    whole = count(predictions, targets, 4)
    np.testing.assert_array_equal(whole, confusion_matrix(predictions, targets, 4))


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("predictions", "targets", "sentence"),
    [
        ([0, 1], [0], "must have the same shape"),
        ([0.0], [0], "predictions are float64"),
        ([0, 4], [0, 1], "Class 4 in the predictions is outside 0..3"),
        ([0, -1], [0, 1], "Class -1 in the predictions"),
        ([0, 1], [0, 7], "Class 7 in the targets"),
    ],
)
def test_bad_labels_are_named(predictions, targets, sentence):
    with pytest.raises(InputError, match=sentence):
        confusion_matrix(np.array(predictions), np.array(targets), 4)


def test_nothing_to_score_is_an_error():
    with pytest.raises(InputError, match="nothing to score"):
        segmentation_scores(np.zeros((4, 4), int), NAMES)
    with pytest.raises(InputError, match="there are 4 classes"):
        segmentation_scores(np.zeros((3, 3), int), NAMES)

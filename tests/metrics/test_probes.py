import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from pointata_jax.metrics.probes import (
    bootstrap_interval,
    nearest_neighbor_accuracy,
    nearest_neighbor_hits,
    ridge_accuracy,
    ridge_explained,
    ridge_hits,
    standardize,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    return rng.normal(size=(60, 8)) + 0.8 * np.eye(8)[labels] + 5.0, labels


def test_nearest_neighbor_is_leave_one_out(data):
    features, labels = data
    unit = standardize(features)
    expected = []
    for i in range(len(labels)):
        rest = np.arange(len(labels)) != i
        classifier = KNeighborsClassifier(1, metric="cosine").fit(unit[rest], labels[rest])
        expected.append(classifier.predict(unit[i : i + 1])[0] == labels[i])
    assert nearest_neighbor_accuracy(features, labels) == pytest.approx(100 * np.mean(expected))


def test_ridge_against_scikit_learn(data):
    features, labels = data
    fold = np.random.default_rng(3).permutation(60) % 5
    correct = []
    for f in range(5):
        train, test = fold != f, fold == f
        mean, deviation = features[train].mean(0), features[train].std(0)
        model = Ridge(alpha=0.5 * 8).fit(
            (features[train] - mean) / deviation, np.eye(3)[labels[train]]
        )
        predicted = model.predict((features[test] - mean) / deviation).argmax(1)
        correct.append(predicted == labels[test])
    ours = ridge_accuracy(features, labels, penalty=0.5, seeds=(3,))
    assert ours == pytest.approx(100 * np.mean(np.concatenate(correct)))


def test_hits_average_to_the_accuracies(data):
    features, labels = data
    assert 100 * nearest_neighbor_hits(features, labels).mean() == pytest.approx(
        nearest_neighbor_accuracy(features, labels)
    )
    each = [ridge_hits(features, labels, seeds=(seed,)) for seed in (0, 1, 2)]
    np.testing.assert_allclose(ridge_hits(features, labels), np.mean(each, axis=0))
    assert ridge_accuracy(features, labels) == pytest.approx(100 * np.mean(each))


def test_bootstrap_interval_of_a_share_is_that_of_the_normal_approximation():
    hits = np.arange(400) % 4 == 0
    low, high = bootstrap_interval(hits)
    half = 196 * np.sqrt(0.25 * 0.75 / 400)
    assert low == pytest.approx(25 - half, abs=0.6)
    assert high == pytest.approx(25 + half, abs=0.6)
    assert bootstrap_interval(hits) == (low, high)
    assert bootstrap_interval(np.ones(9, bool)) == (100.0, 100.0)


def test_explained_labels_against_scikit_learn(data):
    features, labels = data
    x, y, z, held = features[:40], labels[:40], features[40:], labels[40:]
    mean, deviation = x.mean(0), x.std(0)
    model = Ridge(alpha=8).fit((x - mean) / deviation, np.eye(3)[y])
    errors = np.square(np.eye(3)[held] - model.predict((z - mean) / deviation)).sum()
    common = np.square(np.eye(3)[held] - np.eye(3)[y].mean(0)).sum()
    assert ridge_explained(x, y, z, held) == pytest.approx(100 * (1 - errors / common))
    # Features that say nothing explain nothing, and a class that was not fitted counts as missed.
    assert ridge_explained(np.ones((40, 2)), y, np.ones((20, 2)), held) == pytest.approx(0)
    assert ridge_explained(x, y, z, held + 1) < 0

"""Label distances against closed forms in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
import scipy.linalg

from pointata_jax.alignment import gaussian_label_distances
from pointata_jax.alignment.label_distance import class_gaussians
from pointata_jax.errors import InputError

distances = jax.jit(
    gaussian_label_distances, static_argnames=("num_a", "num_b", "covariance", "max_per_class")
)
gaussians_of = jax.jit(class_gaussians, static_argnames=("num_classes", "max_per_class"))


def two_sets(dim, per_class, seed=0, classes=(3, 2)):
    rng = np.random.default_rng(seed)
    sets = []
    for num in classes:
        labels = rng.permutation(np.repeat(np.arange(num), per_class))
        mix = rng.standard_normal((num, dim, dim)) / np.sqrt(dim)
        noise = rng.standard_normal((len(labels), dim))
        features = np.einsum("nd,nde->ne", noise, mix[labels])
        sets.append((features + rng.standard_normal((num, dim))[labels], labels))
    return sets


def closed_form(a, b):
    """|μ - μ'|² + tr Σ + tr Σ' - 2 tr (Σ^½ Σ' Σ^½)^½ with matrix roots."""
    cov_a, cov_b = np.cov(a.T, bias=True), np.cov(b.T, bias=True)
    root = np.real(np.asarray(scipy.linalg.sqrtm(cov_a)))
    cross = np.trace(np.real(np.asarray(scipy.linalg.sqrtm(root @ cov_b @ root))))
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * cross


# 20 samples in 6 dimensions take the triangular-factor path, 7 of them do not.
@pytest.mark.parametrize("per_class", [20, 7])
def test_full_covariance_is_the_closed_form(per_class):
    (a, labels_a), (b, labels_b) = two_sets(6, per_class)
    with jax.enable_x64(True):
        table = np.asarray(distances(a, labels_a, 3, b, labels_b, 2))
    assert table.dtype == np.float64
    for i in range(3):
        for j in range(2):
            x, y = a[labels_a == i], b[labels_b == j]
            np.testing.assert_allclose(table[i, j], closed_form(x, y), rtol=1e-8)
            pot = ot.gaussian.bures_wasserstein_distance(
                x.mean(0), y.mean(0), np.cov(x.T, bias=True), np.cov(y.T, bias=True)
            )
            np.testing.assert_allclose(table[i, j], np.asarray(pot) ** 2, rtol=1e-8)


def test_fewer_samples_than_dimensions():
    """Covariances are singular, where a matrix root is inexact: float32 against float64."""
    (a, labels_a), (b, labels_b) = two_sets(48, 5)
    single = distances(a.astype(np.float32), labels_a, 3, b, labels_b, 2)
    x, y = a[labels_a == 1], b[labels_b == 0]
    cov_x, cov_y = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    # tr (Σ^½ Σ' Σ^½)^½ is the sum of the roots of the eigenvalues of Σ Σ'; its rank is 4.
    values = np.sort(np.abs(np.linalg.eigvals(cov_x @ cov_y)))[-4:]
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2)
    expected += np.trace(cov_x) + np.trace(cov_y) - 2 * np.sqrt(values).sum()
    np.testing.assert_allclose(single[1, 0], expected, rtol=1e-5)
    itself = distances(a, labels_a, 3, a, labels_a, 3)
    np.testing.assert_allclose(np.diag(itself), 0, atol=1e-3)
    np.testing.assert_allclose(itself, itself.T, rtol=1e-4, atol=1e-3)


def test_diagonal_and_mean_only():
    (a, labels_a), (b, labels_b) = two_sets(6, 20)
    diagonal = distances(a, labels_a, 3, b, labels_b, 2, covariance="diagonal")
    means = distances(a, labels_a, 3, b, labels_b, 2, covariance="none")
    x, y = a[labels_a == 2], b[labels_b == 1]
    offset = np.sum((x.mean(0) - y.mean(0)) ** 2)
    np.testing.assert_allclose(means[2, 1], offset, rtol=1e-5)
    spread = np.sum((x.std(0) - y.std(0)) ** 2)
    np.testing.assert_allclose(diagonal[2, 1], offset + spread, rtol=1e-5)


@pytest.mark.wrong_arguments
def test_an_unknown_covariance_is_named():
    (a, labels_a), (b, labels_b) = two_sets(6, 20)
    with pytest.raises(InputError, match="covariance 'half'"):
        distances(a, labels_a, 3, b, labels_b, 2, covariance="half")


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_gradient_is_that_of_the_means(covariance):
    """The gradient is finite although class 3 is absent and class 2 has a single sample."""
    (a, labels_a), (b, labels_b) = two_sets(6, 4)
    labels_a = np.where(labels_a == 2, 0, labels_a)
    labels_a[0] = 2
    probe = np.random.default_rng(1).standard_normal((4, 2))

    @functools.partial(jax.jit, static_argnames="covariance")
    @jax.grad
    def slope(features, covariance):
        table = gaussian_label_distances(
            features, labels_a, 4, b, labels_b, 2, covariance=covariance
        )
        return (probe * table).sum()

    gradient = slope(jnp.asarray(a), covariance)
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(gradient, slope(jnp.asarray(a), "none"), rtol=1e-5)


def test_absent_classes_change_nothing_else():
    (a, labels_a), (b, labels_b) = two_sets(6, 5)
    table = distances(a, labels_a, 3, b, labels_b, 2)
    # The same classes as numbers 0, 2, 5 of seven.
    moved = np.array([0, 2, 5])[labels_a]
    wide = distances(a, moved, 7, b, labels_b, 2)
    np.testing.assert_allclose(np.asarray(wide)[[0, 2, 5]], table, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(wide)[[1, 3, 4, 6]], 0)


def test_max_per_class_limits_the_covariance_but_not_the_mean():
    (a, labels_a), _ = two_sets(6, 10)
    gaussians = gaussians_of(jnp.asarray(a), labels_a, 3, max_per_class=4)
    x = a[labels_a == 1]
    np.testing.assert_allclose(gaussians.mean[1], x.mean(0), atol=1e-5)
    np.testing.assert_allclose(gaussians.count, 10)
    np.testing.assert_allclose(gaussians.rows[1], (x[:4] - x.mean(0)) / 2, atol=1e-5)
    # By default all samples of a balanced set are used.
    assert gaussians_of(jnp.asarray(a), labels_a, 3).rows.shape[1] >= 10

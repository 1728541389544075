"""k-means on separated blobs: labels, inertia and determinism."""

import jax
import numpy as np
import pytest

from pointata_jax.alignment import kmeans, nearest_center
from pointata_jax.errors import InputError

RNG = np.random.default_rng(0)
TRUE = RNG.permutation(np.arange(200) % 10)
CENTERS = 10 * RNG.standard_normal((10, 5))
BLOBS = (CENTERS[TRUE] + 0.3 * RNG.standard_normal((200, 5))).astype(np.float32)


def test_separated_blobs_are_found_and_repeatable():
    found = kmeans(BLOBS, jax.random.key(0))
    labels = np.asarray(found.labels)
    pairs = set(zip(TRUE.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == 10
    assert len({label for _, label in pairs}) == 10
    distance = ((BLOBS - np.asarray(found.centers)[labels]) ** 2).sum(1)
    np.testing.assert_allclose(found.inertia, distance.mean(), rtol=1e-4)
    np.testing.assert_array_equal(nearest_center(BLOBS, found.centers), labels)
    again = kmeans(BLOBS, jax.random.key(0))
    np.testing.assert_array_equal(again.labels, labels)


def test_centers_are_the_means_of_their_members():
    """The result is a fixed point of Lloyd's iteration, also on data without clusters."""
    noise = RNG.standard_normal((200, 5)).astype(np.float32)
    found = kmeans(noise, jax.random.key(1))
    for c in range(10):
        members = noise[np.asarray(found.labels) == c]
        np.testing.assert_allclose(found.centers[c], members.mean(0), atol=1e-4)


def test_too_few_features():
    with pytest.raises(InputError, match="10 pseudo-classes"):
        kmeans(BLOBS[:9], jax.random.key(0))
    # Fewer distinct points than clusters: no division by zero.
    assert np.isfinite(kmeans(np.ones_like(BLOBS), jax.random.key(0)).centers).all()

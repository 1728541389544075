"""Copies of points, and searches that skip them, against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointata_jax.errors import InputError
from pointata_jax.ops import ball_query, knn, repeated_points, three_nn_interpolate
from tests.ops.clouds import grid_clouds, squared_distances

N, CENTERS, K = 20, 5, 6


def brute_force(cloud: np.ndarray) -> list[bool]:
    rows = [tuple(row) for row in cloud.tolist()]
    return [row in rows[:index] for index, row in enumerate(rows)]


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
@given(data=st.data())
@settings(max_examples=25)
def test_copies_are_the_later_of_equal_rows(lead, data):
    (points,) = data.draw(grid_clouds((*lead, N)))
    # A coarse grid makes copies. The column after the coordinates distinguishes some of them.
    points = np.concatenate([np.round(points), np.round(points[..., :1] * 3) % 2], axis=-1)
    found = jax.jit(repeated_points)(points)
    expected = [brute_force(cloud) for cloud in points.reshape(-1, N, 4)]
    np.testing.assert_array_equal(found, np.reshape(expected, (*lead, N)))


def test_the_two_zeros_are_equal_and_nan_is_nothing():
    cloud = np.array([[0.0, 1, 2], [-0.0, 1, 2], [np.nan, 1, 2], [np.nan, 1, 2], [0.0, 1, 2]])
    np.testing.assert_array_equal(repeated_points(cloud), [False, True, False, False, True])


@given(data=st.data())
@settings(max_examples=50)
def test_searches_among_valid_points_are_searches_without_the_others(data):
    centers, points = data.draw(grid_clouds((2, CENTERS), (2, N)))
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=2 * N, max_size=2 * N)))
    valid = valid.reshape(2, N)
    valid[:, data.draw(st.integers(0, N - 1))] = True  # At least one of each cloud.
    radius = data.draw(st.sampled_from([0.5, 1.25, 2.5]))
    near = knn(centers, points, K, valid=valid)
    inside = ball_query(centers, points, radius, K, order="distance", valid=valid)
    for cloud in range(2):
        allowed = np.flatnonzero(valid[cloud])
        d2 = squared_distances(centers[cloud], points[cloud, allowed])
        for center in range(CENTERS):
            ranked = allowed[np.argsort(d2[center], kind="stable")]
            expected = [*ranked[:K], *[ranked[0]] * max(0, K - len(ranked))]
            np.testing.assert_array_equal(near[cloud, center], expected)
            held = [i for i in ranked[:K] if np.sort(d2[center])[list(ranked).index(i)] < radius**2]
            held = held or [ranked[0]]
            expected = held + [held[0]] * (K - len(held))
            np.testing.assert_array_equal(inside[cloud, center], expected)


def test_interpolation_skips_copies():
    """The three nearest different sources are used although the nearest has copies."""
    rng = np.random.default_rng(0)
    sources, targets = rng.normal(size=(4, 3)), rng.normal(size=(7, 3))
    features = rng.normal(size=(4, 2))
    filled = np.concatenate([sources, sources, sources[:2]])
    found = three_nn_interpolate(
        targets, filled, features[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]], valid=~repeated_points(filled)
    )
    np.testing.assert_allclose(
        found, three_nn_interpolate(targets, sources, features), rtol=1e-5, atol=1e-6
    )


def test_it_is_the_same_under_vmap_and_carries_no_gradient():
    points = jnp.round(jax.random.normal(jax.random.key(0), (3, N, 3)))
    np.testing.assert_array_equal(jax.vmap(repeated_points)(points), repeated_points(points))
    slope = jax.grad(lambda p: jnp.where(repeated_points(p), 1.0, 2.0).sum())(points)
    assert not slope.any()


@pytest.mark.wrong_arguments
def test_bad_masks_are_named():
    cloud = np.zeros((2, N, 3), np.float32)
    with pytest.raises(InputError, match="boolean"):
        knn(cloud, cloud, 2, valid=np.ones((2, N)))
    with pytest.raises(InputError, match="one value for each point"):
        ball_query(cloud, cloud, 0.1, 2, valid=np.ones((2, N + 1), bool))
    with pytest.raises(InputError, match=r"\[\.\.\., n, c\]"):
        repeated_points(np.zeros(3))

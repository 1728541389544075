"""Views of shapes: what is cut away, what a camera sees, which points are drawn."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.stages.views import (
    ViewConfig,
    partial_view,
    random_rotation,
    seen_from,
    spread_sample,
)

EXACT = ViewConfig(
    num_points=150,
    crop_probability=0.0,
    yaw_jitter=0.0,
    scale_range=(1.0, 1.0),
    jitter_std=0.0,
)


def _sphere(count: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, 3))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (0.6, 0.64, -0.48)])
def test_seen_points_against_every_pixel(direction):
    rng = np.random.default_rng(1)
    points = rng.uniform(-1, 1, (300, 3)).astype(np.float32)
    forward = np.array(direction)
    found = np.asarray(seen_from(jnp.asarray(points), jnp.asarray(direction), 6, 0.2))
    helper = np.array([1.0, 0, 0]) if abs(forward[1]) >= 0.9 else np.array([0, 1.0, 0])
    right = np.cross(helper, forward)
    right /= np.linalg.norm(right)
    image = points @ np.stack([right, np.cross(forward, right)], axis=1)
    low, side = image.min(0), np.ptp(image, axis=0).max()
    pixels = np.clip(((image - low) / side * 6).astype(int), 0, 5)
    depth = points @ forward
    for i in range(len(points)):
        same = (pixels == pixels[i]).all(1)
        assert found[i] == (depth[i] <= depth[same].min() + 0.2 * side)


def test_a_camera_sees_the_near_half_of_a_ball():
    points = _sphere(4000)
    seen = np.asarray(seen_from(jnp.asarray(points), jnp.array([0.0, 0.0, 1.0]), 16, 0.15))
    assert seen[points[:, 2] < -0.3].all()
    assert seen[points[:, 2] > 0.3].mean() < 0.05


def test_spread_sample_takes_one_of_each_run():
    mask = np.zeros(100, bool)
    mask[10:90:2] = True
    chosen = np.asarray(spread_sample(jax.random.key(0), jnp.asarray(mask), 20, 20))
    assert mask[chosen].all()
    assert len(set(chosen.tolist())) == 20
    # Each run of two points of the mask gives one.
    assert ((chosen - 10) // 4 == np.arange(20)).all()
    repeated = np.asarray(spread_sample(jax.random.key(1), jnp.asarray(mask), 20, 5))
    np.testing.assert_array_equal(repeated[:5], repeated[5:10])
    assert len(set(repeated.tolist())) == 5
    few = np.asarray(spread_sample(jax.random.key(2), jnp.arange(100) == 7, 6, 6))
    np.testing.assert_array_equal(few, 7)


def test_random_rotations_are_rotations():
    turns = np.asarray(jax.vmap(random_rotation)(jax.random.split(jax.random.key(0), 2000)))
    np.testing.assert_allclose(
        turns @ turns.swapaxes(1, 2), np.tile(np.eye(3), (2000, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-5)
    # Uniform rotations send an axis anywhere: its mean is zero, its second moment a third.
    np.testing.assert_allclose(turns[:, :, 0].mean(0), 0, atol=0.05)
    np.testing.assert_allclose(np.square(turns[:, :, 0]).mean(0), 1 / 3, atol=0.03)


def _view(config: ViewConfig, seed: int, points: np.ndarray) -> np.ndarray:
    return np.asarray(partial_view(jax.random.key(seed), points, 0.0, config))


def test_a_sparse_view_repeats_few_points():
    config = ViewConfig(num_points=150, sparse_probability=1.0, fewest_points=20, jitter_std=0.01)
    counts = [len(np.unique(_view(config, seed, _sphere(400)), axis=0)) for seed in range(30)]
    assert min(counts) >= 20
    assert max(counts) <= 150
    assert len(set(counts)) > 15


def test_a_one_sided_view_lacks_the_far_side():
    config = dataclasses.replace(EXACT, one_sided_probability=1.0, num_points=600)
    whole, half = (_view(c, 3, _sphere(4000)) for c in (EXACT, config))
    # The extents of a ball are those of a half, up to the longest of the four axes.
    spread = [np.linalg.svd(v, compute_uv=False)[-1] / np.sqrt(len(v)) for v in (whole, half)]
    assert spread[1] < 0.75 * spread[0]


def test_views_depend_on_the_key_alone_and_lie_in_the_unit_sphere():
    config = ViewConfig(
        num_points=150,
        one_sided_probability=0.5,
        sparse_probability=0.5,
        any_rotation_probability=0.5,
        max_jitter_std=0.05,
    )
    views = [_view(config, seed, _sphere(400)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(views[0], views[1])
    assert not np.allclose(views[0], views[2])
    for view in views:
        assert np.linalg.norm(view, axis=1).max() == pytest.approx(1, abs=1e-5)


def test_bad_settings_are_sentences():
    with pytest.raises(InputError, match="sparse_probability is 2"):
        ViewConfig(sparse_probability=2)
    with pytest.raises(InputError, match="fewest_points 0"):
        ViewConfig(fewest_points=0)

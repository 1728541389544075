import fpsample
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointata_jax.errors import InputError
from pointata_jax.ops import farthest_point_sample, gather
from tests.ops.clouds import golden_clip, grid_clouds

N, SAMPLES = 20, 9


def brute_force(cloud: np.ndarray, samples: int, start: int = 0, skip: float = 0.0) -> list[int]:
    cloud = cloud.astype(np.float64)
    usable = np.sum(cloud**2, axis=1) > skip if skip else np.ones(len(cloud), bool)
    chosen = [start]
    while len(chosen) < samples:
        gaps = np.sum((cloud[:, None] - cloud[chosen]) ** 2, axis=-1).min(axis=1)
        chosen.append(int(np.argmax(np.where(usable, gaps, -1.0))))
    return chosen


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
@pytest.mark.parametrize("skip", [0.0, 0.25])
@given(data=st.data())
@settings(max_examples=25)
def test_equals_brute_force(lead, skip, data):
    (points,) = data.draw(grid_clouds((*lead, N)))
    start = data.draw(st.lists(st.integers(0, N - 1), min_size=8, max_size=8))
    start = np.resize(np.array(start, np.int32), lead)
    found = farthest_point_sample(points, SAMPLES, skip_radius_sq=skip, start=jnp.asarray(start))
    assert found.dtype == jnp.int32
    assert found.shape == (*lead, SAMPLES)
    clouds = zip(points.reshape(-1, N, 3), start.reshape(-1), strict=True)
    expected = [brute_force(cloud, SAMPLES, int(first), skip) for cloud, first in clouds]
    np.testing.assert_array_equal(np.asarray(found).reshape(-1, SAMPLES), expected)


def test_large_coordinates_choose_the_farthest_up_to_rounding():
    points = np.random.default_rng(0).uniform(-1e3, 1e3, (500, 3)).astype(np.float32)
    chosen = np.asarray(farthest_point_sample(points, 60))
    exact = points.astype(np.float64)
    for j in range(1, 60):
        gaps = np.sum((exact[:, None] - exact[chosen[:j]]) ** 2, axis=-1).min(axis=1)
        assert gaps[chosen[j]] >= gaps.max() * (1 - 1e-6)


def test_reference_indices():
    found = farthest_point_sample(golden_clip()[:, 0], 16, skip_radius_sq=1e-3)
    reference = [0, 112, 125, 23, 58, 28, 80, 14, 24, 61, 57, 70, 42, 46, 50, 22]
    np.testing.assert_array_equal(found[0], reference)


def test_equals_fpsample():
    points = np.random.default_rng(1).normal(size=(1500, 3)).astype(np.float32)
    expected = fpsample.fps_sampling(points, 200, start_idx=7)
    found = farthest_point_sample(points, 200, start=jnp.int32(7))
    np.testing.assert_array_equal(found, expected)


def test_points_near_the_origin_are_skipped_only_when_asked():
    # The origin is the farthest point from a cloud on a sphere, once some of that are chosen.
    sphere = np.random.default_rng(2).normal(size=(40, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    points = np.concatenate([sphere, np.zeros((1, 3))]).astype(np.float32)
    assert 40 in farthest_point_sample(points, 30)
    assert 40 not in farthest_point_sample(points, 41, skip_radius_sq=1e-3)
    assert farthest_point_sample(points[::-1], 5, skip_radius_sq=1e-3)[0] == 0


@pytest.mark.parametrize("skip", [0.0, 1e-3])
def test_a_cloud_of_one_position_repeats_index_0(skip):
    found = farthest_point_sample(jnp.zeros((2, 8, 3)), 5, skip_radius_sq=skip)
    np.testing.assert_array_equal(found, np.zeros((2, 5)))


def test_vmap_jit_and_grad():
    points = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 30, 3)), jnp.float32)
    expected = farthest_point_sample(points, 7)
    mapped = jax.vmap(lambda p: farthest_point_sample(p, 7), in_axes=1, out_axes=1)
    np.testing.assert_array_equal(jax.jit(mapped)(points), expected)

    def spread(points):
        return jnp.sum(gather(points, farthest_point_sample(points, 7)) ** 2)

    gradient = np.zeros(points.shape)
    rows = np.asarray(expected)[..., None]
    np.put_along_axis(gradient, rows, 2 * np.take_along_axis(points, rows, 2), 2)
    np.testing.assert_allclose(jax.grad(spread)(points), gradient, rtol=1e-6)


def test_integers_and_half_precision_are_compared_in_float32():
    # In bfloat16 the distances 100^2 + 1 and 100^2 are one number.
    points = np.array([[0, 0, 0], [100, 0, 0], [100, 1, 0]])
    for dtype in (jnp.int16, jnp.bfloat16):
        np.testing.assert_array_equal(farthest_point_sample(jnp.asarray(points, dtype), 2), [0, 2])


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("shape", "samples", "options", "message"),
    [
        ((5, 3), 6, {}, "num_samples=6 is more than the 5 points"),
        ((5, 3), 0, {}, "at least 1"),
        ((5, 3), 2.5, {}, "Python integer"),
        ((5, 4), 2, {}, r"points\[..., :3\]"),
        ((3,), 2, {}, r"\[..., n, 3\]"),
        ((2, 5, 3), 2, {"start": jnp.zeros(3, jnp.int32)}, r"shape \(2,\)"),
        ((2, 5, 3), 2, {"start": jnp.zeros(2)}, "integer array"),
    ],
)
def test_unusable_input_is_named(shape, samples, options, message):
    with pytest.raises(InputError, match=message):
        farthest_point_sample(jnp.zeros(shape), samples, **options)

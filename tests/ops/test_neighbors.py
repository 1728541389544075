import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointata_jax.errors import InputError
from pointata_jax.ops import ball_query, farthest_point_sample, gather, knn
from pointata_jax.ops.neighbors import BLOCK_ELEMENTS
from tests.ops.clouds import golden_clip, grid_clouds, squared_distances

N, CENTERS, K = 20, 5, 6


def brute_force_ball(d2: np.ndarray, radius: float, k: int, order: str, empty: str) -> list[int]:
    """Indices from one row of squared distances, as the docstring of `ball_query` defines them."""
    ranked = np.argsort(d2, kind="stable") if order == "distance" else np.arange(len(d2))
    inside = [int(i) for i in ranked if d2[i] < radius**2][:k]
    if not inside:
        inside = [int(np.argmin(d2)) if empty == "nearest" else 0]
    return inside + [inside[0]] * (k - len(inside))


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
@pytest.mark.parametrize("order", ["index", "distance"])
@pytest.mark.parametrize("empty", ["nearest", "zero"])
@given(data=st.data())
@settings(max_examples=25)
def test_ball_query_equals_brute_force(lead, order, empty, data):
    centers, points = data.draw(grid_clouds((*lead, CENTERS), (*lead, N)))
    radius = data.draw(st.sampled_from([0.25, 0.5, 1.25, 2.5]))  # on the grid: exact ties with it
    found = ball_query(centers, points, radius, K, order=order, empty=empty)
    assert found.dtype == jnp.int32
    d2 = squared_distances(centers, points)
    expected = [brute_force_ball(row, radius, K, order, empty) for row in d2.reshape(-1, N)]
    np.testing.assert_array_equal(found, np.reshape(expected, (*lead, CENTERS, K)))


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
@given(data=st.data())
@settings(max_examples=25)
def test_knn_equals_brute_force(lead, data):
    centers, points = data.draw(grid_clouds((*lead, CENTERS), (*lead, N)))
    found = knn(centers, points, K)
    assert found.dtype == jnp.int32
    d2 = squared_distances(centers, points)
    np.testing.assert_array_equal(found, np.argsort(d2, axis=-1, kind="stable")[..., :K])


@pytest.mark.parametrize("count", [700, 701])
def test_blocks_of_centers_change_nothing(count):
    rng = np.random.default_rng(0)
    points = (rng.integers(-40, 40, (2, 1024, 3)) / 4).astype(np.float32)
    centers = (rng.integers(-40, 40, (2, count, 3)) / 4).astype(np.float32)
    assert 2 * count * 1024 > BLOCK_ELEMENTS
    ranked = np.argsort(squared_distances(centers, points), axis=-1, kind="stable")
    np.testing.assert_array_equal(knn(centers, points, 4), ranked[..., :4])


@pytest.mark.parametrize("count", [64, 999, 2048])
def test_without_ties_the_indices_are_those_of_float64(count):
    """XLA may compute a distance twice; where it is rounded, minimum and index must still agree."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-1e3, 1e3, (3, count, 3)).astype(np.float32)
    centers = rng.uniform(-1e3, 1e3, (3, 400, 3)).astype(np.float32)
    d2 = squared_distances(centers, points)

    def same_distances(found, rank):
        found = np.take_along_axis(d2, np.asarray(found), -1)
        np.testing.assert_allclose(found, np.sort(d2, axis=-1)[..., rank], rtol=1e-6)

    same_distances(knn(centers, points, 32), slice(32))
    same_distances(ball_query(centers, points, 4e3, 32, order="distance"), slice(32))
    same_distances(ball_query(centers, points, 1e-3, 1), slice(1))  # empty: the nearest


def test_blocks_bound_the_memory():
    centers, points = jnp.zeros((4, 2048, 3)), jnp.zeros((4, 2048, 3))
    for search in (
        lambda c, p: knn(c, p, 16),
        lambda c, p: ball_query(c, p, 0.2, 16),
        lambda c, p: ball_query(c, p, 0.2, 16, order="distance"),
    ):
        memory = jax.jit(search).lower(centers, points).compile().memory_analysis()
        assert memory is not None
        # All distances together are 67 MB.
        assert memory.temp_size_in_bytes < 6 * 4 * BLOCK_ELEMENTS


def test_reference_indices():
    clip = golden_clip()
    anchors = gather(clip[:, 0], farthest_point_sample(clip[:, 0], 16, skip_radius_sq=1e-3))
    found = ball_query(anchors, clip[:, 1], 0.7, 8, empty="zero")
    reference = [
        [5, 7, 20, 34, 38, 43, 52, 65],
        [12, 17, 25, 31, 32, 35, 39, 50],
        [14, 117, 14, 14, 14, 14, 14, 14],
    ]
    np.testing.assert_array_equal(found[0, :3], reference)


def test_a_point_at_exactly_the_radius_is_outside():
    points = jnp.asarray([[5.0, 0, 0], [0, 0.7, 0], [0.3, 0, 0]])
    found = ball_query(jnp.zeros((1, 3)), points, 0.7, 2, empty="zero")
    np.testing.assert_array_equal(found, [[2, 2]])


def test_only_index_order_depends_on_the_order_of_the_points():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 3)).astype(np.float32)
    reversed_points = points[::-1]
    center = np.zeros((1, 3), np.float32)

    def neighbors(points, order):
        return points[np.asarray(ball_query(center, points, 1.0, 4, order=order))]

    np.testing.assert_array_equal(
        neighbors(points, "distance"), neighbors(reversed_points, "distance")
    )
    assert not np.array_equal(neighbors(points, "index"), neighbors(reversed_points, "index"))


def test_an_empty_ball():
    centers, points = jnp.full((1, 3), 9.0), jnp.asarray([[0.0, 0, 0], [1, 1, 1], [1, 1, 1]])
    for order in ("index", "distance"):
        nearest = ball_query(centers, points, 0.5, 3, order=order)
        np.testing.assert_array_equal(nearest, [[1, 1, 1]])
        zero = ball_query(centers, points, 0.5, 3, order=order, empty="zero")
        np.testing.assert_array_equal(zero, [[0, 0, 0]])


def test_leading_axes_broadcast():
    # As in P4D: the centers of an anchor frame, and the three frames of its tubes.
    rng = np.random.default_rng(2)
    centers, frames = rng.normal(size=(2, 1, 4, 3)), rng.normal(size=(2, 3, 9, 3))
    found = knn(centers, frames, 2)
    assert found.shape == (2, 3, 4, 2)
    np.testing.assert_array_equal(found[1, 2], knn(centers[1, 0], frames[1, 2], 2))


@pytest.mark.parametrize(
    "search",
    [
        lambda c, p: knn(c, p, 3),
        lambda c, p: ball_query(c, p, 0.8, 3),
        lambda c, p: ball_query(c, p, 0.8, 3, order="distance"),
    ],
)
def test_vmap_jit_and_grad(search):
    rng = np.random.default_rng(3)
    points = jnp.asarray(rng.normal(size=(2, 3, 30, 3)), jnp.float32)
    centers = points[:, :, :4]  # coincident with points
    expected = search(centers, points)
    mapped = jax.jit(jax.vmap(jax.vmap(search), in_axes=1, out_axes=1))
    np.testing.assert_array_equal(mapped(centers, points), expected)
    one_center = jax.vmap(search, in_axes=(None, 0))(centers[0, 0], points[0])
    np.testing.assert_array_equal(one_center[0], expected[0, 0])

    def spread(points):
        gathered = gather(points, search(points[:, :, :4], points))
        return jnp.sum((gathered - points[:, :, :4, None]) ** 2)

    def spread_of_given_indices(points):
        return jnp.sum((gather(points, expected) - points[:, :, :4, None]) ** 2)

    gradient = jax.grad(spread)(points)
    assert np.abs(gradient).max() > 0
    np.testing.assert_array_equal(gradient, jax.grad(spread_of_given_indices)(points))


def test_split_over_devices_nothing_is_exchanged():
    """Each device searches its own clouds; lax.top_k alone would gather all clouds on each."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    points = np.random.default_rng(4).normal(size=(8, 2, 512, 3)).astype(np.float32)

    def search(points):
        chosen = farthest_point_sample(points, 160)
        centers = gather(points, chosen)
        near = ball_query(centers, points, 0.5, 8, order="distance")
        return chosen, near, ball_query(centers, points, 0.5, 8), knn(centers, points, 8)

    assert points.size // 3 * 160 > BLOCK_ELEMENTS
    compiled = jax.jit(search, in_shardings=split, out_shardings=split).lower(points).compile()
    assert not re.findall(r"(all-\w+|reduce-scatter|collective-\w+)\(", compiled.as_text() or "")
    together = compiled(jax.device_put(points, split))
    for ours, alone in zip(together, jax.jit(search)(points), strict=True):
        np.testing.assert_array_equal(ours, alone)


@given(
    clouds=grid_clouds((2, N)),
    indices=st.lists(st.integers(0, N - 1), min_size=12, max_size=12),
)
@settings(max_examples=25)
def test_gather_and_its_gradient(clouds, indices):
    (points,) = clouds
    indices = np.array(indices, np.int32).reshape(2, 3, 2)
    expected = np.stack([cloud[rows] for cloud, rows in zip(points, indices, strict=True)])
    np.testing.assert_array_equal(gather(points, indices), expected)
    np.testing.assert_array_equal(gather(points, indices[..., 0]), expected[:, :, 0])
    gradient = jax.grad(lambda p: jnp.sum(gather(p, indices)))(jnp.asarray(points))
    counts = [np.bincount(rows.ravel(), minlength=N) for rows in indices]
    np.testing.assert_array_equal(gradient, np.repeat(np.stack(counts)[..., None], 3, axis=-1))


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, p: knn(c, p, 9), "k=9 is more than the 8 points of points"),
        (lambda c, p: ball_query(c, p, 1.0, 9), "k=9 is more than the 8 points of points"),
        (lambda c, p: ball_query(c, p, 0.0, 2), "radius must be positive"),
        (lambda c, p: ball_query(c, p, 1.0, 2, order="nearest"), "order must be"),
        (lambda c, p: ball_query(c, p, 1.0, 2, empty="first"), "empty must be"),
        (lambda c, p: knn(c[0], p, 2), r"centers must have shape \[..., n, 3\]"),
        (lambda c, p: knn(jnp.zeros((3, 4, 3)), jnp.zeros((2, 8, 3)), 2), "leading axes"),
        (lambda c, p: gather(p, jnp.zeros(4)), "indices must be integers"),
        (lambda c, p: gather(p, jnp.zeros((2, 2, 2), jnp.int32)), "do not fit"),
        (lambda c, p: gather(jnp.zeros((2, 8, 3)), jnp.zeros((3, 4), jnp.int32)), "leading axes"),
    ],
)
def test_unusable_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.zeros((4, 3)), jnp.zeros((8, 3)))

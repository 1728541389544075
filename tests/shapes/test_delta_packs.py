"""Packs of shapes stored as differences, against a plain restatement of the format."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes.collection import load_shapes, unit_sphere
from pointata_jax.shapes.delta_packs import decode_points


def encode(grid):
    """Grid coordinates [S, N, 3] from 0 to 1023 as low and high bytes."""
    low = np.zeros((len(grid), 3, grid.shape[1]), np.uint8)
    high = np.zeros_like(low)
    for shape, axis, point in np.ndindex(low.shape):
        before = grid[shape, point - 1, axis] if point else 0
        step = int(grid[shape, point, axis]) - int(before)
        zigzag = 2 * step if step >= 0 else -2 * step - 1
        low[shape, axis, point], high[shape, axis, point] = zigzag % 256, zigzag // 256
    return low, high


@pytest.fixture
def grid():
    return np.random.default_rng(0).integers(0, 1024, (4, 30, 3))


def write(path, grid, **changes):
    low, high = encode(grid)
    arrays = {
        "points_lo": low,
        "points_hi": high,
        "class_id": np.array([1, 0, 1, 1], np.int16),
        "class_names": np.array(["bed", "chair"]),
        "item_name": np.array(["a_1", "b", "a_2", "c"]),
    }
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})
    return path


def test_points_are_those_of_the_grid(grid):
    points = decode_points(*encode(grid))
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, (grid + 0.5) / 512 - 1, atol=1e-7)


def test_a_pack_is_read_shuffled_with_classes_and_names(tmp_path, grid):
    path = write(tmp_path / "s.npz", grid)
    shapes = load_shapes(path, num_points=30)
    assert shapes.class_names == ("bed", "chair")
    assert shapes.names == ("a_1", "b", "a_2", "c")
    assert shapes.labels.tolist() == [1, 0, 1, 1]
    expected = unit_sphere(grid)
    for ours, wanted in zip(shapes.points, expected, strict=True):
        assert not np.allclose(ours, wanted, atol=1e-3)
        order, other = np.lexsort(ours.round(4).T), np.lexsort(wanted.round(4).T)
        np.testing.assert_allclose(ours[order], wanted[other], atol=1e-5)
    np.testing.assert_array_equal(load_shapes(path, num_points=30).points, shapes.points)
    assert load_shapes(path, num_points=12).points.shape == (4, 12, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points_hi": None}, "lacks the arrays points_hi"),
        ({"points_hi": np.zeros((4, 3, 29), np.uint8)}, "must describe the same shapes"),
        ({"points_lo": np.zeros((4, 3, 30), np.int16)}, "expected uint8"),
        ({"class_id": np.array([0, 1, 2, 0])}, "indices into class_names"),
        ({"class_id": np.zeros(4)}, "class_id are float64, expected integers"),
    ],
)
def test_bad_packs_are_named(tmp_path, grid, changes, words):
    path = write(tmp_path / "s.npz", grid, **changes)
    with pytest.raises(InputError, match=f"s.npz.*{words}"):
        load_shapes(path)

"""Clouds for tests, and the reference clip."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst


def grid_clouds(*shapes: tuple[int, ...]) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """Clouds `[*shape, 3]` on one grid of quarters: duplicates, ties, points at the origin.

    Float32 is exact on the grid, so that indices can be compared one by one. Some examples shift
    all clouds to about (1000, 1000, 1000), where |a|^2 + |b|^2 - 2ab would not be exact. Others
    shift one cloud 32 away from the other.
    """

    def cloud(shape, offset):
        quarters = npst.arrays(np.int8, (*shape, 3), elements=st.integers(-6, 6))
        return quarters.map(lambda q: (q / 4 + offset).astype(np.float32))

    def clouds(offsets):
        middle, apart = offsets
        return st.tuples(*(cloud(shape, middle + i * apart) for i, shape in enumerate(shapes)))

    return st.sampled_from([(0.0, 0.0), (1000.0, 0.0), (0.0, 32.0)]).flatmap(clouds)


def golden_clip() -> np.ndarray:
    """`[1, 6, 128, 3]`, the deterministic input on which the reference indices were computed."""
    i = np.arange(6 * 128 * 3)
    value = np.sin((i + 1) * 12.9898 + 1000 * 78.233) * 43758.5453
    return (2 * (value - np.floor(value)) - 1).reshape(1, 6, 128, 3).astype(np.float32)


def squared_distances(centers: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Between centers `[..., m, 3]` and points `[..., n, 3]`: `[..., m, n]` in float64."""
    difference = centers[..., :, None, :].astype(np.float64) - points[..., None, :, :]
    return np.sum(difference**2, axis=-1)

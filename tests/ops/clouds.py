"""Clouds for tests, and the reference clip."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst


def grid_clouds(*shapes: tuple[int, ...]) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """Clouds `[*shape, 3]` on one grid of quarters: duplicates, ties, points at the origin.

    Float32 is exact there, so that indices can be compared one by one. At times they all lie about
    (1000, 1000, 1000), where |a|^2 + |b|^2 - 2ab would not be, or some lie 32 away from the others.
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
    """`[..., n, 3]` and `[..., N, 3]` to `[..., n, N]`, in float64."""
    difference = centers[..., :, None, :].astype(np.float64) - points[..., None, :, :]
    return np.sum(difference**2, axis=-1)

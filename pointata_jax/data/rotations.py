"""Rotations about a coordinate axis."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def axis_rotation(angle: ArrayLike, axis: int) -> Float[np.ndarray, "... 3 3"]:
    """Matrix of the right-handed rotation by `angle` (radians, any shape) about axis 0, 1 or 2."""
    angle = np.asarray(angle)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., one, one] = matrix[..., two, two] = np.cos(angle)
    matrix[..., two, one] = np.sin(angle)
    matrix[..., one, two] = -matrix[..., two, one]
    return matrix

"""Reads packs of shapes that are stored as differences between neighboring points.

The points of a shape lie on a grid of 1024 steps along the longest side of its bounding box, in the
order of a space-filling curve. Each coordinate is stored as the difference to the previous point,
zigzag-coded (0, -1, 1, -2, … as 0, 1, 2, 3, …), with low and high bytes in arrays of their own.
This makes packs of many shapes small. Arrays of a pack:

  points_lo, points_hi   uint8 [S, 3, N]
  class_id               integers [S], indices into class_names
  class_names            names [K]
  item_name              names [S]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from pointata_jax.data.array_files import check_numbers
from pointata_jax.errors import InputError

ARRAYS = ("points_lo", "points_hi", "class_id", "class_names", "item_name")
"""Names of the arrays of a pack."""

GRID = 512
"""Steps of the grid in half of the longest side."""


def decode_points(
    low: UInt8[np.ndarray, "shapes 3 n"], high: UInt8[np.ndarray, "shapes 3 n"]
) -> Float[np.ndarray, "shapes n 3"]:
    """Coordinates from -1 to 1 along the longest side, float32, in the order of the curve."""
    coded = low.astype(np.int16) | (high.astype(np.int16) << 8)
    steps = np.cumsum((coded >> 1) ^ -(coded & 1), axis=2, dtype=np.int16)
    return (steps.astype(np.float32).transpose(0, 2, 1) + 0.5) / GRID - 1.0


def check_pack(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Checks the arrays of a pack.

    Raises:
      InputError: an array is missing, or shapes and types do not belong together.
    """
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise InputError(f"shapes file {path} lacks the arrays {', '.join(missing)}.")
    low, high, labels = (arrays[name] for name in ARRAYS[:3])
    check_numbers(labels, "iu", "class_id", path)
    for name, array in (("points_lo", low), ("points_hi", high)):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[1] != 3 or not array.size:
            raise InputError(
                f"shapes file {path}: {name} is {array.dtype}{list(array.shape)}, expected uint8 "
                "[S, 3, N]."
            )
    count = len(low)
    if high.shape != low.shape or labels.shape != (count,) or len(arrays["item_name"]) != count:
        raise InputError(
            f"shapes file {path}: points_lo, points_hi, class_id and item_name must describe the "
            "same shapes."
        )
    if labels.min() < 0 or labels.max() >= len(arrays["class_names"]):
        raise InputError(f"shapes file {path}: class_id must hold indices into class_names.")

"""Reads the depth maps of MSR-Action3D, or the point clouds that were made of them.

- `aXX_sYY_eZZ_sdepth.bin`: the authors' files. Little-endian uint32 throughout: the number of
  frames, the width (320) and the height (240) of a map, then the maps, row by row, 0 where nothing
  is.
- `aXX_sYY_eZZ_sdepth.npz`: the points that MeteorNet's converter (action_cls/preprocess_file.py of
  github.com/xingyul/meteornet) makes of these maps, in `point_clouds`. Published results use them.

Both give the same points, in the order of the pixels: x to the right of and y below the middle of
the map, z away from the camera, in units of the depth values. As in the converter the focal length
is 280 pixels for any size of the map, and the optical center is half of width and height. (Both are
assumptions: neither the camera's calibration nor the unit is published.) The converter stops at a
frame without a depth. Here such frames are left out, with a warning.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pointata_jax.data.file_faults import unreadable
from pointata_jax.datasets import object_arrays
from pointata_jax.errors import InputError

SUFFIX = "_sdepth.npz"
MAPS_SUFFIX = "_sdepth.bin"

FOCAL_LENGTH = 280.0
"""In pixels, as in MeteorNet's converter."""

LARGEST_SIDE = 4096
LARGEST_DEPTH = 65_535
"""Largest value of 16 bits, which depth cameras give."""

_HEADER = np.dtype(("<u4", 3))


def read_frames(path: str | Path) -> list[np.ndarray]:
    """The clouds of one recording: T arrays (n, 3), in the units of the file.

    Clouds of depth maps are float64, as the converter makes them; those of an npz file (from
    `point_clouds`, or from `points` with `frame_sizes`) are as `object_arrays.read_frames` gives
    them.

    Raises:
      InputError: the file cannot be read, is cut off, or does not hold such maps or clouds.
    """
    path = Path(path)
    if path.suffix.lower() != ".bin":
        return object_arrays.read_frames(path, "point_clouds")
    try:
        with path.open("rb") as file:
            frames, empty = _read_maps(file, path)
    except OSError as error:
        raise unreadable(path, error) from None
    if not frames:
        raise InputError(f"{path} has no depth in any of its {empty} frames; remove it.")
    if empty:
        warnings.warn(
            f"{path}: {empty} of {empty + len(frames)} frames have no depth anywhere and were left "
            "out.",
            UserWarning,
            stacklevel=2,
        )
    return frames


def depth_points(depth: np.ndarray) -> np.ndarray:
    """The points float64 (n, 3) of the pixels of a depth map [H, W] that have a depth."""
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    height, width = depth.shape
    x = (columns - width / 2) / FOCAL_LENGTH * z
    y = (rows - height / 2) / FOCAL_LENGTH * z
    return np.stack([x, y, z], axis=-1)


def _read_maps(file: BinaryIO, path: Path) -> tuple[list[np.ndarray], int]:
    """The clouds of the frames with a depth, and the number of the other frames."""
    size = os.fstat(file.fileno()).st_size
    header = file.read(_HEADER.itemsize)
    if len(header) < _HEADER.itemsize:
        raise InputError(
            f"{path} is cut off: it has {size} bytes, its header alone 12; copy it again."
        )
    count, width, height = np.frombuffer(header, "<u4").tolist()
    if not count or not 1 <= width <= LARGEST_SIDE or not 1 <= height <= LARGEST_SIDE:
        raise InputError(
            f"{path} begins with the size of {count} depth maps of {width} x {height} pixels: it "
            "is no file of MSR-Action3D or damaged, copy it again."
        )
    expected = _HEADER.itemsize + 4 * count * width * height
    if size != expected:
        raise InputError(
            f"{path} has {size} bytes, {count} depth maps of {width} x {height} pixels take "
            f"{expected}: it is {'cut off' if size < expected else 'damaged'}, copy it again."
        )
    frames, empty = [], 0
    for number in range(count):
        depth = np.frombuffer(file.read(4 * width * height), "<u4").reshape(height, width)
        if depth.max() > LARGEST_DEPTH:
            raise InputError(
                f"{path}, frame {number} holds the depth {depth.max()}, more than the "
                f"{LARGEST_DEPTH} of a depth camera: it is damaged, copy it again."
            )
        points = depth_points(depth)
        if len(points):
            frames.append(points)
        else:
            empty += 1
    return frames, empty

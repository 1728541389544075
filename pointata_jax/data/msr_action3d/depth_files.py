"""Reads the point clouds that were made of MSR-Action3D's depth maps (`aXX_sYY_eZZ_sdepth.npz`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointata_jax.data import object_arrays

SUFFIX = "_sdepth.npz"


def read_frames(path: str | Path) -> list[np.ndarray]:
    """The clouds of one recording: T arrays float32 (n, 3), in the units of the file.

    Read from `point_clouds`, or from `points` with `frame_sizes`; see `object_arrays.read_frames`.

    Raises:
      InputError: the file cannot be read or does not hold such clouds.
    """
    return object_arrays.read_frames(path, "point_clouds")

"""Reads files of one shape: a cloud as array or text, or a mesh whose surface is sampled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pointata_jax.data.array_files import read_arrays, read_npy
from pointata_jax.data.schema import COORDINATES
from pointata_jax.errors import InputError
from pointata_jax.shapes.cloud_tables import read_table
from pointata_jax.shapes.meshes import read_off, surface_points

SUFFIXES = (".npy", ".npz", ".txt", ".xyz", ".pts", ".off")
"""Endings of the files that are read, in lower case."""

DAMAGED = "shape file {path} cannot be read ({why}); repair or remove it."
"""Message for a damaged file, the `sentence` of `file_faults.unreadable`."""

_NOTE_NAMES = ("readme", "licence", "license", "notice", "changelog", "citation")

Sampler = Callable[[int, np.random.Generator], np.ndarray]
"""Samples N points [N, 3] of one shape, from N and a random generator."""


def is_cloud_name(name: str) -> bool:
    """Whether a file with one of `SUFFIXES` may be a cloud, and not a README or license."""
    return not (name.lower().endswith(".txt") and name.lower().startswith(_NOTE_NAMES))


def open_cloud(path: Path) -> Sampler:
    """Reads a file of one shape and returns its sampler.

    Raises:
      InputError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".off":
        return mesh_points(path)
    return random_points(read_table(path) if suffix in (".txt", ".xyz", ".pts") else _array(path))


def random_points(cloud: np.ndarray) -> Sampler:
    """Sampler of a cloud [M, 3]: without replacement if it has enough points."""

    def sample(num_points: int, rng: np.random.Generator) -> np.ndarray:
        return cloud[rng.choice(len(cloud), num_points, replace=len(cloud) < num_points)]

    return sample


def mesh_points(path: Path, *, z_up: bool = False) -> Sampler:
    """Sampler of the surface of an OFF file.

    Args:
      path: the file.
      z_up: the z axis of the file points up, so rotate the mesh until y does.
    """
    vertices, triangles = read_off(path)
    if z_up:
        vertices = vertices[:, [0, 2, 1]] * [1.0, 1.0, -1.0]

    def sample(num_points: int, rng: np.random.Generator) -> np.ndarray:
        try:
            return surface_points(vertices, triangles, num_points, rng)
        except InputError as error:
            raise InputError(f"mesh {path}: {error}") from None

    return sample


def _array(path: Path) -> np.ndarray:
    """The points [M, 3] of an npy file or of the array `points` of an npz file."""
    if path.suffix.lower() == ".npy":
        cloud = read_npy(path, damaged=DAMAGED)
    else:
        arrays = read_arrays(path, damaged=DAMAGED)
        if "points" not in arrays:
            raise InputError(
                f"shape file {path} lacks the array `points`; it holds "
                f"{', '.join(arrays) or 'nothing'}."
            )
        cloud = arrays["points"]
    return check_cloud(cloud, path)


def check_cloud(cloud: np.ndarray, path: Path) -> np.ndarray:
    """The coordinates [M, 3] of an array [M, C], or of a structured array with fields x, y and z.

    Raises:
      InputError: no points, fewer than three columns, or values that are not numbers.
    """
    if cloud.dtype.names and set(COORDINATES) <= set(cloud.dtype.names):
        cloud = np.stack([cloud[name].astype(np.float64) for name in COORDINATES], axis=-1)
    if cloud.ndim != 2 or cloud.shape[1] < 3 or not len(cloud):
        raise InputError(f"shape file {path} must hold points [N, 3], found shape {cloud.shape}.")
    if cloud.dtype.kind not in "fiu":
        raise InputError(f"shape file {path} holds {cloud.dtype}, expected numbers.")
    return cloud[:, :3]

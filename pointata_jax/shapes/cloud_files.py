"""One static cloud per file: arrays, text, or a mesh that points are drawn from."""

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
"""Endings of the files that are read, in small letters."""

DAMAGED = "shape file {path} cannot be read ({why}): repair or remove it."
"""The sentence about a damaged file (`file_faults.unreadable`)."""

_NOTES = ("readme", "licence", "license", "notice", "changelog", "citation")

Sampler = Callable[[int, np.random.Generator], np.ndarray]
"""Draws N points [N, 3] of one shape."""


def is_cloud_name(name: str) -> bool:
    """Whether a file with one of `SUFFIXES` may be a cloud: a README or license is none."""
    return not (name.lower().endswith(".txt") and name.lower().startswith(_NOTES))


def open_cloud(path: Path) -> Sampler:
    """What draws points of the shape in a file; InputError, naming it, if it cannot be read."""
    suffix = path.suffix.lower()
    if suffix == ".off":
        return mesh_points(path)
    return random_points(read_table(path) if suffix in (".txt", ".xyz", ".pts") else _array(path))


def random_points(cloud: np.ndarray) -> Sampler:
    """Draws points of a cloud [M, 3], all different as long as there are enough."""

    def sample(num_points: int, rng: np.random.Generator) -> np.ndarray:
        return cloud[rng.choice(len(cloud), num_points, replace=len(cloud) < num_points)]

    return sample


def mesh_points(path: Path, *, z_up: bool = False) -> Sampler:
    """Draws points of the surface of an OFF file; `z_up` turns it so that y is up."""
    vertices, triangles = read_off(path)
    if z_up:
        vertices = vertices[:, [0, 2, 1]] * [1.0, 1.0, -1.0]

    def sample(num_points: int, rng: np.random.Generator) -> np.ndarray:
        try:
            return surface_points(vertices, triangles, num_points, rng)
        except InputError as error:
            raise InputError(f"mesh {path}: {error} Repair or remove it.") from None

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
    """The points [M, 3] of an array [M, C] of numbers, or of one with the fields x, y and z."""
    if cloud.dtype.names and set(COORDINATES) <= set(cloud.dtype.names):
        cloud = np.stack([cloud[name].astype(np.float64) for name in COORDINATES], axis=-1)
    if cloud.ndim != 2 or cloud.shape[1] < 3 or not len(cloud):
        raise InputError(f"shape file {path} must hold points [N, 3], found shape {cloud.shape}.")
    if cloud.dtype.kind not in "fiu":
        raise InputError(f"shape file {path} holds {cloud.dtype}, expected numbers.")
    return cloud[:, :3]

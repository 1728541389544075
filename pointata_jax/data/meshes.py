"""Meshes in OFF files, and points drawn from their surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointata_jax.errors import InputError


def read_off(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float64 `[V, 3]` and triangles int64 `[F, 3]` of an OFF file.

    Polygons become fans of triangles. Numbers may follow the word OFF on its line, without a blank
    even, as they do in some files of ModelNet40.

    Raises:
      InputError: not an OFF file, cut off, or faces of vertices that are not there.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"mesh {path} cannot be read ({error}): repair or remove it.") from error
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if not lines or not lines[0].startswith("OFF"):
        raise InputError(f"mesh {path} is not an OFF file: its first word is not OFF.")
    rows = ([lines[0][3:]] if lines[0][3:].strip() else []) + lines[1:]
    try:
        count, faces = (int(number) for number in rows[0].split()[:2])
        vertices = np.array([row.split()[:3] for row in rows[1 : 1 + count]], np.float64)
        polygons = [
            [int(number) for number in row.split()] for row in rows[1 + count : 1 + count + faces]
        ]
    except (ValueError, IndexError) as error:
        raise InputError(f"mesh {path} is damaged ({error}): copy it again.") from None
    if vertices.shape != (count, 3) or len(polygons) != faces:
        raise InputError(
            f"mesh {path} announces {count} vertices and {faces} faces and holds {len(vertices)} "
            f"and {len(polygons)}: it is cut off, copy it again."
        )
    triangles = [
        (row[1], row[i], row[i + 1])
        for row in polygons
        for i in range(2, row[0])
        if len(row) > row[0]
    ]
    if sum(max(row[0] - 2, 0) for row in polygons) != len(triangles) or not triangles:
        raise InputError(f"mesh {path} has no faces, or a face that lacks corners: copy it again.")
    corners = np.array(triangles, np.int64)
    if corners.min() < 0 or corners.max() >= count:
        raise InputError(
            f"mesh {path} has a face with the vertex {int(corners.max())}, there are {count}."
        )
    return vertices, corners


def surface_points(
    vertices: np.ndarray, triangles: np.ndarray, num_points: int, rng: np.random.Generator
) -> np.ndarray:
    """Points uniform over the area of triangles, float64 `[N, 3]`.

    Args:
      vertices: `[V, 3]`.
      triangles: int `[F, 3]`.
      num_points: number N of points.
      rng: source of randomness.

    Raises:
      InputError: a surface without area, or corners that are not finite.
    """
    corners = vertices[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(first, second), axis=-1)
    total = float(area.sum())
    if not np.isfinite(total) or total <= 0:
        raise InputError("The mesh has no area, or corners that are NaN or infinite.")
    chosen = rng.choice(len(area), num_points, p=area / total)
    along = rng.random((2, num_points, 1))
    # A point of the parallelogram beyond the diagonal is turned back into the triangle.
    along = np.where(along.sum(0) > 1.0, 1.0 - along, along)
    return corners[chosen, 0] + along[0] * first[chosen] + along[1] * second[chosen]

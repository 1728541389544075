"""Reads meshes from OFF files, and samples points of their surface."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np

from pointata_jax.data.text_files import DECIMAL_COMMA, decode_text, read_content
from pointata_jax.errors import InputError

# The prefix of OFF stands for values of the vertices: ST texture coordinates, C colors, N normals,
# 4 or n other numbers of dimensions.
_HEAD = re.compile(r"(?P<prefix>[A-Za-z0-9]*?)OFF(?P<rest>.*)", re.IGNORECASE)
_BINARY = re.compile(rb"[A-Za-z0-9]*OFF[ \t]+BINARY", re.IGNORECASE)


def read_off(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vertices and triangles of an OFF file.

    Variants with normals, colors and texture coordinates of the vertices (NOFF, COFF, STOFF,
    CNOFF …) are read, but only the coordinates are returned. Colors of faces are skipped, whether
    integers or fractions, in any number. Polygons are split into fans of triangles. Faces of one or
    two corners are dropped. Numbers may follow the word OFF on the same line, even without a blank,
    as in some files of ModelNet40. Comments and empty lines may be anywhere.

    Returns:
      Vertices float64 `[V, 3]` and triangles int64 `[F, 3]`, indices into the vertices.

    Raises:
      InputError: the file is not an OFF file, binary or cut off, has no faces, vertices that are
        not 3D, decimal commas, or faces with vertices that do not exist.

    Warns:
      UserWarning: the file has lines after the last face.
    """
    content = read_content(path)
    if _BINARY.search(content[:200].split(b"\n", 1)[0]):
        raise InputError(
            f"mesh {path} is a binary OFF file, which is not supported; convert it to text."
        )
    lines = [line.partition("#")[0].strip() for line in decode_text(content, path).split("\n")]
    lines = [line for line in lines if line]
    head = _HEAD.match(lines[0]) if lines else None
    rest = head["rest"].strip() if head else ""
    if head is None or not re.fullmatch(r"[\d\s+-]*", rest):
        raise InputError(f"mesh {path} is not an OFF file; its first word is not OFF.")
    _check_variant(head["prefix"], lines[0], path)
    rows = ([rest] if rest else []) + lines[1:]
    try:
        count, num_faces = _counts(rows[0].split())
        vertices = np.array([row.split()[:3] for row in rows[1 : 1 + count]], np.float64)
        faces = [_corners(row.split()) for row in rows[1 + count : 1 + count + num_faces]]
    except (ValueError, IndexError) as error:
        commas = [word for row in rows for word in row.split() if DECIMAL_COMMA.fullmatch(word)]
        if commas:
            raise InputError(
                f"mesh {path} has the number {commas[0]!r}; write decimal points, not commas."
            ) from None
        raise InputError(f"mesh {path} is damaged ({error}); copy it again.") from None
    if vertices.shape != (count, 3) or len(faces) != num_faces:
        raise InputError(
            f"mesh {path} announces {count} vertices and {num_faces} faces and holds "
            f"{len(vertices)} and {len(faces)}; it is cut off, copy it again."
        )
    if any(size != len(corners) for size, corners in faces):
        raise InputError(f"mesh {path} has a face that lacks corners; copy it again.")
    triangles = [
        (corners[0], corners[i], corners[i + 1])
        for size, corners in faces
        for i in range(1, size - 1)
    ]
    if not triangles:
        raise InputError(
            f"mesh {path} has no faces, so there is no surface to sample; save its vertices as a "
            "cloud (.xyz), or remove it."
        )
    indices = np.array([corner for _, corners in faces for corner in corners], np.int64)
    wrong = indices[(indices < 0) | (indices >= count)]
    if len(wrong):
        raise InputError(
            f"mesh {path} has a face with the vertex {int(wrong[0])}, but only {count} vertices; "
            "repair or remove it."
        )
    if len(rows) > 1 + count + num_faces:
        warnings.warn(
            f"mesh {path} has {len(rows) - 1 - count - num_faces} lines after its {num_faces} "
            "faces, which were left out.",
            UserWarning,
            stacklevel=2,
        )
    return vertices, np.array(triangles, np.int64)


def _check_variant(prefix: str, line: str, path: str | Path) -> None:
    """InputError for variants of OFF whose first three numbers are not x, y, z."""
    # nOFF has any number of dimensions; NOFF, noff and Noff have normals.
    if "4" in prefix or (prefix.endswith("n") and line[len(prefix) :].startswith("OFF")):
        raise InputError(
            f"mesh {path} is a {prefix}OFF file, whose vertices are not 3D; convert it to a plain "
            "OFF file."
        )
    if not re.fullmatch(r"(?:ST|C|N)*", prefix, re.IGNORECASE):
        raise InputError(f"mesh {path} is not an OFF file; its first word is not OFF.")


def _counts(words: list[str]) -> tuple[int, int]:
    if len(words) not in (2, 3):  # The third one counts edges and is ignored.
        raise ValueError(f"{len(words)} numbers of vertices and faces")
    count, num_faces = (int(word) for word in words[:2])
    if count < 0 or num_faces < 0:
        raise ValueError("a negative number of vertices or faces")
    return count, num_faces


def _corners(words: list[str]) -> tuple[int, list[int]]:
    """The stated number of corners of a face, and its corners; a color may follow them."""
    size = int(words[0])
    if size < 0:
        raise ValueError(f"a face of {size} corners")
    for word in words[1 + size :]:
        float(word)
    return size, [int(word) for word in words[1 : 1 + size]]


def surface_points(
    vertices: np.ndarray, triangles: np.ndarray, num_points: int, rng: np.random.Generator
) -> np.ndarray:
    """Samples points uniformly over the area of triangles, float64 `[N, 3]`.

    Args:
      vertices: positions of the vertices, `[V, 3]`.
      triangles: int `[F, 3]`, indices into the vertices.
      num_points: number N of points.
      rng: random generator.

    Raises:
      InputError: a surface without area, or corners that are not finite.
    """
    corners = np.asarray(vertices, np.float64)[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):  # The total is checked below.
        area = np.linalg.norm(np.cross(first, second), axis=-1)
    total = float(area.sum())
    if not np.isfinite(total) or total <= 0:
        raise InputError(
            "The surface has no area, or corners that are NaN or infinite; repair or remove the "
            "mesh."
        )
    chosen = rng.choice(len(area), num_points, p=area / total)
    along = rng.random((2, num_points, 1))
    # A point of the parallelogram beyond the diagonal is reflected into the triangle.
    along = np.where(along.sum(0) > 1.0, 1.0 - along, along)
    return corners[chosen, 0] + along[0] * first[chosen] + along[1] * second[chosen]

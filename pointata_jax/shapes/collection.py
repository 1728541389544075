"""Loads static 3D shapes for pre-training and source banks."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from pointata_jax.data.array_files import read_arrays
from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.precision import check_resolution
from pointata_jax.errors import InputError
from pointata_jax.shapes import cloud_files, delta_packs, shape_archives

_BLOCK_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Clouds of equal size with optional classes.

    Attributes:
      points: float32, each cloud in the unit sphere around its centroid, y up.
      labels: int32, index into `class_names`, -1 where the shape has no class.
      class_names: names of the classes; empty if the data have none.
      names: names of the shapes; empty if the data have none.
    """

    points: Float[np.ndarray, "shapes n 3"]
    labels: Int[np.ndarray, " shapes"]
    class_names: tuple[str, ...]
    names: tuple[str, ...] = ()

    def labeled(self) -> Shapes:
        """The shapes that have a class."""
        return self.select(np.flatnonzero(self.labels >= 0))

    def select(self, indices: Int[np.ndarray, " chosen"]) -> Shapes:
        """Some of the shapes, with all class names."""
        names = tuple(self.names[index] for index in indices.tolist()) if self.names else ()
        return Shapes(self.points[indices], self.labels[indices], self.class_names, names)


def join(parts: Sequence[Shapes]) -> Shapes:
    """All shapes of several sets. Classes with the same name are one class.

    Raises:
      InputError: the sets differ in the number of points.
    """
    if len(parts) == 1:
        return parts[0]
    sizes = {part.points.shape[1] for part in parts}
    if len(sizes) > 1:
        raise InputError(
            f"shapes of {', '.join(map(str, sorted(sizes)))} points cannot be joined: give a "
            "number of points that all of them have."
        )
    class_names = tuple(dict.fromkeys(name for part in parts for name in part.class_names))
    labels = []
    for part in parts:
        table = np.array([class_names.index(name) for name in part.class_names] + [-1], np.int32)
        labels.append(table[part.labels])  # The label -1 takes the last entry.
    names = tuple(name for part in parts for name in (part.names or ("",) * len(part.labels)))
    return Shapes(
        np.concatenate([part.points for part in parts]),
        np.concatenate(labels),
        class_names,
        names if any(names) else (),
    )


def unit_sphere(points: np.ndarray) -> Float[np.ndarray, "... n 3"]:
    """Centers clouds at their centroid and scales them to radius 1, float64.

    All arithmetic is done in float64, so that neither a distant origin nor a narrow type costs
    accuracy. A cloud of equal points is moved to the origin.

    Args:
      points: clouds `[..., N, 3]` of any real type.
    """
    points = np.asarray(points, np.float64)
    # Relative to a point of the cloud first, so that the sum for the mean keeps its digits.
    near = points - points[..., :1, :]
    centered = near - near.mean(-2, keepdims=True)
    largest = np.abs(centered).max((-2, -1), keepdims=True)
    # In two steps, because squares of very large or small coordinates overflow or underflow.
    centered = centered / np.where(largest > 0, largest, 1.0)
    radius = np.sqrt(np.square(centered).sum(-1, keepdims=True)).max(-2, keepdims=True)
    return centered / np.where(radius > 0, radius, 1.0)


def load_shapes(
    path: str | os.PathLike,
    *,
    num_points: int = 2048,
    seed: int = 0,
    split: str = "train",
    partial: bool = False,
) -> Shapes:
    """Reads shapes from a packed `.npz` file, from a folder, or from a public archive.

    A packed file holds `points` `[S, N, 3]` (floats, or fixed-point integers) and optionally
    `label` `[S]` (-1: no class) with `classes`, and `name` `[S]`; or it is a pack of differences
    (`delta_packs`). A folder holds one cloud per file: .npy, .npz with
    `points`, text (`cloud_tables`), or a mesh in .off, sampled uniformly by area. The names of its
    sub-folders are the classes. ModelNet40 and ShapeNet-55 are recognized by their layouts
    (`shape_archives`).

    Args:
      path: file or folder.
      num_points: number of points per shape after sampling; smaller clouds repeat points. The
        clouds of a packed file are truncated to their first `num_points` and never repeated; those
        of a pack of differences are shuffled before.
      seed: seed of the sampling or shuffling.
      split: "train" or "test", for archives.
      partial: accept an archive with other counts than the published ones.

    Raises:
      InputError: missing, empty or damaged input, coordinates that are not finite, or a shape whose
        points are all equal.

    Warns:
      UserWarning: entries of a folder or archive were left out.
    """
    path = Path(path)
    if num_points < 1:
        raise InputError(f"num_points is {num_points}; give at least 1.")
    if path.is_file():
        return _read_packed(path, num_points, seed)
    if not path.is_dir():
        raise InputError(
            f"shapes {path} do not exist; give --shapes a packed .npz file or a folder of clouds."
        )
    layout = shape_archives.recognize(path)
    if layout is None:
        count, names, shapes = _list_folder(path)
    else:
        archive = shape_archives.open_archive(path, layout, split, partial=partial)
        count, names, shapes = archive.count, archive.class_names, archive.shapes
    rng = np.random.default_rng(seed)
    points = np.zeros((count, num_points, 3), np.float32)
    labels = np.zeros(count, np.int32)
    # Sampled one by one, because 50,000 clouds of 8,192 points need 5 GB.
    for index, (sample, label, name) in enumerate(shapes):
        cloud = sample(num_points, rng)
        _check_coordinates(cloud, name)
        points[index], labels[index] = unit_sphere(cloud), label
    return Shapes(points, labels, names)


def _check_coordinates(cloud: np.ndarray, name: str) -> None:
    if not np.isfinite(cloud).all():
        raise InputError(f"{name} has coordinates that are NaN or infinite; repair or remove it.")
    check_resolution(cloud, name)
    if len(cloud) > 1 and (cloud == cloud[0]).all():
        raise InputError(f"{name} has only equal points; repair or remove it.")


def _read_packed(path: Path, num_points: int, seed: int) -> Shapes:
    arrays = read_arrays(
        path,
        ("points", "label", "classes", "name", *delta_packs.ARRAYS),
        damaged="shapes file {path} cannot be read ({why}); it is truncated or not an npz file, "
        "copy it again.",
    )
    if "points_lo" in arrays:
        return _read_delta_pack(arrays, path, num_points, seed)
    stored = arrays.get("points", np.zeros(0))
    if (
        stored.ndim != 3
        or stored.shape[2] != 3
        or not stored.size
        or stored.dtype.kind not in "fiu"
    ):
        raise InputError(f"shapes file {path} needs an array `points` of numbers, shape [S, N, 3].")
    names = _class_names(arrays.get("classes", np.zeros(0, "U1")), path)
    labels = arrays.get("label", np.full(len(stored), -1))
    labels = labels[:, 0] if labels.shape == (len(stored), 1) else labels
    fits = labels.shape == (len(stored),) and labels.dtype.kind in "iu"
    if not fits or labels.min() < -1 or labels.max() >= len(names):
        raise InputError(
            f"shapes file {path}: `label` must be integers [S], indices into `classes`, or -1."
        )
    stored = stored[:, :num_points]
    points = np.empty(stored.shape, np.float32)
    # Computed in blocks of shapes to bound the memory for float64.
    for start in range(0, len(stored), _BLOCK_SIZE):
        block = stored[start : start + _BLOCK_SIZE].astype(np.float64)
        # Integer coordinates are fixed-point numbers: the largest integer stands for 1.
        if stored.dtype.kind in "iu":
            block /= np.iinfo(stored.dtype).max
        for index, cloud in enumerate(stored[start : start + len(block)], start):
            _check_coordinates(cloud, f"shape {index} of {path}")
        points[start : start + len(block)] = unit_sphere(block)
    return Shapes(points, labels.astype(np.int32), names, _item_names(arrays, len(stored)))


def _item_names(arrays: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
    stored = arrays.get("name", np.zeros(0, "U1"))
    fits = stored.shape == (count,) and stored.dtype.kind == "U"
    return tuple(stored.tolist()) if fits else ()


def _read_delta_pack(
    arrays: dict[str, np.ndarray], path: Path, num_points: int, seed: int
) -> Shapes:
    delta_packs.check_pack(arrays, path)
    low, high = arrays["points_lo"], arrays["points_hi"]
    count, size = len(low), min(num_points, low.shape[2])
    points = np.empty((count, size, 3), np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, count, _BLOCK_SIZE):
        block = slice(start, start + _BLOCK_SIZE)
        clouds = delta_packs.decode_points(low[block], high[block])
        # In the order of the curve, the first points of a shape are a part of its surface.
        order = np.argsort(rng.random(clouds.shape[:2]), axis=1)[:, :size]
        clouds = np.take_along_axis(clouds, order[..., None], axis=1)
        for index, cloud in enumerate(clouds, start):
            _check_coordinates(cloud, f"shape {index} of {path}")
        points[block] = unit_sphere(clouds)
    return Shapes(
        points,
        arrays["class_id"].astype(np.int32),
        _class_names(arrays["class_names"], path),
        tuple(str(name) for name in arrays["item_name"].tolist()),
    )


def _class_names(stored: np.ndarray, path: Path) -> tuple[str, ...]:
    if stored.ndim != 1 or stored.dtype.kind not in "US" and stored.size:
        raise InputError(f"shapes file {path}: `classes` must be a list of names.")
    return tuple(
        name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        for name in stored.tolist()
    )


def _list_folder(
    path: Path,
) -> tuple[int, tuple[str, ...], Iterator[tuple[cloud_files.Sampler, int, str]]]:
    walk = walk_files(path, cloud_files.SUFFIXES, names=cloud_files.is_cloud_name)
    if not walk.files:
        raise InputError(
            f"folder {path} holds no shapes ({', '.join(cloud_files.SUFFIXES)}); give --shapes a "
            f"folder of clouds, one file each. {walk.sentence()}".rstrip()
        )
    walk.report(stacklevel=3)
    files = walk.files
    classes = [file.parent.relative_to(path).as_posix() for file in files]
    names = tuple(sorted(set(classes) - {"."}))

    def shapes() -> Iterator[tuple[cloud_files.Sampler, int, str]]:
        for file, name in zip(files, classes, strict=True):
            label = names.index(name) if name in names else -1
            yield cloud_files.open_cloud(file), label, f"shape file {file}"

    return len(files), names, shapes()

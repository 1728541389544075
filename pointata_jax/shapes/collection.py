"""Static 3D shapes for pre-training and source banks: packed files, folders, public archives."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pointata_jax.data.array_files import read_arrays
from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.precision import check_resolution
from pointata_jax.errors import InputError
from pointata_jax.shapes import cloud_files, shape_archives

_SHAPES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Clouds of equal size with optional classes.

    Attributes:
      points: float32 `[S, N, 3]`, each in the unit sphere around its centroid, y up.
      labels: int32 `[S]`, index into `class_names`, -1 where the shape has no class.
      class_names: names of the classes; empty when the data carry none.
    """

    points: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def labeled(self) -> Shapes:
        """The part that has a class."""
        keep = self.labels >= 0
        return Shapes(self.points[keep], self.labels[keep], self.class_names)


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Centers clouds `[..., N, 3]` at their centroid and scales them to radius 1; float64.

    All arithmetic is done in float64, whatever numbers come in, so that neither a far origin nor
    a narrow type costs digits. A cloud that is one point many times stays in the origin.
    """
    points = np.asarray(points, np.float64)
    # From a point of the cloud, so that the sum for the mean stays as small as the cloud.
    near = points - points[..., :1, :]
    centered = near - near.mean(-2, keepdims=True)
    largest = np.abs(centered).max((-2, -1), keepdims=True)
    # In two steps, since squares of very small or large coordinates are not finite numbers.
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
    """Reads shapes from one packed `.npz`, from a folder, or from a public archive.

    A packed file holds `points` `[S, N, 3]` (floats, or fixed-point integers) and optionally
    `label` `[S]` (-1 = none) with `classes`. A folder holds one cloud per file (.npy, .npz with
    `points`, text with columns as `cloud_tables` reads them, or a mesh in .off, sampled by area);
    the names of sub-folders are the classes, and what was left out is said in a UserWarning
    (`folder_walk`). ModelNet40 and ShapeNet-55 are recognized by their layouts
    (`pointata_jax.shapes.shape_archives`).

    Args:
      path: file or folder.
      num_points: points per shape after sampling; smaller clouds repeat points. The clouds of a
        packed file are cut to their first `num_points`, and stay as they are where they have fewer.
      seed: of the sampling of a folder's clouds.
      split: "train" or "test", for archives that have them.
      partial: use an archive whose counts are not the published ones.

    Raises:
      InputError: missing, empty or damaged input, coordinates that are not finite, or a shape whose
        points are all the same.
    """
    path = Path(path)
    if num_points < 1:
        raise InputError(f"num_points is {num_points}; a shape needs at least one point.")
    if path.is_file():
        return _read_packed(path, num_points)
    if not path.is_dir():
        raise InputError(
            f"shapes {path} do not exist: give --shapes a packed .npz file or a folder of clouds."
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
    # One after the other: an archive of 50,000 clouds of 8,192 points would fill 5 GB.
    for index, (sample, label, name) in enumerate(shapes):
        cloud = sample(num_points, rng)
        _check_coordinates(cloud, name)
        points[index], labels[index] = unit_sphere(cloud), label
    return Shapes(points, labels, names)


def _check_coordinates(cloud: np.ndarray, name: str) -> None:
    if not np.isfinite(cloud).all():
        raise InputError(f"{name} has coordinates that are NaN or infinite: repair it.")
    check_resolution(cloud, name)
    if len(cloud) > 1 and (cloud == cloud[0]).all():
        raise InputError(f"{name} has all its points in one place: repair or remove it.")


def _read_packed(path: Path, num_points: int) -> Shapes:
    arrays = read_arrays(
        path,
        ("points", "label", "classes"),
        damaged="shapes file {path} cannot be read ({why}): it is truncated or no npz; get it "
        "again.",
    )
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
            f"shapes file {path}: `label` must be integers [S], indices into `classes` or -1."
        )
    stored = stored[:, :num_points]
    points = np.empty(stored.shape, np.float32)
    # Part by part: in float64 the whole would fill twice the memory.
    for start in range(0, len(stored), _SHAPES_AT_ONCE):
        part = stored[start : start + _SHAPES_AT_ONCE].astype(np.float64)
        # Integer coordinates are fixed-point numbers: the largest integer stands for 1.
        if stored.dtype.kind in "iu":
            part /= np.iinfo(stored.dtype).max
        for index, cloud in enumerate(stored[start : start + len(part)], start):
            _check_coordinates(cloud, f"shape {index} of {path}")
        points[start : start + len(part)] = unit_sphere(part)
    return Shapes(points, labels.astype(np.int32), names)


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
            f"folder {path} holds no shapes ({', '.join(cloud_files.SUFFIXES)}): give --shapes a "
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


class PairBatches:
    """Endless shuffled batches of pairs; the whole state is the number of batches drawn.

    Yields `{"points", "partners"}`, float32 `[B + P, N, 3]` each: B shapes that are their own
    partners, then P pairs of two members of one family, all of different families. Epoch e of the
    shapes is a permutation drawn from (seed, e); batches run over the epochs' seam, so every batch
    is full.

    Args:
      points: shapes `[S, N, 3]`.
      batch_size: B.
      seed: of the order and of the pairs.
      families: `[F, M, N, 3]`, M members each of F families.
      num_pairs: P, at most F.
    """

    def __init__(
        self,
        points: np.ndarray,
        batch_size: int,
        seed: int,
        families: np.ndarray | None = None,
        num_pairs: int = 0,
    ):
        if len(points) < batch_size:
            raise InputError(
                f"{len(points)} shapes cannot fill a batch of {batch_size}: lower --batch_size."
            )
        if num_pairs and (families is None or len(families) < num_pairs or families.shape[1] < 2):
            raise InputError(
                f"{num_pairs} pairs need as many families of at least two members, got "
                f"{0 if families is None else families.shape[:2]}."
            )
        self._points, self._batch_size, self._seed = points, batch_size, seed
        self._families, self._num_pairs = families, num_pairs
        self._next = 0

    def get_state(self) -> dict[str, int]:
        return {"next_index": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        self._next = int(state["next_index"])

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        size = len(self._points)
        positions = self._next * self._batch_size + np.arange(self._batch_size)
        epochs = (positions // size).tolist()
        orders = {e: np.random.default_rng((self._seed, e)).permutation(size) for e in set(epochs)}
        chosen = [orders[e][p % size] for e, p in zip(epochs, positions, strict=True)]
        points = partners = self._points[chosen]
        if self._families is not None and self._num_pairs:
            rng = np.random.default_rng((self._seed, self._next, self._num_pairs))
            kinds = rng.choice(len(self._families), self._num_pairs, replace=False)
            count = self._families.shape[1]
            pairs = [self._families[kind][rng.choice(count, 2, replace=False)] for kind in kinds]
            first, second = np.stack(pairs, axis=1)
            points, partners = np.concatenate([points, first]), np.concatenate([points, second])
        self._next += 1
        return {"points": points, "partners": partners}

"""Static 3D shapes for pre-training and source banks: packed files, folders, public archives."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pointata_jax.data import shape_archives
from pointata_jax.errors import InputError

_SUFFIXES = (".npy", ".npz", ".txt", ".xyz", ".pts", ".off")


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

    def labelled(self) -> Shapes:
        """The part that has a class."""
        keep = self.labels >= 0
        return Shapes(self.points[keep], self.labels[keep], self.class_names)


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Centres clouds `[..., N, 3]` at their centroid and scales them to radius 1."""
    centred = points - points.mean(-2, keepdims=True)
    radius = np.sqrt(np.square(centred).sum(-1, keepdims=True)).max(-2, keepdims=True)
    return centred / np.maximum(radius, 1e-9)


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
    `points`, text with three columns, or a mesh in .off, sampled by area); the names of sub-folders
    are the classes. ModelNet40 and ShapeNet-55 are recognised by their layouts
    (`pointata_jax.data.shape_archives`).

    Args:
      path: file or folder.
      num_points: points per shape after sampling; smaller clouds repeat points.
      seed: of the sampling of a folder's clouds.
      split: "train" or "test", for archives that have them.
      partial: use an archive whose counts are not the published ones.

    Raises:
      InputError: missing, empty or damaged input, or coordinates that are not finite.
    """
    path = Path(path)
    if path.is_file():
        points, labels, names = _read_packed(path)
        points = points[:, :num_points]
        bad = np.flatnonzero(~np.isfinite(points).all((1, 2)))
        if bad.size:
            raise _not_finite(f"shape {bad[0]} of {path}")
        return Shapes(unit_sphere(points).astype(np.float32), labels.astype(np.int32), names)
    if not path.is_dir():
        raise InputError(
            f"shapes {path} do not exist: give --shapes a packed .npz file or a folder of clouds."
        )
    layout = shape_archives.recognise(path)
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
        if not np.isfinite(cloud).all():
            raise _not_finite(name)
        points[index], labels[index] = unit_sphere(cloud), label
    return Shapes(points, labels, names)


def _not_finite(name: str) -> InputError:
    return InputError(f"{name} has coordinates that are NaN or infinite: repair it.")


def _read_packed(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("points", "label", "classes") if key in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"shapes file {path} cannot be read ({error}): it is truncated or no npz; get it again."
        ) from error
    points = arrays.get("points")
    if points is None or points.ndim != 3 or points.shape[2] != 3 or not len(points):
        raise InputError(f"shapes file {path} needs an array `points` of shape [S, N, 3].")
    # Integer coordinates are fixed-point numbers: the largest integer stands for 1.
    if np.issubdtype(points.dtype, np.integer):
        points = points / np.iinfo(points.dtype).max
    labels = arrays.get("label", np.full(len(points), -1))
    names = tuple(str(name) for name in arrays.get("classes", ()))
    if labels.shape != (len(points),) or (len(labels) and labels.max() >= max(len(names), 0)):
        raise InputError(f"shapes file {path}: `label` must be [S] with indices into `classes`.")
    return points, labels, names


def _list_folder(
    path: Path,
) -> tuple[int, tuple[str, ...], Iterator[tuple[shape_archives.Sampler, int, str]]]:
    files = sorted(f for f in path.rglob("*") if f.suffix in _SUFFIXES)
    if not files:
        raise InputError(
            f"folder {path} holds no shapes ({', '.join(_SUFFIXES)}): give --shapes a folder of "
            "clouds, one file each."
        )
    classes = [f.parent.relative_to(path).as_posix() for f in files]
    names = tuple(sorted(set(classes) - {"."}))

    def shapes() -> Iterator[tuple[shape_archives.Sampler, int, str]]:
        for file, name in zip(files, classes, strict=True):
            label = names.index(name) if name in names else -1
            yield _sampler(file), label, f"shape file {file}"

    return len(files), names, shapes()


def _sampler(file: Path) -> shape_archives.Sampler:
    if file.suffix == ".off":
        return shape_archives.mesh_points(file)
    if file.suffix not in (".npy", ".npz"):
        return shape_archives.random_points(shape_archives.read_table(file))
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                cloud = arrays["points"]
        else:
            cloud = np.load(file, allow_pickle=False)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"shape file {file} cannot be read ({error}): repair or remove it."
        ) from error
    if cloud.ndim != 2 or cloud.shape[1] < 3 or not len(cloud):
        raise InputError(f"shape file {file} must hold points [N, 3], found shape {cloud.shape}.")
    if not np.issubdtype(cloud.dtype, np.number):
        raise InputError(f"shape file {file} holds {cloud.dtype}, expected numbers.")
    return shape_archives.random_points(cloud[:, :3])


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

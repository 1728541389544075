"""Reads ModelNet40 and ShapeNet-55 in their public layouts.

  ModelNet40, HDF5    `shape_names.txt`, `train_files.txt`, `test_files.txt` and
                      `ply_data_*.h5` with `data` [S, 2048, 3] and `label` [S, 1]
                      (modelnet40_ply_hdf5_2048)
  ModelNet40, text    `modelnet40_shape_names.txt`, `modelnet40_train.txt`, `modelnet40_test.txt`
                      and `<class>/<class>_0001.txt` with x, y, z, normal
                      (modelnet40_normal_resampled)
  ModelNet40, meshes  `<class>/train/*.off` and `<class>/test/*.off`
  ShapeNet-55         `ShapeNet-55/train.txt`, `ShapeNet-55/test.txt` with names
                      `<taxonomy>-<id>.npy` of files in `shapenet_pc` (ShapeNet55-34 of PoinTr and
                      Point-BERT)

Numbers of shapes are checked against the published ones. Shapes are read and sampled one by one, so
the archive need not fit into memory.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.data.array_files import read_npy
from pointata_jax.data.file_faults import unreadable
from pointata_jax.data.folder_walk import sub_folders, walk_files
from pointata_jax.data.text_files import read_lines
from pointata_jax.errors import InputError
from pointata_jax.shapes.cloud_files import (
    DAMAGED,
    Sampler,
    check_cloud,
    mesh_points,
    random_points,
)
from pointata_jax.shapes.cloud_tables import read_table

SPLITS = ("train", "test")

_COMPLETE = "complete the copy, or give partial=True to use the shapes that are present"

MODELNET40_CLASSES = 40
COUNTS: dict[str, dict[str, int]] = {
    # The HDF5 files leave out three of the 9,843 training shapes.
    "modelnet40_h5": {"train": 9840, "test": 2468},
    "modelnet40_txt": {"train": 9843, "test": 2468},
    "modelnet40_off": {"train": 9843, "test": 2468},
    "shapenet55": {"train": 41952, "test": 10518},
}
"""Number of shapes in each split of the complete archives."""

SHAPENET55: dict[str, str] = {
    "02691156": "airplane",
    "02747177": "trash bin",
    "02773838": "bag",
    "02801938": "basket",
    "02808440": "bathtub",
    "02818832": "bed",
    "02828884": "bench",
    "02843684": "birdhouse",
    "02871439": "bookshelf",
    "02876657": "bottle",
    "02880940": "bowl",
    "02924116": "bus",
    "02933112": "cabinet",
    "02942699": "camera",
    "02946921": "can",
    "02954340": "cap",
    "02958343": "car",
    "02992529": "cellphone",
    "03001627": "chair",
    "03046257": "clock",
    "03085013": "keyboard",
    "03207941": "dishwasher",
    "03211117": "display",
    "03261776": "earphone",
    "03325088": "faucet",
    "03337140": "file cabinet",
    "03467517": "guitar",
    "03513137": "helmet",
    "03593526": "jar",
    "03624134": "knife",
    "03636649": "lamp",
    "03642806": "laptop",
    "03691459": "loudspeaker",
    "03710193": "mailbox",
    "03759954": "microphone",
    "03761084": "microwave",
    "03790512": "motorbike",
    "03797390": "mug",
    "03928116": "piano",
    "03938244": "pillow",
    "03948459": "pistol",
    "03991062": "flowerpot",
    "04004475": "printer",
    "04074963": "remote",
    "04090263": "rifle",
    "04099429": "rocket",
    "04225987": "skateboard",
    "04256520": "sofa",
    "04330267": "stove",
    "04379243": "table",
    "04401088": "telephone",
    "04460130": "tower",
    "04468005": "train",
    "04530566": "watercraft",
    "04554684": "washer",
}
"""Class names by ShapeNet's taxonomy numbers, in label order."""

# Two shapes of the published list have no id: 04379243-.npy and 02747177-.npy.
_SHAPENET_NAME = re.compile(r"(\d{8})-(.*)\.npy")


@dataclasses.dataclass(frozen=True)
class Archive:
    """The shapes of one split.

    Attributes:
      layout: a key of `COUNTS`.
      class_names: class names in label order.
      count: number of shapes.
      shapes: iterator over the sampler, the label and the name (for messages) of each shape.
    """

    layout: str
    class_names: tuple[str, ...]
    count: int
    shapes: Iterator[tuple[Sampler, int, str]]


def recognize(folder: Path) -> str | None:
    """The layout of a folder, a key of `COUNTS`, or None for a plain folder of clouds.

    The archive may also be the only sub-folder of the folder, as after unpacking.
    """
    return _find_layout(folder)[0]


def _find_layout(folder: Path) -> tuple[str | None, Path]:
    """The layout, and the folder that has it."""
    layout = _layout(folder)
    if layout is None:
        children = sub_folders(folder)
        if len(children) == 1 and (layout_below := _layout(children[0])) is not None:
            return layout_below, children[0]
    return layout, folder


def _layout(folder: Path) -> str | None:
    if (folder / "shape_names.txt").is_file() and any(
        (folder / f"{split}_files.txt").is_file() for split in SPLITS
    ):
        return "modelnet40_h5"
    if (folder / "modelnet40_shape_names.txt").is_file():
        return "modelnet40_txt"
    if _shapenet_lists(folder) is not None:
        return "shapenet55"
    for path in sub_folders(folder):
        parts = [part for part in sub_folders(path) if part.name in SPLITS]
        if any(walk_files(part, (".off",), depth=1).files for part in parts):
            return "modelnet40_off"
    return None


def open_archive(folder: Path, layout: str, split: str, *, partial: bool = False) -> Archive:
    """Opens one split of an archive.

    Args:
      folder: the unpacked archive.
      layout: the layout that `recognize` found, a key of `COUNTS`.
      split: "train" or "test".
      partial: accept other counts than the published ones, and leave out missing files.

    Raises:
      InputError: a missing list or file, other counts than the published ones, or a name that is
        listed twice or belongs to no class. Damaged files raise it later, when they are read.
    """
    if split not in SPLITS:
        raise InputError(f"The shapes of {folder} have the splits train and test, not {split!r}.")
    readers = {
        "modelnet40_h5": _hdf5,
        "modelnet40_txt": _text,
        "modelnet40_off": _off,
        "shapenet55": _shapenet,
    }
    archive = readers[layout](_find_layout(folder)[1], split, partial)
    expected = COUNTS[layout][split]
    if archive.count != expected and not partial:
        raise InputError(
            f"{folder} holds {archive.count} {split} shapes, the complete archive ({layout}) has "
            f"{expected}; {_COMPLETE}."
        )
    if not archive.count:
        raise InputError(f"{folder} holds no {split} shapes; copy the whole archive.")
    return archive


def _hdf5(folder: Path, split: str, partial: bool) -> Archive:
    names = _lines(folder / "shape_names.txt")
    _check_classes(names, folder / "shape_names.txt", partial)
    listed = _lines(folder / f"{split}_files.txt")
    # The lists contain the paths of the authors' machine.
    files = [folder / re.split(r"[\\/]", line)[-1] for line in listed]
    files = _existing(files, folder / f"{split}_files.txt", partial)
    count = sum(len(_hdf5_arrays(path, len(names), labels_only=True)[1]) for path in files)

    def shapes() -> Iterator[tuple[Sampler, int, str]]:
        for path in files:
            clouds, labels = _hdf5_arrays(path, len(names))
            for index, (cloud, label) in enumerate(zip(clouds, labels, strict=True)):
                yield random_points(cloud), int(label), f"shape {index} of {path}"

    return Archive("modelnet40_h5", names, count, shapes())


def _hdf5_arrays(
    path: Path, num_classes: int, *, labels_only: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Reads clouds [S, M, 3] and labels [S] of one file; with `labels_only` no clouds."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in ("data", "label") if key not in file]
            if missing:
                raise InputError(
                    f"{path} lacks the data set {missing[0]!r} of ModelNet40; copy it again."
                )
            data, stored = _dataset(file["data"]), _dataset(file["label"])
            shape, dtype = data.shape, data.dtype
            labels = np.asarray(stored[...])
            clouds = np.zeros((0, 0, 3)) if labels_only else np.asarray(data[...])
    except InputError:
        raise
    except Exception as error:
        raise unreadable(
            path,
            error,
            sentence="{path} cannot be read ({why}); it is cut off or not an HDF5 file, {advice}.",
        ) from None
    if len(shape) != 3 or shape[2] != 3 or not np.issubdtype(dtype, np.floating):
        raise InputError(f"{path}: data is {dtype} {shape}, expected floats [S, points, 3].")
    labels = labels.reshape(-1) if labels.shape in ((shape[0], 1), (shape[0],)) else labels
    if labels.shape != (shape[0],) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{path}: label is {labels.dtype} {labels.shape}, expected integers, one for each of "
            f"the {shape[0]} shapes."
        )
    _check_range(labels, num_classes, path)
    return clouds, labels


def _dataset(node: Any) -> Any:
    if not hasattr(node, "dtype"):
        raise KeyError(f"{node.name} is a group")
    return node


def _text(folder: Path, split: str, partial: bool) -> Archive:
    names = _lines(folder / "modelnet40_shape_names.txt")
    _check_classes(names, folder / "modelnet40_shape_names.txt", partial)
    listed = folder / f"modelnet40_{split}.txt"
    files = []
    for line in _lines(listed):
        label = line.rpartition("_")[0]
        if label not in names:
            raise InputError(f"{listed}: {line!r} belongs to none of the classes of {folder}.")
        files.append(folder / label / f"{line}.txt")
    files = _existing(files, listed, partial)

    def shapes() -> Iterator[tuple[Sampler, int, str]]:
        for path in files:
            yield random_points(read_table(path)), names.index(path.parent.name), str(path)

    return Archive("modelnet40_txt", names, len(files), shapes())


def _off(folder: Path, split: str, partial: bool) -> Archive:
    classes = [
        path.name
        for path in sub_folders(folder)
        if any(part.name in SPLITS for part in sub_folders(path))
    ]
    _check_classes(tuple(classes), folder, partial)
    walk = walk_files(folder, (".off",))
    walk.report()
    places = {(name, part) for name in classes for part in SPLITS}
    meshes = walk.files_in_place(places.__contains__, "<class>/train or <class>/test")
    files = [path for path in meshes if path.parent.name == split]

    def shapes() -> Iterator[tuple[Sampler, int, str]]:
        for path in files:
            yield mesh_points(path, z_up=True), classes.index(path.parts[-3]), str(path)

    return Archive("modelnet40_off", tuple(classes), len(files), shapes())


def _shapenet_lists(folder: Path) -> Path | None:
    """The folder with the lists of ShapeNet-55: `folder` or its sub-folder; None without lists."""
    for place in (folder, folder / "ShapeNet-55"):
        for split in SPLITS:
            path = place / f"{split}.txt"
            try:
                first = read_lines(path)[:1]
            except InputError:  # Missing, or a cloud with the name of a list.
                continue
            if first and _SHAPENET_NAME.fullmatch(first[0]):
                return place
    return None


def _shapenet(folder: Path, split: str, partial: bool) -> Archive:
    lists = _shapenet_lists(folder)
    assert lists is not None
    places = (lists / "shapenet_pc", lists.parent / "shapenet_pc", lists)
    clouds = next(place for place in places if place.is_dir())
    taxonomy, files = tuple(SHAPENET55), []
    for line in _lines(lists / f"{split}.txt"):
        name = _SHAPENET_NAME.fullmatch(line)
        if name is None or name[1] not in SHAPENET55:
            raise InputError(
                f"{lists / f'{split}.txt'}: {line!r} is not <taxonomy>-<id>.npy of one of the "
                f"{len(taxonomy)} classes of ShapeNet-55."
            )
        files.append(clouds / line)
    files = _existing(files, lists / f"{split}.txt", partial)

    def shapes() -> Iterator[tuple[Sampler, int, str]]:
        for path in files:
            cloud = check_cloud(read_npy(path, damaged=DAMAGED), path)
            if cloud.dtype.kind != "f":
                raise InputError(f"shape file {path} holds {cloud.dtype}, expected floats.")
            label = taxonomy.index(path.name.partition("-")[0])
            yield random_points(cloud), label, str(path)

    return Archive("shapenet55", tuple(SHAPENET55.values()), len(files), shapes())


def _lines(path: Path) -> tuple[str, ...]:
    """The lines of a list that are not empty; InputError if it is missing or a line repeats."""
    if not path.is_file():
        raise InputError(f"The list {path} is missing; copy the whole archive.")
    lines = tuple(read_lines(path))
    if len(set(lines)) != len(lines):
        twice = collections.Counter(lines).most_common(1)[0][0]
        raise InputError(f"{path} lists {twice!r} twice; copy it again.")
    return lines


def _existing(files: list[Path], listed: Path, partial: bool) -> list[Path]:
    """The files that exist; missing ones are an error, or with `partial` a UserWarning."""
    existing, missing = [], []
    for path in files:
        (existing if path.is_file() else missing).append(path)
    if missing and not partial:
        raise InputError(
            f"{listed} names {missing[0].name}, but {missing[0]} does not exist; {_COMPLETE}."
        )
    if missing:
        warnings.warn(
            f"{listed} names {len(missing)} files that do not exist and were left out, such as "
            f"{missing[0]}.",
            UserWarning,
            stacklevel=2,
        )
    return existing


def _check_classes(names: tuple[str, ...], where: Path, partial: bool) -> None:
    if len(names) != MODELNET40_CLASSES and not partial:
        raise InputError(
            f"{where} has {len(names)} classes, ModelNet40 has {MODELNET40_CLASSES}; {_COMPLETE}."
        )


def _check_range(labels: np.ndarray, num_classes: int, path: Path) -> None:
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        bad = int(labels.min() if labels.min() < 0 else labels.max())
        raise InputError(
            f"{path}: label {bad} is outside 0..{num_classes - 1}, the range of the classes; copy "
            "it again."
        )

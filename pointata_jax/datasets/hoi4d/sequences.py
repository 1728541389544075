"""Finds and reads the sequences in the HDF5 files of the two HOI4D benchmarks.

Layout of both (github.com/hoi4d, repositories HOI4D_ActionSeg and HOI4D_SemSeg): files `train1.h5`
to `train4.h5` with 2,971 sequences and test files with 892; in each file the data sets `pcd`
[S, T, N, 3], `center` [S, T, 3] (not read: each clip computes its own center) and the labels.
Sequences have no names. A sequence is identified by its number, counted over all train files or
over all test files in their order.

The labels of the test files are not public. For testing, a part of the train files is held out, by
the number of the sequence and never at random (`held_out`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from pointata_jax.data.array_files import as_floats, check_numbers
from pointata_jax.data.file_faults import unreadable
from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.schema import IGNORED
from pointata_jax.errors import InputError

COUNTS = {"train": 2971, "test": 892}
TRAIN_FILES = ("train1.h5", "train2.h5", "train3.h5", "train4.h5")

HOLD_OUT_BLOCK = 25
"""Number of consecutive sequences that are held out together, since neighbors in the files may show
the same person in the same room."""

_FILE_NAME = re.compile(r"(train|test)(\d*)(?:_[a-z]+)?\.h5", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What differs between the two benchmarks.

    Attributes:
      name: for messages.
      label_key: the HDF5 data set that holds the labels.
      per_point: whether labels are [S, T, N] rather than [S, T].
      frames: number T of frames of a sequence.
      points: number N of points of a frame.
      num_classes: labels lie in [0, num_classes).
    """

    name: str
    label_key: str
    per_point: bool
    frames: int
    points: int
    num_classes: int

    @property
    def where(self) -> str:
        """What a data folder holds and where the public data come from."""
        return (
            f"Expected there: train1.h5 to train4.h5 ({COUNTS['train']} sequences) and the test "
            f"files ({COUNTS['test']} sequences: test1.h5 and test2.h5, or test_wolabel.h5) of the "
            f"{self.name} benchmark, with the data sets pcd and {self.label_key}; "
            "the project page www.hoi4d.top leads to them."
        )

    def label_names(self, noun: str) -> tuple[str, ...]:
        """A name for each class, the noun and the number, as in "action 07"."""
        return tuple(f"{noun} {number:02d}" for number in range(self.num_classes))


ACTION_SEGMENTATION = Benchmark("HOI4D action segmentation", "label", False, 150, 2048, 19)
SEMANTIC_SEGMENTATION = Benchmark("HOI4D semantic segmentation", "semantic", True, 300, 8192, 49)


@dataclasses.dataclass(frozen=True)
class SequenceRef:
    """Where a sequence is stored.

    Attributes:
      path: its file.
      row: its index in the file.
      part: "train" or "test", the kind of file.
      number: its index over all files of that kind.
      labeled: whether the file has labels.
    """

    path: Path
    row: int
    part: Literal["train", "test"]
    number: int
    labeled: bool

    @property
    def video_id(self) -> str:
        """Such as "train-00017"."""
        return f"{self.part}-{self.number:05d}"


def held_out(number: int) -> Literal["train", "validation", "test"]:
    """The split to which the `number`-th sequence of the train files belongs.

    Blocks of `HOLD_OUT_BLOCK` sequences go, in cycles of eight, to train, test, train, validation,
    train, test, train, train. Of 2,971 sequences, 1,846 train, 375 validate and 750 test.
    """
    block = number // HOLD_OUT_BLOCK % 8
    return "test" if block in (1, 5) else "validation" if block == 3 else "train"


def split_sequences(
    found: Sequence[SequenceRef], protocol: str, benchmark: Benchmark
) -> dict[str, list[SequenceRef]]:
    """The splits of a protocol.

    Args:
      found: all sequences.
      protocol: "corrected" gives "train", "validation" and "test" from the train files
        (`held_out`), and "benchmark", the test files, for a submission. "published" gives "train",
        all train files, and "test", the test files, which must have labels.
      benchmark: which of the two.

    Raises:
      InputError: "published" with test files that have no labels.
    """
    train = [ref for ref in found if ref.part == "train"]
    test = [ref for ref in found if ref.part == "test"]
    if protocol == "published":
        without = [ref for ref in test if not ref.labeled]
        if without:
            raise InputError(
                f"{without[0].path} has no labels ({benchmark.label_key}); labels of the test "
                "sequences are not public, so use protocol='corrected', which holds out a part of "
                "the train files."
            )
        return {"train": train, "test": test}
    names = ("train", "validation", "test")
    splits = {name: [ref for ref in train if held_out(ref.number) == name] for name in names}
    return splits | {"benchmark": test}


def find_files(folder: str | Path) -> list[Path]:
    """The train and test files of a folder and its sub-folders, train files first, by number.

    Raises:
      InputError: the folder is missing, or a file name occurs twice.
    """
    walk = walk_files(folder, (".h5",), names=_FILE_NAME.fullmatch)
    walk.report(foreign=False)
    found: dict[str, Path] = {}
    for path in walk.files:
        name = path.name.lower()
        if name in found:
            raise InputError(f"{found[name]} and {path} have the same name; remove one.")
        found[name] = path

    def order(path: Path) -> tuple[bool, int]:
        kind, number = _FILE_NAME.fullmatch(path.name.lower()).groups()  # pyright: ignore
        return kind == "test", int(number or 0)

    return sorted(found.values(), key=order)


def find_sequences(
    folder: str | Path, benchmark: Benchmark, *, partial: bool = False
) -> list[SequenceRef]:
    """All sequences of a folder. Shapes and types are checked; values are not read.

    Args:
      folder: the user's copy, or a folder above it.
      benchmark: which of the two.
      partial: accept other numbers of files, sequences, frames and points.

    Raises:
      InputError: files are missing or cut off, have other shapes or counts, or hold the same
        sequences.
    """
    files = find_files(folder)
    if not files:
        raise InputError(f"The folder {folder} holds no HOI4D files. {benchmark.where}")
    names = [path.name.lower() for path in files]
    missing = [name for name in TRAIN_FILES if name not in names]
    if missing and not partial:
        raise InputError(
            f"The folder {folder} lacks {', '.join(missing)}; complete the copy, or give "
            f"partial=True to use what is there. {benchmark.where}"
        )
    found: list[SequenceRef] = []
    counts = {"train": 0, "test": 0}
    digests: dict[bytes, Path] = {}
    for path in files:
        part = "train" if path.name.lower().startswith("train") else "test"
        rows, labeled, digest = _inspect(path, benchmark, partial)
        if digest in digests:
            raise InputError(
                f"{digests[digest]} and {path} hold the same sequences; remove one of them."
            )
        digests[digest] = path
        if part == "train" and not labeled:
            raise InputError(f"{path} lacks the data set {benchmark.label_key}; copy it again.")
        first = counts[part]
        found += [SequenceRef(path, row, part, first + row, labeled) for row in range(rows)]
        counts[part] += rows
    if counts != COUNTS and not partial:
        raise InputError(
            f"The folder {folder} holds {counts['train']} train and {counts['test']} test "
            f"sequences of {benchmark.name}, the complete data set has {COUNTS['train']} and "
            f"{COUNTS['test']}; complete the copy, or give partial=True to use what is there."
        )
    return found


def read_sequence(ref: SequenceRef, benchmark: Benchmark) -> tuple[np.ndarray, np.ndarray]:
    """Points [T, N, 3] and labels int32 [T] or [T, N] of one sequence.

    Points are float32, or float64 where the file is. Labels are -1 where the file has none.

    Raises:
      InputError: the file cannot be read there, or a label is no class of the benchmark.
    """
    try:
        with _open(ref.path) as file:
            points = as_floats(np.asarray(_dataset(file, "pcd", ref.path)[ref.row]))
            if not ref.labeled:
                shape = points.shape[:2] if benchmark.per_point else points.shape[:1]
                return points, np.full(shape, IGNORED, np.int32)
            raw = np.asarray(_dataset(file, benchmark.label_key, ref.path)[ref.row])
    except InputError:
        raise
    except Exception as error:
        raise unreadable(
            ref.path,
            error,
            sentence=f"{{path}}, sequence {ref.row} cannot be read ({{why}}); the file is damaged, "
            "{advice}.",
        ) from error
    raw = raw.reshape(points.shape[:2] if benchmark.per_point else points.shape[:1])
    with np.errstate(invalid="ignore"):  # NaN becomes an integer, which the comparison rejects.
        labels = raw.astype(np.int32)
    if (labels != raw).any() or labels.min() < 0 or labels.max() >= benchmark.num_classes:
        bad = raw[(labels != raw) | (labels < 0) | (labels >= benchmark.num_classes)][0]
        raise InputError(
            f"{ref.path}, sequence {ref.row}: label {bad} is none of 0..{benchmark.num_classes - 1}"
            f", the classes of {benchmark.name}; copy the file again."
        )
    return points, labels


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except Exception as error:
        raise unreadable(
            path, error, sentence="{path} is cut off or not an HDF5 file ({why}); {advice}."
        ) from error


def _dataset(file: h5py.File, key: str, path: Path) -> h5py.Dataset:
    item: Any = file.get(key)
    if not isinstance(item, h5py.Dataset):
        raise InputError(f"{path} lacks the data set {key}; it holds {', '.join(file) or 'none'}.")
    return item


def _inspect(path: Path, benchmark: Benchmark, partial: bool) -> tuple[int, bool, bytes]:
    """Number of sequences of a file, whether it has labels, and a digest of its first frame."""
    with _open(path) as file:
        try:
            return _inspect_open(file, path, benchmark, partial)
        except InputError:
            raise
        except Exception as error:
            raise unreadable(path, error) from error


def _inspect_open(
    file: h5py.File, path: Path, benchmark: Benchmark, partial: bool
) -> tuple[int, bool, bytes]:
    points = _dataset(file, "pcd", path)
    if points.ndim != 4 or points.shape[3] != 3 or not points.size:
        raise InputError(
            f"{path}: pcd has shape {points.shape}, expected [sequences, {benchmark.frames}, "
            f"{benchmark.points}, 3]."
        )
    check_numbers(points, "f", "coordinates (pcd)", path)  # pyright: ignore
    form = (benchmark.frames, benchmark.points)
    if points.shape[1:3] != form and not partial:
        raise InputError(
            f"{path}: pcd has shape {points.shape}, expected [sequences, {form[0]}, {form[1]}, "
            f"3]; is this a file of {benchmark.name}?"
        )
    # The circulating file without labels may hold a placeholder for them.
    labeled = benchmark.label_key in file and "wolabel" not in path.name.lower()
    if labeled:
        labels = _dataset(file, benchmark.label_key, path)
        expected = points.shape[: 3 if benchmark.per_point else 2]
        if labels.shape not in (expected, (*expected, 1)):
            raise InputError(
                f"{path}: {benchmark.label_key} has shape {labels.shape}, expected {expected}."
            )
        # Whole numbers stored as floats are accepted; `read_sequence` checks the values.
        check_numbers(labels, "iuf", f"labels ({benchmark.label_key})", path)  # pyright: ignore
    first = np.ascontiguousarray(points[0, 0])
    return points.shape[0], labeled, hashlib.sha256(first.tobytes()).digest()

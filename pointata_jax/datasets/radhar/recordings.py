"""Reads RadHAR recordings from the authors' text files, their archive, or one packed file.

Layout of the public repository (github.com/nesl/RadHAR): `Data/{Train,Test}/<class>/<name>.txt`.
A text file is a radar log: one block of `key: value` lines per point, blocks ended by `---`. Points
are counted from zero within a radar frame by `point_id`, so a new frame begins wherever the
number does not increase. Time stamps do not divide frames: frames arrive in pairs, and some stamps
are a second too small.
"""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from pointata_jax.data.array_files import check_numbers, read_arrays
from pointata_jax.data.folder_walk import find_near, sub_folders, walk_files
from pointata_jax.data.text_files import plain_bytes, read_content
from pointata_jax.errors import InputError

CLASSES = ("boxing", "jack", "jump", "squats", "walk")
COLUMNS = ("x", "y", "z", "velocity", "intensity")
"""x to the front, y to the side, z up, in meters; radial velocity in m/s; intensity in dB."""

SPLIT_FOLDERS = {"train": "Train", "test": "Test"}
PUBLISHED_RECORDINGS = 200
PACKED_COUNTS = {"train": (23, 26, 24, 27, 31), "test": (13, 9, 10, 9, 14)}
"""Recordings of each class in the packed file, which leaves out the longest ones."""

PACKED_NAME = "radhar.npz"
WHERE = (
    "Expected there: the folders Data/Train and Data/Test of the RadHAR repository "
    f"(github.com/nesl/RadHAR), or {PACKED_NAME}."
)

_PACKED_KEYS = (
    "points",
    "frame_start",
    "seq_frames",
    "seq_label",
    "seq_split",
    "seq_name",
    "classes",
)
_FIELDS = (b"point_id", *(name.encode() for name in COLUMNS))
_FIELD_LINE = re.compile(rb"^(" + rb"|".join(_FIELDS) + rb"): *(\S+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
      split: "train" or "test", the authors' folder.
      label: index into `CLASSES`.
      name: name of the recording, such as "boxing_20_1".
      points: float32 `[ΣN, 5]`, see `COLUMNS`.
      frame_sizes: int32 `[T]`, points of each radar frame.
    """

    split: str
    label: int
    name: str
    points: np.ndarray
    frame_sizes: np.ndarray

    @property
    def video_id(self) -> str:
        """Name that is unique in the data set, such as "Train/boxing/boxing_20_1"."""
        return f"{SPLIT_FOLDERS[self.split]}/{CLASSES[self.label]}/{self.name}"


def parse_text(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Points `[ΣN, 5]` and frame sizes `[T]` of one text file.

    An incomplete block at the very end of the file, where the logger was interrupted, is left out.

    Args:
      content: of the file.
      name: of the file, for errors.

    Raises:
      InputError: a block is incomplete elsewhere, a value is no number, or there is no point.
    """
    found = _FIELD_LINE.findall(content)
    width = len(_FIELDS)
    points = len(found) // width
    keys = [key for key, _ in found]
    expected = list(_FIELDS) * (points + 1)
    if keys != expected[: len(keys)]:
        wrong = next(i for i, key in enumerate(keys) if key != expected[i])
        raise InputError(
            f"{name}: point {wrong // width} lacks {expected[wrong].decode()!r} or has its lines "
            "out of order; this is not a RadHAR text file, or it is damaged."
        )
    if not points:
        raise InputError(f"{name} holds no radar points; it is empty or not a RadHAR text file.")
    try:
        values = np.array([value for _, value in found[: points * width]], dtype=np.float64)
    except ValueError:
        raise InputError(
            f"{name} holds a value that is not a number; copy the file again."
        ) from None
    table = values.reshape(points, width)
    starts = np.flatnonzero(np.r_[True, np.diff(table[:, 0]) <= 0])
    sizes = np.diff(np.r_[starts, points]).astype(np.int32)
    return table[:, 1:].astype(np.float32), sizes


def find_source(folder: str | Path) -> Path:
    """The folder that holds Train and Test, or the packed file, in a user's data folder.

    Where both are present, the folder is used, because it is complete.

    Raises:
      InputError: the folder is missing, or holds neither.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"The data folder {folder} does not exist. {WHERE}")
    trees = [folder, folder / "Data", *(below / "Data" for below in sub_folders(folder))]
    for tree in trees:
        if all((tree / name).is_dir() for name in SPLIT_FOLDERS.values()):
            return tree
    packed = find_near(folder, PACKED_NAME)
    if packed is not None:
        return packed
    raise InputError(f"The data folder {folder} holds no RadHAR data. {WHERE}")


def source_files(source: Path) -> list[Path]:
    """The files of a result of `find_source`, sorted."""
    if not source.is_dir():
        return [source]
    return [path for split in ("test", "train") for path in _split_files(source, split)]


def read_tree(tree: Path, split: str) -> Iterator[Recording]:
    """The recordings of one split of the authors' folders, sorted by path."""
    for path in _split_files(tree, split):
        content = plain_bytes(read_content(path), path)
        yield _from_text(content, PurePosixPath(*path.parts[-3:]), split)


def _split_files(tree: Path, split: str) -> list[Path]:
    """The text files in the folders of the classes, sorted; warns of text files elsewhere."""
    folder = tree / SPLIT_FOLDERS[split]
    walk = walk_files(folder, (".txt",))
    walk.report(foreign=False)
    return walk.files_in_place(lambda place: len(place) == 1, "<class>/")


def tree_names(tree: Path) -> list[PurePosixPath]:
    """`Train/<class>/<name>.txt` of every recording in a folder."""
    return [PurePosixPath(*path.parts[-3:]) for path in source_files(tree)]


def archive_names(archive: Path) -> list[PurePosixPath]:
    """`Train/<class>/<name>.txt` of every recording in the repository's zip archive."""
    return [PurePosixPath(*member.parts[-3:]) for member in _members(archive)]


def read_archive(archive: Path, split: str) -> Iterator[Recording]:
    """The recordings of one split, read from the repository's zip archive."""
    with zipfile.ZipFile(archive) as opened:
        for member in _members(archive):
            if member.parts[-3] == SPLIT_FOLDERS[split]:
                path = PurePosixPath(*member.parts[-3:])
                yield _from_text(plain_bytes(opened.read(str(member)), str(path)), path, split)


def check_archive(archive: Path) -> None:
    """InputError unless the file is a zip archive and all members match their checksums."""
    try:
        with zipfile.ZipFile(archive) as opened:
            damaged = opened.testzip()
    except Exception as error:
        raise InputError(
            f"{archive.name} is not a complete zip archive ({error}); download it again."
        ) from None
    if damaged is not None:
        raise InputError(f"{archive.name} is damaged at {damaged}; download it again.")


def _members(archive: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(archive) as opened:
        members = [PurePosixPath(name) for name in opened.namelist()]
    return sorted(
        member
        for member in members
        if member.suffix.lower() == ".txt"
        and not any(part.startswith((".", "__MACOSX")) for part in member.parts)
        and len(member.parts) >= 4
        and member.parts[-4] == "Data"
        and member.parts[-3] in SPLIT_FOLDERS.values()
    )


def _from_text(content: bytes, path: PurePosixPath, split: str) -> Recording:
    points, sizes = parse_text(content, str(path))
    return Recording(split, _class_index(path.parts[-2], str(path)), path.stem, points, sizes)


def _class_index(name: str, path: str) -> int:
    if name.lower() not in CLASSES:
        raise InputError(
            f"{path}: {name!r} is none of the classes {', '.join(CLASSES)}; remove this folder."
        )
    return CLASSES.index(name.lower())


def check_text_counts(names: Iterable[PurePosixPath], where: str) -> None:
    """InputError unless there are recordings of every class in both splits, 200 in all."""
    names = list(names)
    for folder in SPLIT_FOLDERS.values():
        for label in CLASSES:
            if not any(
                (path.parts[-3], path.parts[-2].lower()) == (folder, label) for path in names
            ):
                raise InputError(
                    f"{where} has no recording in {folder}/{label} and is not complete. Copy it "
                    "again, or set partial=True to use what is there."
                )
    if len(names) != PUBLISHED_RECORDINGS:
        raise InputError(
            f"{where} has {len(names)} recordings, the published data set has "
            f"{PUBLISHED_RECORDINGS}. Copy it again, or set partial=True to use what is there."
        )


def read_packed(path: Path, *, partial: bool = False) -> list[Recording]:
    """All recordings of a packed file.

    Arrays: `points [P, 5]`, `frame_start [F]`, `seq_frames [S]`, `seq_label [S]`, `seq_split [S]`
    (true = test), `seq_name [S]`, `classes`.

    Args:
      path: the npz file.
      partial: accept other numbers of recordings than those of the known packed file.

    Raises:
      InputError: the file is damaged or cut off, lacks arrays, has arrays that contradict each
        other, or has other counts.
    """
    packed = read_arrays(
        path,
        _PACKED_KEYS,
        damaged="{path} cannot be read ({why}); it is cut off or damaged, {advice}.",
    )
    missing = [key for key in _PACKED_KEYS if key not in packed]
    if missing:
        raise InputError(f"{path} lacks the array {missing[0]}; copy it again.")
    points, frame_start, frames, label, is_test, names, classes = packed.values()
    for key, array in packed.items():
        if key != "points" and array.ndim != 1:
            raise InputError(
                f"{path}: {key} has shape {array.shape}, expected a list; copy it again."
            )
    if is_test.dtype.kind not in "biu":
        raise InputError(
            f"{path}: seq_split is {is_test.dtype}, expected true or false; copy it again."
        )
    is_test, classes = is_test.astype(bool), tuple(str(name) for name in classes)
    if classes != CLASSES:
        raise InputError(f"{path}: the classes are {classes}, expected {CLASSES}; copy it again.")
    check_numbers(points, "f", "values of points", path)
    for key in ("frame_start", "seq_frames", "seq_label"):
        check_numbers(packed[key], "iu", f"values of {key}", path)
    if len(label) and not 0 <= label.min() <= label.max() < len(CLASSES):
        bad = int(label.min() if label.min() < 0 else label.max())
        raise InputError(
            f"{path}: label {bad} is outside 0..{len(CLASSES) - 1}, the range of the classes; "
            "copy it again."
        )
    if points.ndim != 2 or points.shape[1] != len(COLUMNS):
        raise InputError(
            f"{path}: points have shape {points.shape}, expected [P, {len(COLUMNS)}]; copy it "
            "again."
        )
    ends = np.r_[frame_start[1:], len(points)]
    first = np.r_[0, np.cumsum(frames)]
    lengths = {len(frames), len(label), len(is_test), len(names)}
    if (
        len(lengths) > 1
        or first[-1] != len(frame_start)
        or (frames < 0).any()
        or frame_start[:1].any()
        or (np.diff(np.r_[0, frame_start, len(points)]) < 0).any()
    ):
        raise InputError(f"{path}: its arrays contradict each other; it is damaged, copy it again.")
    for split, wanted in PACKED_COUNTS.items():
        chosen = is_test == (split == "test")
        counts = tuple(int((label[chosen] == index).sum()) for index in range(len(CLASSES)))
        if counts != wanted and not partial:
            raise InputError(
                f"{path}: the {split} split has {sum(counts)} recordings ({counts} by class), "
                f"expected {sum(wanted)} {wanted}. Copy it again, or set partial=True to use "
                "what is there."
            )
    recordings = []
    for index, name in enumerate(names):
        low, high = first[index], first[index + 1]
        recordings.append(
            Recording(
                split="test" if is_test[index] else "train",
                label=int(label[index]),
                name=PurePosixPath(str(name)).stem,
                points=points[frame_start[low] : ends[high - 1]] if high > low else points[:0],
                frame_sizes=(ends[low:high] - frame_start[low:high]).astype(np.int32),
            )
        )
    return recordings

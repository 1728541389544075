"""Finds and reads the frames of Synthia 4D in the form of MeteorNet's pipeline.

Layout: one `<sequence>-<frame, six digits>.npz` per frame with `pc` (16384, 3) in meters, `rgb` (0
to 1), `semantic` (the raw classes) and `center` (3), the position of the car; and text files that
list the frames of each split, a line `SEQUENCE/point_clouds/000000.ply ...` per frame.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.array_files import as_floats, check_numbers, read_npz
from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.schema import COORDINATES, IGNORED
from pointata_jax.data.text_files import numbered_lines
from pointata_jax.datasets import streaming
from pointata_jax.errors import InputError

COLUMNS = (*COORDINATES, "red", "green", "blue")
"""Coordinates of the world in meters, and colors from 0 to 1."""

CLASSES: tuple[str, ...] = (
    "building",
    "road",
    "sidewalk",
    "fence",
    "vegetation",
    "pole",
    "car",
    "traffic sign",
    "pedestrian",
    "bicycle",
    "lane marking",
    "traffic light",
)

# Raw classes: 0 void, 1 sky, 2 to 12 and 15 those of `CLASSES`, 13 and 14 reserved.
_LABEL_OF_RAW = np.array(
    [IGNORED, IGNORED, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, IGNORED, IGNORED, 11], np.int32
)

COUNTS = {"train": 19_888, "validation": 815, "test": 1_886}
"""Frames of the published split: 21 sequences of the scenes 1, 2 and 4; 05-FOG; 06-SPRING and
06-SUNSET."""

_OTHER_SPLIT = (29_019, 9_343, 7_222)
VALIDATION_SEQUENCE = "SYNTHIA-SEQS-05-FOG"

CLASS_FREQUENCIES: tuple[float, ...] = (
    0.4163,
    0.2708,
    0.1140,
    0.02948,
    0.08839,
    0.01627,
    0.03347,
    0.00219,
    0.00325,
    0.00036,
    0.02456,
    0.00082,
)
"""Share of each class among the labeled points of the training frames. They are from MeteorNet's
file `labelweights.npz`, whose extended-precision numbers not every computer can load."""

WHERE = (
    "Expected there: the frames SYNTHIA-SEQS-*-000000.npz of Synthia 4D as MeteorNet processed "
    "them (semantic_seg_synthia in its repository github.com/xingyul/meteornet links the archive "
    "of 5 GB) and the split lists train_raw.txt, val_raw.txt and test_raw.txt of its folder "
    "data_prep (or trainval_raw.txt in place of the first two; names ending in _cvpr19.txt are "
    "read too)."
)

_LINE = re.compile(r"(?P<sequence>[^/\s]+)/(?:.*/)?(?P<frame>\d+)\.\w+")
_LIST_NAME = re.compile(r"(trainval|train|val|test)(?:_raw|_cvpr19)?\.txt", re.IGNORECASE)
_FRAME_NAME = re.compile(r".*-\d{6}\.npz", re.IGNORECASE)


def class_weights() -> np.ndarray:
    """Weights of the classes in the training loss, float32 [12], the smallest 1.

    1 / ln(1.2 + share of the class), divided by the smallest of these (P4Transformer, MeteorNet).
    """
    weights = 1 / np.log(1.2 + np.array(CLASS_FREQUENCIES))
    return (weights / weights.min()).astype(np.float32)


@dataclasses.dataclass(frozen=True, order=True)
class FrameRef:
    """The name of a frame.

    Attributes:
      sequence: such as "SYNTHIA-SEQS-01-DAWN".
      number: of the frame in the sequence.
    """

    sequence: str
    number: int

    @property
    def name(self) -> str:
        """Such as "SYNTHIA-SEQS-01-DAWN-000012"."""
        return f"{self.sequence}-{self.number:06d}"


@dataclasses.dataclass(frozen=True)
class Frame:
    """The contents of a frame.

    Attributes:
      points: [N, 6], see `COLUMNS`; float32, or float64 where the coordinates of the file are.
      labels: int32 [N], indices into `CLASSES` or -1.
      center: float64 [3], the position of the car.
    """

    points: np.ndarray
    labels: np.ndarray
    center: np.ndarray


def find_frames(folder: str | Path) -> dict[str, Path]:
    """The frame files of a folder and its sub-folders, by name without ending.

    Raises:
      InputError: the folder is missing, or holds a frame twice.
    """
    walk = walk_files(folder, (".npz",), names=_FRAME_NAME.fullmatch)
    walk.report(foreign=False)
    found: dict[str, Path] = {}
    for path in walk.files:
        if path.stem in found:
            raise InputError(f"{found[path.stem]} and {path} are the same frame; remove one.")
        found[path.stem] = path
    return found


def find_lists(folder: str | Path) -> dict[str, Path]:
    """The split lists of a folder and its sub-folders: "train", "val", "trainval", "test"."""
    found: dict[str, Path] = {}
    for path in walk_files(folder, (".txt",), names=_LIST_NAME.fullmatch).files:
        match = _LIST_NAME.fullmatch(path.name)
        assert match is not None
        name = match.group(1).lower()
        if name in found:
            raise InputError(
                f"{found[name]} and {path} both list the {name} frames; keep one of them."
            )
        found[name] = path
    return found


def read_list(path: Path) -> list[FrameRef]:
    """The frames that a split list names, in order of sequence and number.

    Raises:
      InputError: a line has another form, or a frame is listed twice.
    """
    refs: set[FrameRef] = set()
    for number, line in numbered_lines(path, comments=("#",)):
        match = _LINE.fullmatch(line.split()[0])
        if match is None:
            raise InputError(
                f"{path}, line {number} is not of the form SEQUENCE/point_clouds/000000.ply; copy "
                "the list again."
            )
        ref = FrameRef(match["sequence"], int(match["frame"]))
        if ref in refs:
            raise InputError(
                f"{path}, line {number} lists the frame {ref.name} a second time; copy the list "
                "again."
            )
        refs.add(ref)
    return sorted(refs)


def read_splits(folder: str | Path, *, partial: bool = False) -> dict[str, list[FrameRef]]:
    """The frames of "train", "validation" and "test" according to the lists of a folder.

    Args:
      folder: where the lists are.
      partial: accept other numbers of frames than the published ones.

    Raises:
      InputError: a list is missing, damaged or that of another split, or the splits overlap.
    """
    lists = find_lists(folder)
    parts = {name: read_list(path) for name, path in lists.items()}
    if "trainval" in parts and not {"train", "val"} <= set(parts):
        both = parts["trainval"]
        parts["val"] = [ref for ref in both if ref.sequence == VALIDATION_SEQUENCE]
        parts["train"] = [ref for ref in both if ref.sequence != VALIDATION_SEQUENCE]
    missing = [f"{name}_raw.txt" for name in ("train", "val", "test") if name not in parts]
    if missing:
        raise InputError(f"The folder {folder} lacks the split list {', '.join(missing)}. {WHERE}")
    splits = {"train": parts["train"], "validation": parts["val"], "test": parts["test"]}
    counts = tuple(len(refs) for refs in splits.values())
    if not partial and counts != tuple(COUNTS.values()):
        if counts == _OTHER_SPLIT:
            why = "this is the other, harder split of SpatioTemporalSegmentation"
        else:
            why = "the lists are cut off or changed"
        raise InputError(
            f"The split lists in {folder} name {counts[0]} training, {counts[1]} validation and "
            f"{counts[2]} test frames, the published split has {COUNTS['train']}, "
            f"{COUNTS['validation']} and {COUNTS['test']}: {why}. {WHERE}"
        )
    owner: dict[FrameRef, str] = {}
    for split, refs in splits.items():
        for ref in refs:
            if ref in owner:
                raise InputError(
                    f"The split lists in {folder} name the frame {ref.name} for {owner[ref]} and "
                    f"for {split}; copy them again."
                )
            owner[ref] = split
    return splits


def present_frames(
    splits: Mapping[str, Sequence[FrameRef]], files: Mapping[str, Path], *, partial: bool = False
) -> dict[str, list[FrameRef]]:
    """The listed frames that have a file; InputError if one has none, unless `partial`."""
    return streaming.keep_present(
        splits, files, lambda ref: ref.name, problem="frames have no file", partial=partial
    )


def read_frame(path: Path) -> Frame:
    """One frame, checked.

    Raises:
      InputError: the file is cut off, lacks an array, or holds arrays with other shapes, types or
        values.
    """
    points, colors, raw, center = read_npz(path, ("pc", "rgb", "semantic", "center"))
    # Copies may store lists as single columns or rows.
    raw = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
    center = center.reshape(-1) if center.size == 3 else center
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise InputError(
            f"{path}: pc has shape {points.shape}, expected [points, 3]; copy the file again."
        )
    if colors.shape != points.shape or raw.shape != points.shape[:1] or center.shape != (3,):
        raise InputError(
            f"{path}: rgb {colors.shape}, semantic {raw.shape} and center {center.shape} do not "
            f"fit pc {points.shape}; copy the file again."
        )
    check_numbers(points, "f", "coordinates (pc)", path)
    check_numbers(colors, "f", "colors (rgb)", path)
    check_numbers(raw, "iu", "labels (semantic)", path)
    check_numbers(center, "fiu", "coordinates (center)", path)
    for name, array in (("pc", points), ("center", center)):
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds NaN or infinite values; copy the file again.")
    if not (colors.min() >= 0 and colors.max() <= 1):  # NaN fails both.
        raise InputError(
            f"{path}: colors (rgb) reach from {colors.min():g} to {colors.max():g}, expected "
            "0 to 1; copy the file again."
        )
    if raw.min() < 0 or raw.max() >= len(_LABEL_OF_RAW):
        bad = raw.min() if raw.min() < 0 else raw.max()
        raise InputError(
            f"{path}: label {bad} (semantic) is none of the raw classes 0..15; copy the file again."
        )
    rows = np.concatenate([as_floats(points), colors.astype(np.float32)], axis=1)
    return Frame(rows, _LABEL_OF_RAW[raw], center.astype(np.float64))

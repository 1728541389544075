"""Finds the gestures of SHREC'17, and reads the point files of PointLSTM's pipeline.

Layout: the challenge's lists `train_gestures.txt` and `test_gestures.txt`, a line of seven numbers
per gesture (gesture, finger, subject, trial, label of 14, label of 28, frames of the depth video),
and per gesture a folder `gesture_*/finger_*/subject_*/essai_*` with either

- `pts_label.npy`: int [32, 256, 8], key frames of 256 points with row, column, depth and time, and
  then the same in millimeters (down, right, depth; focal length 463.889) and time again; or
- the depth video, which `depth_videos` converts to that array.

De Smedt et al.: SHREC'17 Track: 3D Hand Gesture Recognition Using a Depth and Skeletal Dataset.
3DOR 2017. Min et al.: An Efficient PointLSTM for Point Clouds Based Gesture Recognition. CVPR 2020
(repository VIPL-SLP/pointlstm-gesture-recognition-pytorch).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.array_files import check_numbers, read_npy
from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.text_files import numbered_lines
from pointata_jax.datasets import streaming
from pointata_jax.errors import InputError

GESTURES: tuple[str, ...] = (
    "grab",
    "tap",
    "expand",
    "pinch",
    "rotate clockwise",
    "rotate counter-clockwise",
    "swipe right",
    "swipe left",
    "swipe up",
    "swipe down",
    "swipe x",
    "swipe +",
    "swipe v",
    "shake",
)
FINGERS = ("one finger", "whole hand")

CLASSES: dict[int, tuple[str, ...]] = {
    14: GESTURES,
    28: tuple(f"{gesture} ({fingers})" for gesture in GESTURES for fingers in FINGERS),
}
"""By number of classes, in label order."""

COUNTS = {"train": 1960, "test": 840}
NUM_SUBJECTS = 28
FRAMES, POINTS = 32, 256

LIST_NAMES = {"train": "train_gestures.txt", "test": "test_gestures.txt"}
POINTS_NAME = "pts_label.npy"
IMAGES = "*_depth.png"
IMAGE_SUFFIX = "_depth.png"
WHERE = (
    "Expected there: train_gestures.txt and test_gestures.txt of SHREC'17 (HandGestureDataset_"
    "SHREC2017) and its folders gesture_*/finger_*/subject_*/essai_*, 2,800 in all, with the depth "
    "images 0_depth.png, 1_depth.png, ... and general_informations.txt; or, in their place or "
    "beside them, such folders with a pts_label.npy each, which shrec17_process.py of github.com/"
    "VIPL-SLP/pointlstm-gesture-recognition-pytorch makes of them (folder Processed_SHREC2017)."
)

_GESTURE_FOLDER = re.compile(r"gesture_\d+", re.IGNORECASE)

# Channels of the files.
_ROW, _COLUMN, _DEPTH = 0, 1, 2
_DOWN, _RIGHT, _AWAY = 4, 5, 6


@dataclasses.dataclass(frozen=True, order=True)
class Gesture:
    """Name of one gesture video, with numbers from 1 as in the data set, and its length.

    Attributes:
      gesture: 1 to 14.
      finger: 1 for one finger, 2 for the whole hand.
      subject: 1 to 28.
      trial: repetition by the same subject.
      frames: number of frames of the depth video according to the list; not part of the name.
    """

    gesture: int
    finger: int
    subject: int
    trial: int
    frames: int = dataclasses.field(default=0, compare=False)

    @property
    def video_id(self) -> str:
        """Path in the archive, such as "gesture_1/finger_2/subject_3/essai_4"."""
        return (
            f"gesture_{self.gesture}/finger_{self.finger}/subject_{self.subject}/essai_{self.trial}"
        )

    def label(self, num_classes: int) -> int:
        """Index into `CLASSES[num_classes]`."""
        if num_classes == 14:
            return self.gesture - 1
        return 2 * (self.gesture - 1) + self.finger - 1


def read_list(path: Path) -> list[Gesture]:
    """The gestures of a split list, in its order.

    Raises:
      InputError: a line has another form, a number that does not exist, labels that contradict the
        gesture, or no frames, or a gesture is listed twice.
    """
    found: dict[Gesture, None] = {}
    for number, line in numbered_lines(path, comments=("#",)):
        words = line.split()
        where = f"{path}, line {number}"
        if len(words) != 7 or not all(word.isascii() and word.isdigit() for word in words):
            raise InputError(
                f"{where} is not of the form 'gesture finger subject essai label14 label28 "
                "frames'; copy the list again."
            )
        *numbers, label14, label28, frames = (int(word) for word in words)
        key = Gesture(*numbers, frames=frames)
        limits = (len(GESTURES), len(FINGERS), NUM_SUBJECTS)
        if any(not 1 <= n <= limit for n, limit in zip(numbers[:3], limits, strict=True)):
            raise InputError(
                f"{where}: {key.video_id} does not exist, there are {limits[0]} gestures, "
                f"{limits[1]} ways and {limits[2]} subjects; copy the list again."
            )
        if (label14, label28) != (key.label(14) + 1, key.label(28) + 1):
            raise InputError(
                f"{where}: the labels {label14} and {label28} are not those of {key.video_id}, "
                f"{key.label(14) + 1} and {key.label(28) + 1}; copy the list again."
            )
        if not frames:
            raise InputError(f"{where}: {key.video_id} has 0 frames there; copy the list again.")
        if key in found:
            raise InputError(f"{where} lists {key.video_id} a second time; copy the list again.")
        found[key] = None
    return list(found)


def read_splits(folder: str | Path, *, partial: bool = False) -> dict[str, list[Gesture]]:
    """The gestures of "train" and "test" according to the lists in a folder and its sub-folders.

    Args:
      folder: where to search.
      partial: accept lists of other lengths than the published ones.

    Raises:
      InputError: a list is missing or damaged, has another length or two different copies, or a
        gesture is in both lists.
    """
    splits: dict[str, list[Gesture]] = {}
    for split, paths in find_lists(folder).items():
        contents = [read_list(path) for path in paths]
        if not paths or any(content != contents[0] for content in contents):
            name = LIST_NAMES[split]
            problem = f"holds {len(paths)} files {name}" if paths else f"lacks {name}"
            raise InputError(f"The folder {folder} {problem}; one is needed. {WHERE}")
        splits[split] = contents[0]
    counts = {split: len(keys) for split, keys in splits.items()}
    if counts != COUNTS and not partial:
        raise InputError(
            f"The lists in {folder} name {counts['train']} training and {counts['test']} test "
            f"gestures, the published ones {COUNTS['train']} and {COUNTS['test']}; copy them again."
        )
    both = sorted(set(splits["train"]) & set(splits["test"]))
    if both:
        raise InputError(f"Both lists in {folder} name {both[0].video_id}; copy them again.")
    return splits


def find_lists(folder: str | Path) -> dict[str, list[Path]]:
    """The lists of "train" and "test" in a folder and its sub-folders; InputError if it is missing.

    The folders of the gestures are not entered.
    """
    walk = walk_files(folder, (".txt",), enter=lambda name: not _GESTURE_FOLDER.fullmatch(name))
    return {
        split: [path for path in walk.files if path.name.lower() == name]
        for split, name in LIST_NAMES.items()
    }


def find_files(folder: str | Path) -> dict[str, Path]:
    """The sources of the gestures in a folder and its sub-folders, by `Gesture.video_id`.

    Returns:
      Point files and, for gestures without one, folders of depth images.

    Raises:
      InputError: the folder is missing, or holds a gesture twice.
    """
    walk = walk_files(folder, (POINTS_NAME, IMAGE_SUFFIX))
    walk.report(foreign=False)
    files = [path for path in walk.files if path.name.lower() == POINTS_NAME]
    points = ((path.parent, path) for path in files)
    images = (path for path in walk.files if path.name.lower().endswith(IMAGE_SUFFIX))
    videos = ((path, path) for path in {image.parent for image in images})
    return _by_gesture(videos) | _by_gesture(points)


def _by_gesture(found: Iterable[tuple[Path, Path]]) -> dict[str, Path]:
    """Paths by gesture, from pairs of a gesture's folder and a path; InputError if one is twice."""
    paths: dict[str, Path] = {}
    for folder, path in sorted(found):
        name = "/".join(folder.parts[-4:]).lower()
        if name in paths:
            raise InputError(f"{paths[name]} and {path} are the same gesture; remove one.")
        paths[name] = path
    return paths


def present_gestures(
    splits: Mapping[str, Sequence[Gesture]], files: Mapping[str, Path], *, partial: bool = False
) -> dict[str, list[Gesture]]:
    """The listed gestures that have a file; InputError if one has none, unless `partial`."""
    return streaming.keep_present(
        splits,
        files,
        lambda key: key.video_id,
        problem=f"gestures have no {POINTS_NAME} and no {IMAGES}",
        partial=partial,
        where=WHERE,
    )


def read_array(path: Path, *, partial: bool = False) -> np.ndarray:
    """The unchanged array of a point file, int [T, N, 8].

    Args:
      path: a `pts_label.npy`.
      partial: accept other numbers of frames and points.

    Raises:
      InputError: the file is cut off, or its array has another form.
    """
    array = read_npy(path)
    fits = array.ndim == 3 and array.shape[2] == 8 and array.size
    if not fits or (array.shape[:2] != (FRAMES, POINTS) and not partial):
        raise InputError(
            f"{path} has shape {array.shape}, expected ({FRAMES}, {POINTS}, 8); convert it again."
        )
    check_numbers(array, "iu", "its values", path)
    if array[..., _DEPTH].min() < 0:
        raise InputError(f"{path} holds negative depths; convert it again.")
    return array


def metric_frames(array: np.ndarray, where: str | Path) -> list[np.ndarray]:
    """Points in meters, x to the right, y up, z away from the camera: T' arrays float32 [n, 3].

    The pipeline writes points without a depth where it finds no hand. They are left out, and so are
    frames without other points.

    Args:
      array: of a point file, int [T, N, 8].
      where: the file, for the error.

    Raises:
      InputError: no frame has a point.
    """
    meters = array[..., [_RIGHT, _DOWN, _AWAY]] / 1000
    meters[..., 1] *= -1
    meters = meters.astype(np.float32)
    seen = array[..., _DEPTH] > 0
    frames = [points[mask] for points, mask in zip(meters, seen, strict=True) if mask.any()]
    if not frames:
        raise InputError(f"{where} has no point with a depth in any frame; convert it again.")
    return frames


def published_frames(array: np.ndarray) -> np.ndarray:
    """Points as PointLSTM's loader normalizes them, float32 [T, N, 3]: row, column, depth.

    Pixels are centered over the whole video and divided by 120 and 160. Depth is standardized over
    the video. Points without a depth are kept, as in the loader.
    """
    row, column, depth = (
        array[..., channel].astype(np.float64) for channel in (_ROW, _COLUMN, _DEPTH)
    )
    if depth.max() > depth.min():
        depth = (depth - depth.mean()) / depth.std()
    scaled = ((row - row.mean()) / 120, (column - column.mean()) / 160, depth)
    return np.stack(scaled, axis=-1).astype(np.float32)

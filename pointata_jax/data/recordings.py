"""Recordings of a sensor: a folder of frame files, a file of several frames, or a ROS bag.

- A folder: one file per frame (`pointata_jax.data.sensor_files`), all of one format, in the natural
  order of their names: frame_2 comes before frame_10. Hidden files, notes (README, LICENSE,
  checksums) and files of other kinds are left out.
- A file: `.npy` `[T, N, C]`; `.npz` with the points and frame sizes of
  `pointata_jax/datasets/point_videos/layout.py`, labels or not; any file of one frame.
- A bag: the messages of one topic (`pointata_jax.data.sensor_bags`).

Frames are read when they are iterated over, one at a time. Only an npz file is read as a whole.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data import sensor_bags, sensor_files
from pointata_jax.data.array_files import read_arrays
from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.schema import COORDINATES
from pointata_jax.data.sensor_files import Frame
from pointata_jax.errors import InputError

UP_AXES = ("x", "y", "z", "-x", "-y", "-z")
"""Names of the axes that may point up; in the frame of a camera it is -y."""

_NOTES = (
    "readme",
    "licence",
    "license",
    "notice",
    "changelog",
    "citation",
    "checksum",
    "md5",
    "sha1",
    "sha256",
    "sha512",
)
_EXPECTED = (
    "a recording is a folder of frame files, a file of frames "
    f"({', '.join(sensor_files.SUFFIXES)}) or a ROS bag ({', '.join(sensor_bags.SUFFIXES)}, or a "
    f"folder with {sensor_bags.METADATA})"
)


class Frames:
    """The frames of a recording; each iteration reads them again.

    Frames without points are skipped. The counts are those of the latest iteration, up to the frame
    that it has reached.

    Attributes:
      dropped: number of points with NaN or infinite coordinates that were left out.
      empty_frames: number of frames that were skipped.
      times: seconds of each frame that was not skipped, where the format has them.
    """

    def __init__(self, source: _Source, prepare: _Preparation, start: int) -> None:
        self._source = source
        self._prepare = prepare
        self._start = start
        self._reset()

    def _reset(self) -> None:
        self.dropped = 0
        self.empty_frames = 0
        self.times: list[float] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        self._reset()
        path, count = self._prepare.path, 0
        for count, frame in enumerate(self._source.read(), 1):
            self.dropped += frame.dropped
            if not len(frame.values):
                self.empty_frames += 1
                continue
            values = self._prepare(frame, self._start + count - 1)
            if frame.time is not None:
                self.times.append(frame.time)
            yield values
        if count != self._source.num_frames:
            raise InputError(
                f"{path} announces {self._source.num_frames} frames and holds {count}; it is cut "
                "off or damaged, copy it again, or reindex the bag."
            )
        if count == self.empty_frames:
            raise InputError(
                f"{path} holds no points: all of its {count} frames are empty ({self.dropped} "
                "points with NaN or infinite coordinates); check the sensor."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """A recording of a sensor.

    Attributes:
      path: the folder or file.
      name: name of the folder or file, without ending.
      columns: columns that every frame has: x, y, z, then the others.
      num_frames: number of frames, those without points included.
      frames: the frames in order, arrays `[n, len(columns)]` in their own precision.
    """

    path: Path
    name: str
    columns: tuple[str, ...]
    num_frames: int
    frames: Frames

    @property
    def times(self) -> list[float] | None:
        """Seconds of the frames read so far (`Frames.times`), None where there are none."""
        return self.frames.times or None


@dataclasses.dataclass(frozen=True)
class _Preparation:
    """What is done with each frame: columns are selected, coordinates scaled and turned."""

    path: Path
    columns: tuple[str, ...]
    scale: float
    up_axis: str
    target_up_axis: str

    def __call__(self, frame: Frame, index: int) -> np.ndarray:
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise InputError(
                f"{self.path}: frame {index} lacks {', '.join(missing)}, which frames before it "
                "have; leave it out."
            )
        values = frame.values
        if frame.columns != self.columns:
            values = values[:, [frame.columns.index(name) for name in self.columns]]
        if self.scale != 1:
            values = np.concatenate([values[:, :3] * self.scale, values[:, 3:]], axis=1)
        return rotate_up(values, self.up_axis, self.target_up_axis)


@dataclasses.dataclass(frozen=True)
class _Source:
    """Frames that can be read: their columns, their number, and a function that reads them."""

    columns: tuple[str, ...]
    num_frames: int
    read: Callable[[], Iterator[Frame]]


def open_recording(
    path: str | os.PathLike,
    *,
    columns: Sequence[str] | None = None,
    topic: str | None = None,
    scale: float = 1.0,
    up_axis: str | None = None,
    target_up_axis: str = "y",
    start: int = 0,
    stop: int | None = None,
) -> Recording:
    """Opens a recording; its frames are read later, when they are iterated over.

    Headers of the files of a folder are read at once, because the columns that all frames have must
    be known before the first frame. A bag is expected to keep the columns of its first frame.

    Args:
      path: the folder, file or bag.
      columns: names of columns for files without them, see `sensor_files.read_frame`.
      topic: topic of a bag, None for the only one with point clouds.
      scale: factor of the coordinates, such as 0.001 from millimeters to meters. Other columns,
        velocities too, are not scaled.
      up_axis: axis of the recording that points up, one of `UP_AXES`. None: frames are not turned.
      target_up_axis: axis that shall point up, which is `ClipConfig.up_axis` of a run.
      start: first frame to read.
      stop: the frame after the last one to read, None for the end; as in a slice, it may lie beyond
        the end.

    Raises:
      InputError: no recording, mixed formats, frames without x, y and z, or invalid settings.

    Warns:
      UserWarning: files of a folder differ in their columns.
    """
    path = Path(path)
    if not math.isfinite(scale) or scale <= 0:
        raise InputError(f"scale is {scale}; give a positive factor, such as 0.001.")
    _check_axes(up_axis or target_up_axis, target_up_axis)
    if start < 0 or (stop is not None and stop <= start):
        raise InputError(f"the frames from {start} to before {stop} are none; start from 0 on.")
    if not path.exists():
        raise InputError(f"{path} does not exist; {_EXPECTED}.")
    if sensor_bags.is_bag(path):
        source = _bag(path, topic, start, stop)
    elif topic is not None:
        raise InputError(f"{path} is not a ROS bag, so it has no topic {topic!r}; leave it out.")
    elif path.is_dir():
        source = _folder(path, columns, start, stop)
    elif path.suffix.lower() in (".npy", ".npz"):
        source = _array_file(path, columns, start, stop)
    else:
        source = _files(path, [path][start:stop], columns)
    if not source.num_frames:
        raise InputError(f"{path} has no frame {start}; it ends before.")
    prepare = _Preparation(path, source.columns, scale, up_axis or target_up_axis, target_up_axis)
    name = path.resolve().name if path.is_dir() else path.stem
    return Recording(path, name, source.columns, source.num_frames, Frames(source, prepare, start))


def find_recordings(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """The recordings among paths and below folders.

    A path that is a recording stands for itself. A folder that is none stands for all recordings
    below it, in natural order.

    Raises:
      InputError: a path that is neither a recording nor leads to one.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        found |= dict.fromkeys(_below(path))
    return list(found)


def natural_order(path: Path) -> tuple:
    """Sort key of paths: numbers in names by value, letters without regard to case."""
    keys = []
    for part in path.parts:
        words = re.split("([0-9]+)", part)
        keys.append([int(w) if i % 2 else w.lower() for i, w in enumerate(words)])
    return keys, path.parts


def rotate_up(values: np.ndarray, from_axis: str, to_axis: str) -> np.ndarray:
    """Rotates coordinates so that the axis that points up becomes another one.

    It is the smallest rotation that does so. Of opposite axes, it is half a turn about the next
    axis (y for x, z for y, x for z).

    Args:
      values: `[n, 3+C]`. Only the coordinates turn; directions in other columns, such as normals,
        do not.
      from_axis: axis of `values` that points up, one of `UP_AXES`.
      to_axis: axis that shall point up.

    Raises:
      InputError: an unknown axis.
    """
    _check_axes(from_axis, to_axis)
    if from_axis == to_axis:
        return values
    before, after = _direction(from_axis), _direction(to_axis)
    normal = np.cross(before, after)
    if normal.any():
        matrix = np.outer(after, before) - np.outer(before, after) + np.outer(normal, normal)
    else:
        normal = np.roll(before, 1)
        matrix = 2 * np.outer(normal, normal) - np.eye(3)
    turned = values.copy()
    turned[:, :3] = values[:, :3] @ matrix.T.astype(values.dtype)
    return turned


def _check_axes(*axes: str) -> None:
    for axis in axes:
        if axis not in UP_AXES:
            raise InputError(f"the up axis is {axis!r}; use one of {', '.join(UP_AXES)}.")


def _direction(axis: str) -> np.ndarray:
    unit = np.eye(3)[COORDINATES.index(axis[-1])]
    return -unit if axis[0] == "-" else unit


def _is_frame_name(name: str) -> bool:
    """Whether a file may be a frame, and not a note."""
    suffix = os.path.splitext(name.lower())[1]
    return suffix in sensor_files.SUFFIXES and not (
        suffix in (".txt", ".csv") and name.lower().startswith(_NOTES)
    )


def _frame_files(folder: Path) -> list[Path]:
    """The frame files right in a folder, in natural order; InputError if formats are mixed."""
    files = sorted(walk_files(folder, names=_is_frame_name, depth=1).files, key=natural_order)
    counts: dict[str, int] = {}
    for path in files:
        counts[path.suffix.lower()] = counts.get(path.suffix.lower(), 0) + 1
    first = next(iter(counts), "")
    if any(not sensor_files.same_format(first, suffix) for suffix in counts):
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in counts.items())
        rarest = min(counts, key=lambda suffix: counts[suffix])
        example = next(path.name for path in files if path.suffix.lower() == rarest)
        raise InputError(
            f"the folder {folder} mixes files of several formats, {kinds}; move those that are no "
            f"frames of this recording away, such as {example}."
        )
    return files


def _holds_video(path: Path) -> bool:
    """Whether a file holds several frames. Of a damaged one, reading tells what is wrong."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return sensor_files.open_npy(path).ndim == 3
        if suffix == ".npz":
            sizes = "frame_sizes" in read_arrays(path, ("frame_sizes",))
            return sizes or sensor_files.npz_points(path)[0].ndim == 3
    except InputError:
        pass
    return False


def _below(path: Path) -> list[Path]:
    """The recordings that a path stands for."""
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix not in (*sensor_files.SUFFIXES, *sensor_bags.SUFFIXES):
            raise InputError(f"{path} is no recording; {_EXPECTED}.")
        return [path]
    if not path.exists():
        raise InputError(f"{path} does not exist; {_EXPECTED}.")
    if sensor_bags.is_bag(path):
        return [path]
    walk = walk_files(path, names=_is_part)
    groups: dict[Path, list[Path]] = {}
    for file in walk.files:
        groups.setdefault(file.parent, []).append(file)
    # Frames right in the folder make it one recording, whatever lies below it.
    if path in groups and (own := _in_folder(path, groups[path])) == [path]:
        return own
    found = [entry for folder, files in groups.items() for entry in _in_folder(folder, files)]
    if not found:
        raise InputError(f"{path} holds no recording; {_EXPECTED}. {walk.sentence()}".rstrip())
    return sorted(found, key=natural_order)


def _is_part(name: str) -> bool:
    """Whether a file may belong to a recording."""
    return (
        _is_frame_name(name)
        or name.lower().endswith(sensor_bags.SUFFIXES)
        or name == sensor_bags.METADATA
    )


def _in_folder(folder: Path, files: list[Path]) -> list[Path]:
    """The recordings that files of one folder make up."""
    if sensor_bags.is_bag(folder):
        return [folder]
    frames = sorted((file for file in files if _is_frame_name(file.name)), key=natural_order)
    bags = [file for file in files if file.suffix.lower() in sensor_bags.SUFFIXES]
    if frames and not _holds_video(frames[0]):
        return [folder, *bags]
    return [*frames, *bags]


def _folder(folder: Path, columns: Sequence[str] | None, start: int, stop: int | None) -> _Source:
    files = _frame_files(folder)
    if not files or _holds_video(files[0]):
        below = [str(path) for path in _below(folder)]
        raise InputError(
            f"{folder} is no recording but holds {len(below)}; give one of them, such as "
            f"{below[0]}."
        )
    return _files(folder, files[start:stop], columns)


def _files(path: Path, files: list[Path], columns: Sequence[str] | None) -> _Source:
    def read() -> Iterator[Frame]:
        return (sensor_files.read_frame(file, columns) for file in files)

    return _Source(_common_columns(path, files, columns), len(files), read)


def _common_columns(
    path: Path, files: list[Path], columns: Sequence[str] | None
) -> tuple[str, ...]:
    """The columns of all files; warns of the first file with others than the first one has."""
    first: tuple[str, ...] = ()
    common: tuple[str, ...] = COORDINATES
    difference = ""
    for file in files:
        if not file.stat().st_size:  # A frame without points, which has no columns either.
            continue
        own = sensor_files.read_columns(file, columns)
        if not first:
            first = common = own
        lacking = [name for name in first if name not in own]
        more = [name for name in own if name not in first]
        if (lacking or more) and not difference:
            what = f"lacks {', '.join(lacking)}" if lacking else f"also has {', '.join(more)}"
            difference = f"{file.name} {what}"
        common = tuple(name for name in common if name in own)
    if difference:
        warnings.warn(
            f"The frames of {path} differ in their columns: compared with the first one, "
            f"{difference}. All have {', '.join(common)}, and only these are read.",
            UserWarning,
            stacklevel=5,
        )
    return common


def _array_file(path: Path, columns: Sequence[str] | None, start: int, stop: int | None) -> _Source:
    """A file of one array with one or several frames."""

    def load() -> list[np.ndarray]:
        return _array_frames(path)[start:stop]

    names = columns
    if path.suffix.lower() == ".npz" and columns is None:
        names = sensor_files.npz_points(path)[1]

    def read() -> Iterator[Frame]:
        for index, array in enumerate(load(), start):
            where = f"{path}, frame {index}"
            fields = sensor_files.named_fields(array, names, where)
            yield sensor_files.frame_from_fields(fields, where)

    arrays = load()
    if not arrays:
        return _Source((), 0, read)
    fields = sensor_files.named_fields(arrays[0][:0], names, path)
    return _Source(sensor_files.frame_from_fields(fields, path).columns, len(arrays), read)


def _array_frames(path: Path) -> list[np.ndarray]:
    """The frames of an npy or npz file as views of its array."""
    if path.suffix.lower() == ".npy":
        points, sizes = sensor_files.open_npy(path), None
    else:
        points, _ = sensor_files.npz_points(path)
        sizes = read_arrays(path, ("frame_sizes",)).get("frame_sizes")
    if sizes is None:
        return list(points) if points.ndim == 3 and not points.dtype.names else [points]
    flat = points.ndim == (1 if points.dtype.names else 2)
    valid = sizes.ndim == 1 and sizes.dtype.kind in "iu" and bool((sizes >= 0).all())
    if valid and flat and points.ndim and int(sizes.sum()) == len(points):
        ends = np.cumsum(sizes, dtype=np.int64)
        return [points[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]
    padded = not flat and points.ndim > 1 and len(sizes) == len(points)
    if valid and padded and (sizes <= points.shape[1]).all():
        return [frame[:size] for frame, size in zip(points, sizes.tolist(), strict=True)]
    raise InputError(
        f"{path}: frame_sizes is {sizes.dtype} of shape {sizes.shape} and does not divide points "
        f"of shape {points.shape} into frames; save how many points each frame has."
    )


def _bag(path: Path, topic: str | None, start: int, stop: int | None) -> _Source:
    name, count = sensor_bags.find_topic(path, topic)

    def read() -> Iterator[Frame]:
        return sensor_bags.read_clouds(path, name, start, stop)

    # Messages without points may lack fields.
    first = next((frame for frame in read() if len(frame.values)), None)
    columns = first.columns if first else COORDINATES
    return _Source(columns, len(range(count)[start:stop]), read)

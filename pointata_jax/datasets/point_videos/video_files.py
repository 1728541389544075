"""Reads one npz file of a user's videos; every error names the file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.data import array_files, schema
from pointata_jax.datasets.point_videos.description import Description
from pointata_jax.errors import InputError

LARGEST_RECORD = 2**31 - 2**20
"""Largest size of a video in bytes; a record of tfds has a limit of 2 GiB."""

_DAMAGED = (
    "{path} cannot be read ({why}); it is cut off, damaged, or holds Python objects, as lists of "
    "frames of different lengths are: write it again with numpy.savez, all points after each other "
    "and frame_sizes beside them."
)


def read_video(path: Path, folder: str | Path, description: Description) -> dict[str, Any]:
    """One file as an example of the schema (`schema.video_features`).

    Args:
      path: the npz file.
      folder: the user's folder, to which the default name of the video is relative.
      description: that of the folder.

    Raises:
      InputError: the file cannot be read, or contradicts the description or itself.
    """
    field = schema.label_field(description.kind)
    keys = ("points", "frame_sizes", field, "video_id", "subject", "columns", "classes")
    arrays = read_arrays(path, keys)
    for key in ("points", field):
        if key not in arrays:
            raise InputError(
                f"{path} lacks {key!r}, which videos with a label per {description.kind} need; "
                f"it holds {', '.join(array_names(path)) or 'nothing'}."
            )
    _check_own_names(arrays, description, path)
    name = _video_name(arrays, path, folder)
    points = _columns_of(arrays["points"], description.columns, path)
    if not np.issubdtype(points.dtype, np.number) or np.iscomplexobj(points):
        raise InputError(f"{path}: points is {points.dtype}, expected real numbers; convert it.")
    sizes = arrays.get("frame_sizes")
    if sizes is not None:
        sizes = _vector(_integers(sizes, "frame_sizes", path))
    labels = _labels(arrays[field], field, description, path)
    points, sizes, labels = _without_padding(points, sizes, labels, description, path)
    if description.kind == "clip" and labels.shape == sizes.shape and sizes.size > 1:
        raise InputError(
            f"{path}: label has one value for each of the {len(sizes)} frames: labels have shape "
            f"{labels.shape}, expected (); save the one of the video, or call them frame_labels "
            "and give the data set the kind 'frame'."
        )
    _check_range(labels, description, path)
    try:
        example = schema.make_example(
            points,
            frame_sizes=sizes,
            video_id=name,
            subject=text(arrays, "subject", path) or name,
            labels=labels,
            num_classes=len(description.classes),
            kind=description.kind,
            columns=description.columns,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    total = sum(value.nbytes for value in example.values() if isinstance(value, np.ndarray))
    if total > LARGEST_RECORD:
        raise InputError(
            f"{path} is a video of {total / 2**30:.2f} GiB in memory, more than the limit of "
            f"{LARGEST_RECORD / 2**30:.2f}: cut it into several videos."
        )
    return example


def check_video_ids(folder: str | Path, files: Mapping[str, Sequence[Path]]) -> None:
    """InputError if two files of any splits have the same `video_id`."""
    seen: dict[str, Path] = {}
    for path in (path for part in files.values() for path in part):
        name = _video_name(read_arrays(path, ("video_id",)), path, folder)
        if name in seen:
            raise InputError(
                f"{seen[name]} and {path} are both the video {name!r}; give each its own video_id."
            )
        seen[name] = path


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the arrays `keys` that an npz file holds.

    Raises:
      InputError: the file cannot be read, is no npz file, or holds Python objects there.
    """
    return array_files.read_arrays(path, keys, damaged=_DAMAGED)


def array_names(path: Path) -> list[str]:
    """The names of all arrays of an npz file that `read_arrays` can read."""
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def text(arrays: Mapping[str, np.ndarray], key: str, path: Path) -> str:
    """A text or number of a file as text; "" where it is missing or empty.

    Args:
      arrays: the arrays of the file.
      key: name of the array.
      path: the file, for errors.

    Raises:
      InputError: the array is not one text or finite number.
    """
    value = arrays.get(key)
    if value is None:
        return ""
    item = value.item() if value.size == 1 and value.dtype.kind in "USiuf" else None
    if isinstance(item, float):
        item = int(item) if item.is_integer() else item if np.isfinite(item) else None
    if item is None:
        raise InputError(f"{path}: {key} must be one text or number, it is {value!r}; save one.")
    return _decoded(item).strip()


def names(array: np.ndarray, key: str, path: Path) -> list[str]:
    """A list of names from a file.

    Args:
      array: the names, text.
      key: name of the array, for errors.
      path: the file, for errors.

    Raises:
      InputError: the array is not a list of text.
    """
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise InputError(
            f"{path}: {key} must be a list of names, it is {array.dtype} of shape {array.shape}; "
            "save a list of text."
        )
    return [_decoded(name).strip() for name in array.tolist()]


def _check_own_names(
    arrays: Mapping[str, np.ndarray], description: Description, path: Path
) -> None:
    """InputError if columns or classes of a file differ from the data set's, or are missing."""
    for key, wanted in (("columns", description.columns), ("classes", description.classes)):
        if key in arrays:
            own = names(arrays[key], key, path)
            if key == "columns":
                own = [name.lower() for name in own[:3]] + own[3:]
            if tuple(own) != wanted:
                raise InputError(
                    f"{path}: its {key} {own} differ from those of the data set, {list(wanted)}; "
                    "give all files the same."
                )
        elif not description.from_file and (key == "classes" or len(wanted) > 3):
            if key == "columns" and arrays["points"].dtype.names:
                continue
            raise InputError(
                f"{path} lacks {key!r}, which every npz file needs where there is no dataset.json; "
                "add them, or write dataset.json."
            )


def _video_name(arrays: Mapping[str, np.ndarray], path: Path, folder: str | Path) -> str:
    own = text(arrays, "video_id", path)
    name = path.relative_to(folder).with_suffix("").as_posix()
    # File names are bytes. Those that are not UTF-8 cannot be stored as text unless escaped.
    return own or os.fsencode(name).decode("utf-8", "backslashreplace")


def _decoded(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _columns_of(points: np.ndarray, columns: Sequence[str], path: Path) -> np.ndarray:
    """The points as plain numbers [..., C], also from an array with fields of these names."""
    if not points.dtype.names:
        return points
    fields = {
        name.lower() if name.lower() in schema.COORDINATES else name: name
        for name in points.dtype.names
    }
    missing = [name for name in columns if name not in fields]
    if missing:
        raise InputError(
            f"{path}: points have the fields {', '.join(points.dtype.names)}, but no "
            f"{missing[0]!r}, which is a column of the data set; add it."
        )
    return np.stack([points[fields[name]] for name in columns], axis=-1)


def _integers(array: np.ndarray, key: str, path: Path) -> np.ndarray:
    if array.dtype.kind == "b":
        return array.astype(np.int8)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{path}: {key} is {array.dtype}, expected integers: save {key}.astype(int)."
        )
    return array


def _labels(array: np.ndarray, key: str, description: Description, path: Path) -> np.ndarray:
    """Labels as integers; names of classes become indices."""
    if array.dtype.kind in "US":
        numbers = {name: number for number, name in enumerate(description.classes)}
        found = [numbers.get(_decoded(name).strip(), -1) for name in array.reshape(-1).tolist()]
        if -1 in found:
            unknown = _decoded(array.reshape(-1)[found.index(-1)].item())
            raise InputError(
                f"{path}: {key} holds {unknown!r}, which is none of the classes "
                f"{_quoted(description.classes)}; correct it."
            )
        array = np.array(found, np.int32).reshape(array.shape)
    array = _integers(array, key, path)
    if description.kind == "clip":
        return array.reshape(()) if array.size == 1 else array
    return _vector(array) if description.kind == "frame" else array


def _vector(array: np.ndarray) -> np.ndarray:
    """Arrays [1, n] and [n, 1] as [n]: tables and other languages save lists in these forms."""
    return array.reshape(-1) if array.ndim == 2 and 1 in array.shape else array


def _check_range(labels: np.ndarray, description: Description, path: Path) -> None:
    lowest = 0 if description.kind == "clip" else schema.IGNORED
    count = len(description.classes)
    if not labels.size or (labels.min() >= lowest and labels.max() < count):
        return
    bad = int(labels.min() if labels.min() < lowest else labels.max())
    also = "" if description.kind == "clip" else f", and {schema.IGNORED} is for labels to ignore"
    raise InputError(
        f"{path}: label {bad} is outside 0..{count - 1}; labels count from 0 in the order of the "
        f"classes {_quoted(description.classes)}{also}."
    )


def _quoted(classes: Sequence[str]) -> str:
    return ", ".join(map(repr, classes[:12])) + (", …" if len(classes) > 12 else "")


def _without_padding(
    points: np.ndarray,
    sizes: np.ndarray | None,
    labels: np.ndarray,
    description: Description,
    path: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [ΣN, C], frame sizes [T] and labels without padding."""
    width, of_points = len(description.columns), description.kind == "point"
    if points.ndim not in (2, 3) or points.shape[-1] != width:
        named = ", ".join(description.columns)
        raise InputError(
            f"{path}: points have shape {points.shape}, expected [points, {width}] or [frames, "
            f"points, {width}] for the columns {named}; name all columns in dataset.json, and no "
            "others."
        )
    if points.ndim == 2:
        if sizes is None:
            raise InputError(
                f"{path} lacks frame_sizes [T], which divide the points [ΣN, C] into frames; add "
                "them."
            )
        return points, sizes, _vector(labels) if of_points else labels
    frames, padded = points.shape[:2]
    counts = np.full(frames, padded, np.int32) if sizes is None else sizes
    if counts.shape != (frames,) or ((counts < 1) | (counts > padded)).any():
        raise InputError(
            f"{path}: frame_sizes must be {frames} numbers from 1 to {padded} for padded points of "
            f"shape {points.shape}; drop frames without points."
        )
    if sizes is None and points.dtype.kind == "f" and np.isnan(points).any():
        raise InputError(
            f"{path}: padded points hold NaN and there are no frame_sizes: if NaN fills up frames, "
            "save how many points of each frame are real, else remove the NaN."
        )
    real = np.arange(padded) < counts[:, None]
    if of_points:
        total = int(counts.sum())
        if labels.shape in ((frames, padded), (frames, padded, 1)):
            labels = labels.reshape(frames, padded)[real]
        elif _vector(labels).shape == (total,):
            labels = _vector(labels)
        else:
            raise InputError(
                f"{path}: point_labels have shape {labels.shape}; save {(frames, padded)}, as the "
                f"points, or {(total,)} without padding."
            )
    return points[real], counts, labels

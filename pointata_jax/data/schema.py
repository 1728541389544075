"""The schema that all data sets of point-cloud videos share.

A video is stored flat: the points of all its frames in one array, and the number of points of each
frame in another one. tfds cannot serialize nested ragged arrays, and flat arrays are read fastest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pointata_jax.data.precision import as_float32, check_finite, check_resolution, real_numbers
from pointata_jax.errors import InputError

COORDINATES = ("x", "y", "z")
"""The first three columns of every data set, in the units of the data set."""

Kind = Literal["clip", "frame", "point"]
"""What carries a label: a whole clip, each frame, or each point."""

IGNORED = -1
"""Label of a frame or point that training and evaluation ignore; a clip always has a class."""

_LABEL_FIELDS: dict[str, str] = {"clip": "label", "frame": "frame_labels", "point": "point_labels"}


def label_field(kind: str) -> str:
    """Name of the schema field with the labels of a data set of this kind."""
    if kind not in _LABEL_FIELDS:
        raise InputError(f"Unknown kind of label {kind!r}; use one of {', '.join(_LABEL_FIELDS)}.")
    return _LABEL_FIELDS[kind]


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns as a tuple; InputError unless they begin with x, y, z and are all different."""
    columns = tuple(columns)
    if columns[:3] != COORDINATES:
        raise InputError(f"The columns of a data set must begin with x, y, z; they are {columns}.")
    if len(set(columns)) != len(columns):
        raise InputError(f"The columns {columns} contain the same column twice; rename one.")
    return columns


def video_features(columns: Sequence[str], label_names: Sequence[str], kind: Kind = "clip") -> Any:
    """The tfds features of one video, for the builders of all data sets.

    Args:
      columns: names of the values of a point; the first three are x, y, z.
      label_names: class names in the order of their integer labels.
      kind: what carries a label: "clip", "frame" or "point".

    Returns:
      A `tfds.features.FeaturesDict` with `points` float32 [ΣN, C], `frame_sizes` int32 [T],
      `video_id` and `subject` (text), and, by kind, `label` (scalar class), `frame_labels`
      int32 [T] or `point_labels` int32 [ΣN]. Class names of the last two are in
      `features[field].doc` (see `label_names`). Arrays are stored as raw bytes, which is several
      times faster than tfds' default and needs no TensorFlow.

    Raises:
      InputError: invalid columns (`check_columns`), no classes, or names with commas.
    """
    import tensorflow_datasets as tfds

    columns = check_columns(columns)
    if not label_names:
        raise InputError("`label_names` is empty; give at least one class name.")
    if any("," in name for name in (*columns, *label_names)):
        raise InputError(
            "Names of columns and classes are stored as one list; use no commas in them."
        )
    features = tfds.features
    field = label_field(kind)
    if kind == "clip":
        labels = features.ClassLabel(names=list(label_names))
    else:
        labels = features.Tensor(
            shape=(None,), dtype=np.int32, encoding="bytes", doc=", ".join(label_names)
        )
    return features.FeaturesDict(
        {
            "points": features.Tensor(
                shape=(None, len(columns)),
                dtype=np.float32,
                encoding="bytes",
                doc=", ".join(columns),
            ),
            "frame_sizes": features.Tensor(shape=(None,), dtype=np.int32, encoding="bytes"),
            field: labels,
            "video_id": features.Text(),
            "subject": features.Text(),
        }
    )


def column_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the columns of `points`, from features made by `video_features`."""
    return tuple(features["points"].doc.desc.split(", "))


def label_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in label order, from features made by `video_features`."""
    for field in _LABEL_FIELDS.values():
        if field in features:
            feature = features[field]
            names = getattr(feature, "names", None)
            return tuple(names if names is not None else feature.doc.desc.split(", "))
    raise InputError(f"The features have none of the fields {', '.join(_LABEL_FIELDS.values())}.")


def make_example(
    frames: Sequence[np.ndarray] | np.ndarray,
    *,
    video_id: str,
    subject: str,
    labels: int | Sequence[int] | np.ndarray,
    num_classes: int,
    kind: Kind = "clip",
    frame_sizes: Sequence[int] | np.ndarray | None = None,
    columns: Sequence[str] = (),
) -> dict[str, Any]:
    """Validates one video and converts it to the form that `video_features` stores.

    Points may be of any real type. They are converted to float32 by `precision.as_float32`:
    coordinates far from the origin are first moved by one vector for the whole video.

    Args:
      frames: T arrays `[n_t, C]`, or with `frame_sizes` all points in one array `[ΣN, C]`.
      video_id: name of the video, unique in its split; messages contain it.
      subject: the person who performs it, or the name of the recording if that is not known.
      labels: class of the clip, of each frame `[T]`, or of each point `[ΣN]`, by `kind`.
      num_classes: labels are in [0, num_classes); labels of frames and points may be `IGNORED`.
      kind: "clip", "frame" or "point".
      frame_sizes: number of points of each frame, `[T]`, if `frames` is one array.
      columns: names of the columns, for messages.

    Raises:
      InputError: no frames, a frame without points, sizes that do not add up, values that are NaN,
        infinite or beyond the range of float32, or a label out of range. The message names the
        video and the frame.
    """
    where = f"Video {video_id!r}"
    if frame_sizes is None:
        points, sizes = _flatten(frames, where)
    else:
        points, sizes = real_numbers(frames, where), _sizes(frame_sizes, where)
    if points.ndim != 2 or points.shape[1] < 3:
        raise InputError(
            f"{where}: points have shape {points.shape}, expected [points, C] with at least the "
            "columns x, y, z."
        )
    if not len(sizes):
        raise InputError(f"{where} has no frames; remove it from the data set.")
    if (sizes <= 0).any():
        frame = int(np.flatnonzero(sizes <= 0)[0])
        raise InputError(f"{where}, frame {frame} has no points; drop such frames before storing.")
    if sum(sizes.tolist()) != len(points):
        raise InputError(
            f"{where}: the frame sizes add up to {sum(sizes.tolist())}, but there are "
            f"{len(points)} points; the file is damaged or cut off, copy it again."
        )
    check_finite(points, sizes, where)
    check_resolution(points, where)
    field = label_field(kind)
    checked = _check_labels(labels, kind, video_id, len(sizes), len(points), num_classes)
    return {
        "points": as_float32(points, where, columns),
        "frame_sizes": sizes.astype(np.int32),
        field: int(checked) if kind == "clip" else checked,
        "video_id": video_id,
        "subject": str(subject),
    }


def _sizes(frame_sizes: Sequence[int] | np.ndarray, where: str) -> np.ndarray:
    """Checks the sizes of the frames, int [T]; their integer type is kept."""
    sizes = np.asarray(frame_sizes)
    if not sizes.size:
        return np.zeros(0, np.int64)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu":
        raise InputError(
            f"{where}: the frame sizes are {sizes.dtype} of shape {sizes.shape}, expected one "
            "integer for each frame."
        )
    return sizes


def _flatten(
    frames: Sequence[np.ndarray] | np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray]:
    arrays = [real_numbers(frame, f"{where}, frame {i}") for i, frame in enumerate(frames)]
    if not arrays:
        raise InputError(f"{where} has no frames; remove it from the data set.")
    for index, frame in enumerate(arrays):
        if frame.ndim and not len(frame):
            raise InputError(
                f"{where}, frame {index} has no points; drop such frames before storing."
            )
    width = arrays[0].shape[-1] if arrays[0].ndim == 2 else -1
    for index, frame in enumerate(arrays):
        if frame.ndim != 2 or frame.shape[1] != width:
            raise InputError(
                f"{where}, frame {index} has shape {frame.shape}; every frame must be "
                "[points, C] with the same C."
            )
    sizes = np.array([len(frame) for frame in arrays], np.int64)
    return np.concatenate(arrays), sizes


def _check_labels(
    labels: int | Sequence[int] | np.ndarray,
    kind: str,
    video_id: str,
    num_frames: int,
    num_points: int,
    num_classes: int,
) -> np.ndarray:
    array = np.asarray(labels)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"Video {video_id!r}: labels are {array.dtype}, expected integers.")
    shape = {"clip": (), "frame": (num_frames,), "point": (num_points,)}[kind]
    if array.shape != shape:
        raise InputError(
            f"Video {video_id!r}: labels have shape {array.shape}, expected {shape} (kind {kind})."
        )
    lowest = 0 if kind == "clip" else IGNORED
    if array.size and (array.min() < lowest or array.max() >= num_classes):
        bad = int(array.min() if array.min() < lowest else array.max())
        ignored = "" if kind == "clip" else f", and is not {IGNORED} (ignored)"
        raise InputError(
            f"Video {video_id!r}: label {bad} is outside 0..{num_classes - 1}, the range of the "
            f"{num_classes} classes{ignored}."
        )
    return array.astype(np.int32)

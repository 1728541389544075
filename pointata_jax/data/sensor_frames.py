"""Frames as sensors and programs hand them over, brought to arrays of numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError


def read_frames(
    frames: Iterable[Any], columns: Sequence[str], needed: Collection[str]
) -> list[np.ndarray]:
    """Frames as arrays `[n, len(columns)]` of real numbers, in their own precision.

    Args:
      frames: any iterable of frames, also a generator. A frame is what NumPy makes an array
        `[n, len(columns)]` of (arrays, lists, tensors), a structured array with fields of these
        names (as ROS 2 reads a PointCloud2), or a table with columns of these names.
      columns: what the columns of a point are.
      needed: columns that structured frames and tables must have; others of `columns` may be
        missing there and are zero.

    Raises:
      InputError: no frames, or a frame that is none of these; the sentence says what it is.
    """
    if isinstance(frames, str | bytes | Mapping) or not isinstance(frames, Iterable):
        raise InputError(
            f"a video must be a sequence of frames, it is {_article(type(frames).__name__)}."
        )
    if isinstance(frames, np.ndarray) and (frames.ndim < 2 or hasattr(frames, "mask")):
        what = "structured" if frames.dtype.names else f"of shape {frames.shape}"
        raise InputError(
            f"a video must be a sequence of frames, it is one array {what}: give a list of frames."
        )
    arrays = [_frame(frame, index, columns, needed) for index, frame in enumerate(frames)]
    if not arrays:
        raise InputError("the video has no frames.")
    return arrays


def _frame(frame: Any, index: int, columns: Sequence[str], needed: Collection[str]) -> np.ndarray:
    if np.ma.is_masked(frame):
        raise InputError(f"frame {index} is masked in part: give the points that are real alone.")
    if hasattr(frame, "to_records"):  # A table's own order of columns must not decide.
        frame = frame.to_records(index=False)
    try:
        array = np.asarray(frame)
    except Exception as error:  # Whatever a stranger's conversion to an array may raise.
        raise InputError(
            f"frame {index}, {_article(type(frame).__name__)}, is no array of numbers "
            f"[n, {len(columns)}] ({error})."
        ) from None
    if array.dtype.names is not None:
        return _from_fields(array, index, columns, needed)
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"frame {index}, {_article(type(frame).__name__)}, becomes an array of {array.dtype}, "
            f"expected numbers [n, {len(columns)}]."
        )
    if array.ndim != 2 or array.shape[1] != len(columns):
        raise InputError(
            f"frames must be [n, {len(columns)}] with the columns {', '.join(columns)}; frame "
            f"{index} is {array.shape}."
        )
    if not len(array):
        raise InputError(f"frame {index} holds no points: leave it out.")
    return array


def _from_fields(
    array: np.ndarray, index: int, columns: Sequence[str], needed: Collection[str]
) -> np.ndarray:
    """A structured array by the names of its fields; an organized cloud `[h, w]` is flattened."""
    fields = array.dtype.names or ()
    missing = [name for name in columns if name in needed and name not in fields]
    if missing:
        raise InputError(
            f"frame {index} has the fields {', '.join(fields)} and lacks {', '.join(missing)}."
        )
    if not array.size:
        raise InputError(f"frame {index} holds no points: leave it out.")
    rows = np.zeros((array.size, len(columns)))
    for column, name in enumerate(columns):
        if name not in fields:
            continue
        values = array[name]
        if values.dtype.kind not in "fiu" or values.shape != array.shape:
            raise InputError(
                f"frame {index}: the field {name} is {values.dtype} of shape {values.shape}, "
                f"expected one number for each of the {array.size} points."
            )
        rows[:, column] = values.reshape(-1)
    return rows


def _article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"

"""Converts frames from sensor drivers and programs to arrays of numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pointata_jax.data.precision import check_real, check_unmasked
from pointata_jax.errors import InputError


def read_frames(
    frames: Iterable[Any], columns: Sequence[str], needed: Collection[str]
) -> list[np.ndarray]:
    """Converts frames to arrays `[n, len(columns)]` of real numbers, in their own precision.

    Args:
      frames: any iterable of frames, also a generator. A frame is anything that NumPy converts to
        an array `[n, len(columns)]` (arrays, lists, tensors), a structured array with fields of
        these names (as ROS 2 reads a PointCloud2), or a table with columns of these names.
      columns: names of the columns of a point.
      needed: columns that structured frames and tables must have. Other `columns` may be missing in
        them and are filled with zeros.

    Raises:
      InputError: no frames, or a frame of another kind, which the message names.
    """
    if isinstance(frames, str | bytes | Mapping) or not isinstance(frames, Iterable):
        raise InputError(f"a video must be a sequence of frames, it is {_kind_of(frames)}.")
    if isinstance(frames, np.ndarray) and (frames.ndim < 2 or hasattr(frames, "mask")):
        what = "structured" if frames.dtype.names else f"of shape {frames.shape}"
        raise InputError(
            f"a video must be a sequence of frames, it is one array {what}; give a list of frames."
        )
    arrays = [_frame(frame, index, columns, needed) for index, frame in enumerate(frames)]
    if not arrays:
        raise InputError("the video has no frames.")
    return arrays


def _frame(frame: Any, index: int, columns: Sequence[str], needed: Collection[str]) -> np.ndarray:
    where = f"frame {index} ({_kind_of(frame)})"
    check_unmasked(frame, where)
    if hasattr(frame, "to_records"):  # Columns of a table are selected by name, not by order.
        frame = frame.to_records(index=False)
    try:
        array = np.asarray(frame)
    except Exception as error:  # The conversion of a foreign type can raise anything.
        raise InputError(
            f"{where} is not an array of numbers [n, {len(columns)}] ({error})."
        ) from None
    if array.dtype.names is not None:
        return _from_fields(array, index, columns, needed)
    check_real(array, where)
    if array.ndim != 2 or array.shape[1] != len(columns):
        raise InputError(
            f"frames must be [n, {len(columns)}] with the columns {', '.join(columns)}; frame "
            f"{index} is {array.shape}."
        )
    if not len(array):
        raise InputError(f"frame {index} holds no points; leave it out.")
    return array


def _from_fields(
    array: np.ndarray, index: int, columns: Sequence[str], needed: Collection[str]
) -> np.ndarray:
    """Columns of a structured array by field name; an organized cloud `[h, w]` is flattened."""
    fields = array.dtype.names or ()
    missing = [name for name in columns if name in needed and name not in fields]
    if missing:
        raise InputError(
            f"frame {index} has the fields {', '.join(fields)} and lacks {', '.join(missing)}."
        )
    if not array.size:
        raise InputError(f"frame {index} holds no points; leave it out.")
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


def _kind_of(value: Any) -> str:
    """The name of a value's type, with its article."""
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"

"""Reads videos that are stored as object arrays of clouds, without running code from the files.

The published converters of MSR-Action3D and NTU RGB+D save a list of T clouds (n, 3) as an object
array in an npz file. NumPy stores object arrays as pickles, and loading a pickle may run any code.
So `np.load` is not used for them. The reader here interprets the pickle with inert stand-ins for
the few names that arrays of numbers need, and refuses every other name.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pointata_jax.data.array_files import as_floats
from pointata_jax.data.file_faults import unreadable
from pointata_jax.errors import InputError

_POINTS, _SIZES = "points", "frame_sizes"
_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


def read_frames(path: str | Path, key: str) -> list[np.ndarray]:
    """The clouds of one recording: T arrays (n, 3), in the units of the file.

    Their type is float16, float32 or float64, see `as_floats`. Besides the array `key`, the plain
    form `points` (all points, flat) with `frame_sizes` is read.

    Args:
      path: the npz file.
      key: name of the object array.

    Raises:
      InputError: the file is missing, cut off or damaged, lacks these arrays, holds a pickle with
        anything but arrays of numbers, or a cloud that is empty or not (n, 3).
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            if key in members:
                with archive.open(members[key]) as member:
                    clouds = _read_array(member)
            elif _POINTS in members and _SIZES in members:
                with (
                    archive.open(members[_POINTS]) as points,
                    archive.open(members[_SIZES]) as sizes,
                ):
                    clouds = _divide(_read_array(points), _read_array(sizes))
            else:
                found = " ".join(", ".join(members).split()) or "nothing"
                raise InputError(
                    f"{path} holds {found}, expected {key!r}, or "
                    f"{_POINTS!r} with {_SIZES!r}; take the file from the archive again."
                )
        return _check_clouds(clouds, path)
    except InputError:
        raise
    except _Refused as error:
        name = " ".join(str(error).split())
        raise InputError(
            f"{path} asks to load {name}, which arrays of numbers never need; the file was not "
            "read, take it from a source that you trust."
        ) from None
    except Exception as error:  # Nothing in the file was executed.
        raise unreadable(path, error, "take the file from the archive again") from error


def _divide(points: Any, sizes: Any) -> list[np.ndarray]:
    points, sizes = np.asarray(points), np.asarray(sizes)
    if not points.ndim:
        raise ValueError(f"{_POINTS} is a single value")
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer) or (sizes < 0).any():
        raise ValueError(f"{_SIZES} must be a vector of counts")
    if sizes.sum() != len(points):
        raise ValueError(f"{_SIZES} add up to {sizes.sum()}, there are {len(points)} points")
    return np.split(points, np.cumsum(sizes)[:-1]) if len(sizes) else []


def _check_clouds(clouds: Any, path: Path) -> list[np.ndarray]:
    if not isinstance(clouds, list) and not np.ndim(clouds):
        raise ValueError("a single value, expected the clouds of the frames")
    frames = []
    for index, cloud in enumerate(clouds):
        cloud = np.asarray(cloud)
        if cloud.ndim != 2 or cloud.shape[1] != 3 or cloud.dtype.kind not in "fiu":
            raise InputError(
                f"{path}, frame {index} has shape {cloud.shape} ({cloud.dtype}), expected (n, 3) "
                "numbers; take the file from the archive again."
            )
        if not len(cloud):
            raise InputError(f"{path}, frame {index} has no points; remove the frame or the file.")
        frames.append(as_floats(cloud))
    if not frames:
        raise InputError(f"{path} has no frames; take the file from the archive again.")
    return frames


def _read_array(member: BinaryIO | Any) -> Any:
    """One .npy member: an array of numbers, or for object arrays a list of what they hold."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"unknown version {version} of the npy format")
    if dtype.hasobject:
        # latin1: pickles of Python 2 store the bytes of an array as text.
        return _numbers(_ArrayUnpickler(member, encoding="latin1").load())
    data = member.read()
    expected = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise EOFError(f"{len(data)} bytes of {expected}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


class _Refused(Exception):
    """A pickle asked for a name that is not on the list."""


class _PickledDtype:
    """Stands for `numpy.dtype` in a pickle."""

    def __init__(self, code: str, *_: Any) -> None:
        self._code = str(code)
        self._order: Any = "="

    def __setstate__(self, state: tuple) -> None:
        self._order = state[1]

    def get(self) -> np.dtype:
        """The type; ValueError unless it is a plain one of numbers, or of objects."""
        dtype = np.dtype(self._code)
        if dtype.kind not in "fiubO" or dtype.names is not None:
            raise ValueError(f"an array of {dtype}")
        return dtype.newbyteorder("=" if self._order == "|" else self._order)


class _PickledArray:
    """Stands for `numpy.ndarray` in a pickle; NumPy never interprets the state it is given."""

    state: tuple | None = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def get(self) -> Any:
        """The array, or for an object array the list of its (first level of) items."""
        if self.state is None:
            raise ValueError("an array without contents")
        _, shape, dtype, fortran, data = self.state
        dtype = dtype.get()
        if dtype.hasobject:
            if len(data) != int(np.prod(shape, dtype=np.int64)):
                raise ValueError(f"{len(data)} objects in an array of shape {shape}")
            items = [_numbers(item) for item in data]
            if len(shape) == 1:
                return items
            return np.array(items, np.float64).reshape(shape, order="F" if fortran else "C")
        return np.frombuffer(_as_bytes(data), dtype).reshape(shape, order="F" if fortran else "C")


class _ArrayUnpickler(pickle.Unpickler):
    """Accepts arrays of numbers, nested in object arrays and lists, and nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The stand-in for a name in the pickle; `_Refused` if there is none."""
        name = f"{module_name}.{global_name}"
        if name == "numpy.ndarray":
            return _PickledArray
        if name == "numpy.dtype":
            return _PickledDtype
        if module_name in _ARRAY_MODULES and global_name == "_reconstruct":
            return lambda *_: _PickledArray()
        if module_name in _ARRAY_MODULES and global_name == "scalar":
            return lambda dtype, data: np.frombuffer(_as_bytes(data), dtype.get())[0]
        if name == "_codecs.encode":  # Protocol 2 writes bytes in this way.
            return lambda text, *_: _as_bytes(text)
        if name in ("builtins.list", "__builtin__.list"):
            return list
        raise _Refused(name)


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes):
        raise ValueError(f"contents of an array given as {type(data).__name__}")
    return data


def _numbers(value: Any) -> Any:
    """An unpickled value with arrays in place of their stand-ins."""
    if isinstance(value, _PickledArray):
        return value.get()
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    if isinstance(value, int | float | np.number | np.bool_):
        return value
    raise ValueError(f"a {type(value).__name__}, expected numbers")

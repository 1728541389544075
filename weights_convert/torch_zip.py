"""Reads the tensors of a PyTorch checkpoint (zip format of torch >= 1.6) without running code.

A checkpoint is a zip archive with a pickle (`<root>/data.pkl`) that names storages and one raw
member per storage (`<root>/data/<key>`). The pickle is interpreted with an allow-list: tensors,
containers and dtypes; any other global is refused by name.
"""

from __future__ import annotations

import collections
import io
import math
import os
import pickle
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

from pointata_jax.errors import InputError

_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


def _rebuild_tensor(storage, offset, size, stride, *_):
    """A copy of the strided view that the pickle describes, after checking that it lies inside."""
    if len(size) != len(stride) or offset < 0 or min((*size, *stride), default=0) < 0:
        raise InputError("the checkpoint describes a tensor with negative or mismatched sizes.")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    # A stride of 0 repeats values: without this bound a tiny file could ask for terabytes.
    if 0 not in size and (last >= storage.size or math.prod(size) > storage.size):
        raise InputError("the checkpoint describes a tensor that reaches beyond its storage.")
    step = storage.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], size, tuple(s * step for s in stride), writeable=False
    )
    return np.ascontiguousarray(view).reshape(size)


_GLOBALS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
}


class _Reader(pickle.Unpickler):
    def __init__(self, stream, read_storage):
        super().__init__(stream)
        self._read_storage = read_storage

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "torch" and global_name in _STORAGES:
            return _STORAGES[global_name]
        if (module_name, global_name) in _GLOBALS:
            return _GLOBALS[module_name, global_name]
        raise InputError(
            f"the checkpoint asks for {module_name}.{global_name}, which is not on the list of "
            "harmless types: re-save it in PyTorch with tensors only."
        )

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, dtype, key, _, _ = pid
        if kind != "storage":
            raise InputError(f"the checkpoint holds a persistent object of unknown kind {kind!r}.")
        return self._read_storage(str(key), dtype)


def read_checkpoint(path: str | os.PathLike) -> Any:
    """The object that `torch.save` wrote, tensors as NumPy arrays.

    Raises:
      InputError: no zip-format checkpoint, damaged, or asking for anything but tensors.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is not a checkpoint in PyTorch's zip format: if it is older than torch 1.6, "
            "load it there once and save it again with torch.save."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if len(names) != 1:
                raise InputError(f"{path} holds {len(names)} data.pkl members, expected one.")
            root = names[0].removesuffix("data.pkl")
            cache: dict[str, np.ndarray] = {}

            def read_storage(key: str, dtype: np.dtype) -> np.ndarray:
                if key not in cache:
                    cache[key] = np.frombuffer(archive.read(f"{root}data/{key}"), dtype)
                return cache[key]

            return _Reader(io.BytesIO(archive.read(names[0])), read_storage).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (pickle.UnpicklingError, KeyError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint ({error}): fetch it again."
        ) from error

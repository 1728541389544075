"""Writes files in PyTorch's zip format, so that tests run without PyTorch."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
assert np.dtype(ml_dtypes.bfloat16).name in STORAGES


class Name(NamedTuple):
    """A global name, as a pickle refers to it."""

    module: str
    name: str


class Call(NamedTuple):
    """A call of a global name, with the state that a pickle sets afterwards (None for none)."""

    function: Name
    arguments: tuple
    state: Any = None


class View(NamedTuple):
    """A tensor as torch stores it: a strided view of a flat storage."""

    storage: np.ndarray
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Writer:
    def __init__(self):
        self.out = bytearray(b"\x80\x02")
        self.storages: list[np.ndarray] = []

    def write(self, value: Any) -> None:
        out = self.out
        if value is None or isinstance(value, bool):
            out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
        elif isinstance(value, int):
            if -(2**31) <= value < 2**31:
                out += b"J" + struct.pack("<i", value)
            else:
                data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                out += b"\x8a" + bytes([len(data)]) + data
        elif isinstance(value, float):
            out += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            data = value.encode()
            out += b"X" + struct.pack("<I", len(data)) + data
        elif isinstance(value, Name):
            out += b"c" + f"{value.module}\n{value.name}\n".encode()
        elif isinstance(value, Call):
            self.write(value.function)
            self.write(tuple(value.arguments))
            out += b"R"
            if value.state is not None:
                self.write(value.state)
                out += b"b"
        elif isinstance(value, View):
            self.tensor(value)
        elif isinstance(value, np.ndarray):
            strides = np.cumprod((1, *value.shape[:0:-1]))[::-1].tolist()[: value.ndim]
            flat = np.ascontiguousarray(value).reshape(-1)
            self.tensor(View(flat, 0, value.shape, tuple(strides)))
        elif isinstance(value, tuple):
            out += b"("
            for item in value:
                self.write(item)
            out += b"t"
        elif isinstance(value, list):
            out += b"]("
            for item in value:
                self.write(item)
            out += b"e"
        elif isinstance(value, OrderedDict):
            self.write(Name("collections", "OrderedDict"))
            out += b")R("
            self.items(value)
        elif isinstance(value, dict):
            out += b"}("
            self.items(value)
        else:
            raise TypeError(type(value))

    def items(self, value: dict) -> None:
        for key, item in value.items():
            self.write(key)
            self.write(item)
        self.out += b"u"

    def tensor(self, view: View) -> None:
        known = [i for i, storage in enumerate(self.storages) if storage is view.storage]
        if not known:
            self.storages.append(view.storage)
            known = [len(self.storages) - 1]
        self.write(Name("torch._utils", "_rebuild_tensor_v2"))
        self.out += b"("
        storage = Name("torch", STORAGES[view.storage.dtype.name])
        self.write(("storage", storage, str(known[0]), "cpu", view.storage.size))
        self.out += b"Q"
        for value in (view.offset, view.size, view.stride, False, OrderedDict()):
            self.write(value)
        self.out += b"tR"


def members(value: Any) -> dict[str, bytes]:
    """The members of the archive that `torch.save(value)` would write."""
    writer = _Writer()
    writer.write(value)
    out = {"data.pkl": bytes(writer.out + b".")}
    out |= {f"data/{i}": storage.tobytes() for i, storage in enumerate(writer.storages)}
    return out | {"byteorder": b"little", "version": b"3\n"}


def write_members(path: Path, content: dict[str, bytes], compression=zipfile.ZIP_STORED) -> Path:
    """Writes an archive of these members below `archive/`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data, compression)
    return path


def save(path: Path, value: Any) -> Path:
    """What `torch.save(value, path)` does, for containers, numbers, arrays and the names above."""
    return write_members(path, members(value))


def foreign_class(full_name: str, base: type = object) -> type:
    """A class that pickles under the name of a package that is not installed."""
    module, _, name = full_name.rpartition(".")
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    made = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


class _Weight(NamedTuple):
    array: np.ndarray


class _Stored(NamedTuple):
    key: str
    array: np.ndarray


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, protocol: int, names: dict[str, type]):
        super().__init__(file, protocol)
        self.names = names
        self.stored: list[np.ndarray] = []

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Stored):
            return None
        return "storage", self.names["FloatStorage"], value.key, "cpu", value.array.size

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, _Weight):
            return NotImplemented
        array = np.ascontiguousarray(value.array, np.float32)
        self.stored.append(array)
        strides = tuple(s // 4 for s in array.strides)
        storage = _Stored(str(len(self.stored) - 1), array)
        arguments = (storage, 0, array.shape, strides, False, OrderedDict())
        return self.names["_rebuild_tensor_v2"], arguments


def weights(state: dict[str, np.ndarray]) -> OrderedDict:
    """A state dict for `save_objects`: what `torch.save` would write as tensors."""
    return OrderedDict((name, _Weight(value)) for name, value in state.items())


def save_objects(path: Path, value: Any, protocol: int = 2) -> Path:
    """What `torch.save(value, path)` does with any objects; tensors are those of `weights`.

    The names of torch are borrowed for the time of writing, whether it is installed or not.
    """
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    for name in before:
        sys.modules[name] = types.ModuleType(name)
    try:
        names = {
            "FloatStorage": foreign_class("torch.FloatStorage"),
            "_rebuild_tensor_v2": foreign_class("torch._utils._rebuild_tensor_v2"),
        }
        file = io.BytesIO()
        pickler = _Pickler(file, protocol, names)
        pickler.dump(value)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    content = {"data.pkl": file.getvalue(), "byteorder": b"little", "version": b"3\n"}
    content |= {f"data/{i}": array.tobytes() for i, array in enumerate(pickler.stored)}
    return write_members(path, content)

"""Reads the tensors of a PyTorch checkpoint (zip format of torch >= 1.6) without running code.

A checkpoint is a zip archive with a pickle (`<root>/data.pkl`) that names storages, and one raw
member per storage (`<root>/data/<key>`). The pickle is read as data (`pickle_values`): tensors,
containers and numbers. Other values of training scripts become placeholders, and names that could
run code are refused. Tensors are only described at first, and each is read from the file when it is
needed.

Members must be stored as torch stores them, uncompressed and inside the file. A size in the file
can therefore never claim more memory than the file has bytes. The checksum of every member that is
read is verified.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from pointata_jax.errors import InputError
from weights_convert.file_kinds import checkpoint_kind, is_torch_script, open_zip, other_archive
from weights_convert.harmless_names import is_harmless
from weights_convert.pickle_values import Callee, Placeholder, call, read_pickle, refused

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
_MAX_DIMENSIONS = 8
_MAX_DEPTH = 32
# Tied weights are stored once and used twice. A file that uses its bytes more often is an attack.
_MAX_SHARING = 4
_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,  # zipfile does not support a feature of the archive
    RuntimeError,  # zipfile found an encrypted member
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
)


class Tensor(NamedTuple):
    """A tensor in a file.

    Attributes:
      shape: its shape.
      dtype: its type.
      read: function that reads it from the file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class _Storage(NamedTuple):
    member: str
    dtype: np.dtype
    size: int


class _Archive:
    """The members of one checkpoint, with checks before memory is allocated."""

    def __init__(self, path: str | os.PathLike, archive: zipfile.ZipFile):
        self._path = path
        self._archive = archive
        self._file_size = os.path.getsize(path)
        self._claimed = 0
        self._last: tuple[str, bytes] = ("", b"")
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if not pickles and (other := other_archive(names)) is not None:
            raise InputError(f"{other}.")
        if len(pickles) != 1:
            raise InputError(
                f"it holds {len(pickles)} members data.pkl, not one: give a checkpoint that "
                "torch.save wrote."
            )
        if len(set(names)) != len(names):
            raise InputError("it holds two members with the same name: save it again.")
        self.root = pickles[0].removesuffix("data.pkl")
        if is_torch_script(names, self.root):
            raise InputError(
                "it is a TorchScript program: open it by torch.jit.load and save its weights, "
                "torch.save(model.state_dict(), 'weights.pth')."
            )
        if f"{self.root}byteorder" in names and self.read("byteorder") != b"little":
            raise InputError(
                "it was written on a big-endian machine: save it again on a little-endian one."
            )

    def check(self, member: str) -> int:
        """Size of a member in bytes, after a check that it is in the file, uncompressed."""
        info = self._archive.getinfo(f"{self.root}{member}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise InputError(
                f"member {member} is compressed, which torch.save never does: unpack the archive "
                "and save the checkpoint again in PyTorch."
            )
        if info.header_offset < 0 or info.header_offset + info.file_size > self._file_size:
            raise InputError(
                f"member {member} claims {info.file_size} bytes that the file lacks: download it "
                "again."
            )
        return info.file_size

    def read(self, member: str) -> bytes:
        """The bytes of a member; its checksum is verified."""
        self.check(member)
        if self._last[0] != member:
            # The last member is cached for several tensors in one storage.
            self._last = (member, self._archive.read(f"{self.root}{member}"))
        return self._last[1]

    def storage(self, persistent_id: Any) -> _Storage | Placeholder:
        kind, dtype, key, _, size = persistent_id
        if kind == "storage" and isinstance(dtype, Placeholder):
            return dtype  # A type that weights do not have, such as quantized numbers.
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise InputError(f"it holds a persistent object of unknown kind {kind!r}.")
        member = f"data/{key}"
        if type(size) is not int or size < 0 or size * dtype.itemsize != self.check(member):
            raise InputError(f"storage {key} does not have the size that its pickle states.")
        return _Storage(member, dtype, size)

    def tensor(
        self, storage: object, offset: Any, size: Any, stride: Any, *_: object
    ) -> Tensor | Placeholder:
        """The strided view that the pickle describes, after a check that it is in bounds."""
        if isinstance(storage, Placeholder):
            return Placeholder(storage.name)
        numbers = (offset, *size, *stride)
        if not isinstance(storage, _Storage) or not all(type(n) is int for n in numbers):
            raise InputError("it describes a tensor without storage or with odd sizes.")
        if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS or min(numbers) < 0:
            raise InputError("it describes a tensor with negative or mismatched sizes.")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        # A stride of 0 repeats values. Without this bound a tiny file could ask for terabytes.
        if 0 not in size and (last >= storage.size or math.prod(size) > storage.size):
            raise InputError("it describes a tensor that reaches beyond its storage.")
        self._claimed += math.prod(size) * storage.dtype.itemsize
        if self._claimed > _MAX_SHARING * self._file_size:
            raise InputError(
                "its tensors claim many times the bytes that the file has: do not use the file."
            )

        def read() -> np.ndarray:
            if 0 in size:
                return np.zeros(size, storage.dtype)
            with _named(self._path):
                flat = np.frombuffer(self.read(storage.member), storage.dtype)
            steps = tuple(s * storage.dtype.itemsize for s in stride)
            view = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
            return np.array(view, order="C")

        return Tensor(tuple(size), storage.dtype, read)


@contextlib.contextmanager
def _named(path: str | os.PathLike) -> Iterator[None]:
    """Turns errors of the readers of a damaged file into an InputError about `path`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{os.fspath(path)}: {error}") from error
    except _DAMAGED as error:
        raise InputError(
            f"{os.fspath(path)} cannot be read as a checkpoint ({error}): download it again."
        ) from error


@contextlib.contextmanager
def open_checkpoint(path: str | os.PathLike) -> Iterator[object]:
    """The object that `torch.save` wrote, with a `Tensor` for each tensor; for a `with` block.

    Reading a damaged tensor raises InputError too.

    Raises:
      InputError: the file is not a checkpoint in zip format, is damaged, or names more than data.
    """
    if (kind := checkpoint_kind(path)) != "zip":
        raise InputError(
            f"{os.fspath(path)} is a {kind} file: give a checkpoint in PyTorch's zip format."
        )
    archive = open_zip(path)
    with archive:
        with _named(path):
            members = _Archive(path, archive)
            value = read_pickle(members.read("data.pkl"), _names(members), members.storage)
        yield value


def _names(members: _Archive) -> dict[tuple[str, str], object]:
    """The meaning of the global names that create tensors and dictionaries."""
    tensor, first = Callee(members.tensor), Callee(lambda data, *_: data)
    instance = Callee(lambda kind, *rest: Placeholder(getattr(kind, "name", "object"), rest))
    names: dict[tuple[str, str], object] = {
        ("collections", "OrderedDict"): Callee(_mapping),
        ("collections", "defaultdict"): Callee(lambda *_: {}),
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): first,
        ("torch._utils", "_rebuild_parameter_with_state"): first,
        # A tensor with attributes.
        ("torch._tensor", "_rebuild_from_type_v2"): Callee(
            lambda function, kind, arguments, *_: call(function, arguments)
        ),
    }
    names |= {("torch", name): dtype for name, dtype in _STORAGES.items()}
    # Members of enumerations and nested classes; types with parameters.
    names |= {(module, "getattr"): Callee(_attribute) for module in ("builtins", "__builtin__")}
    names |= {(module, "getitem"): Callee(_parametrized) for module in ("_operator", "operator")}
    names |= {(module, "_reconstructor"): instance for module in ("copyreg", "copy_reg")}
    names |= {(module, "__newobj__"): instance for module in ("copyreg", "copy_reg")}
    for core in ("core", "_core"):
        names[f"numpy.{core}.multiarray", "_reconstruct"] = instance
    return names


def _attribute(thing: object = None, name: object = None, *_: object) -> Placeholder:
    """A member of an enumeration or a nested class."""
    if not isinstance(thing, Placeholder) or type(name) is not str:
        raise refused("builtins.getattr")
    module, outer = thing.name.rsplit(".", 1)
    if not is_harmless(module, f"{outer}.{name}"):
        raise refused(f"{thing.name}.{name}")
    return Placeholder(f"{thing.name}.{name}")


def _parametrized(thing: object = None, parameters: object = None, *_: object) -> Placeholder:
    """A type with parameters, such as `list[int]`."""
    if not isinstance(thing, Placeholder):
        raise refused("_operator.getitem")
    return Placeholder(thing.name, (parameters,))


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """A dictionary. Python 2 wrote the items of an OrderedDict as a list of pairs."""
    items = arguments[0] if arguments else []
    if not all(isinstance(item, (list, tuple)) and type(item[0]) is str for item in items):
        raise ValueError("odd items of a dictionary")
    return {item[0]: item[1] for item in items}


def read_checkpoint(path: str | os.PathLike) -> Any:
    """The object that `torch.save` wrote, with tensors as NumPy arrays; see `open_checkpoint`."""
    done: dict[int, object] = {}  # By identity, because values may contain one another many times.

    def arrays(value: object, depth: int) -> object:
        if isinstance(value, Tensor):
            return value.read()
        if not isinstance(value, (dict, list)):
            return value
        if depth > _MAX_DEPTH:
            raise InputError(
                f"{os.fspath(path)} nests its values deeper than {_MAX_DEPTH} levels: save only "
                "its weights."
            )
        if id(value) in done:
            return done[id(value)]
        if isinstance(value, dict):
            done[id(value)] = mapping = {}
            mapping.update((k, arrays(v, depth + 1)) for k, v in value.items())
            return mapping
        done[id(value)] = sequence = []
        sequence.extend(arrays(v, depth + 1) for v in value)
        return sequence

    with open_checkpoint(path) as value:
        return arrays(value, 0)

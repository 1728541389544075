"""Reads the names and tensors of a file, without its container, wrapping and prefixes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from pointata_jax.errors import InputError
from weights_convert.contents import Holding, find, holdings, no_tensors, type_name
from weights_convert.file_kinds import checkpoint_kind, cut_off_tensors
from weights_convert.torch_zip import Tensor, open_checkpoint

if TYPE_CHECKING:
    from safetensors import safe_open

WRAPPERS = ("base_model", "state_dict", "model", "model_state_dict", "module")
"""Keys under which training scripts (the last: DeepSpeed) put the state dict."""
SETTINGS = "hyper_parameters"
"""Key under which PyTorch Lightning puts the settings of the model."""
PREFIXES = ("module.", "base_model.", "model.", "_orig_mod.")
"""Prefixes that data-parallel and compiled models add to every name."""
_MAX_WRAPPERS = 4
_SAFETENSORS_TYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


@dataclasses.dataclass(frozen=True)
class StateDict:
    """A file's tensors under their names without prefixes.

    Attributes:
      tensors: tensors by name without wrapping; they are read on demand.
      container: "torch zip" or "safetensors".
      wrapping: keys and prefixes that were removed, outermost first.
      others: types of the other values in the same entry (counters, settings), by name.
      besides: other entries of the file that hold tensors.
      asked_prefix: the prefix that the user asked for.
      left_out: tensors of this entry without that prefix, by full name.
      metadata: metadata of a safetensors file.
      settings: settings of the model that a file of PyTorch Lightning states.
    """

    tensors: Mapping[str, Tensor]
    container: str
    wrapping: tuple[str, ...] = ()
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    besides: Sequence[Holding] = ()
    asked_prefix: str | None = None
    left_out: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[object, object] = dataclasses.field(default_factory=dict)

    def is_copy(self, holding: Holding) -> bool:
        """Whether another entry has the names of at least half of the tensors."""
        names = {_bare(name)[0] for name in holding.names}
        return len(names & self.tensors.keys()) * 2 >= len(self.tensors)


@contextlib.contextmanager
def open_state_dict(
    path: str | os.PathLike, key: str | None = None, prefix: str | None = None
) -> Iterator[StateDict]:
    """The state dict in a `.pth`, `.pt`, `.t7` (zip format) or `.safetensors` file.

    The kind of file is recognized by its content. Reading a damaged tensor raises InputError too.

    Args:
      path: the file.
      key: dotted name of the entry that holds the weights; None to search for it.
      prefix: start of the names of the wanted tensors; None for all tensors.

    Raises:
      InputError: the file is missing, of another kind, damaged, or holds no tensors under `key`.
    """
    name = os.fspath(path)
    if checkpoint_kind(path) == "safetensors":
        if key is not None:
            raise InputError(
                f"{name} is a safetensors file, which has no entries: leave out --key={key}, or "
                "choose tensors by --prefix."
            )
        with _open_safetensors(path, prefix) as state:
            yield state
        return
    with open_checkpoint(path) as value:
        try:
            start = value if key is None else find(value, key)
            found, wrapping = _unwrap(start, key)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
        others = {k: type_name(v) for k, v in found.items() if not isinstance(v, Tensor)}
        bare, prefixes, left_out = _chosen(tensors, prefix, name)
        settings = value.get(SETTINGS) if isinstance(value, dict) else None
        yield StateDict(
            bare,
            "torch zip",
            (*((key,) if key else ()), *wrapping, *prefixes),
            {_without(str(k), prefix): kind for k, kind in others.items()},
            _besides(value, found),
            prefix,
            left_out,
            settings=settings if isinstance(settings, dict) else {},
        )


def _besides(value: object, found: Mapping[object, object]) -> list[Holding]:
    """The entries that hold tensors, outside the state dict and inside its other values."""
    below = [
        holding._replace(key=f"{key}{'.' if holding.key else ''}{holding.key}")
        for key, part in found.items()
        if not isinstance(part, Tensor)
        for holding in holdings(part)
    ]
    return holdings(value, besides=(found,)) + below


@contextlib.contextmanager
def _open_safetensors(path: str | os.PathLike, prefix: str | None) -> Iterator[StateDict]:
    from safetensors import SafetensorError, safe_open

    def damaged(error: Exception) -> InputError:
        if (why := cut_off_tensors(path)) is not None:
            return InputError(
                f"{os.fspath(path)} is damaged, cut off at its end: {why}; download it again."
            )
        return InputError(
            f"{os.fspath(path)} cannot be read as safetensors ({error}): it is damaged or of "
            "another kind; download or convert it again."
        )

    def tensor(file: safe_open, key: str) -> Tensor:
        part = file.get_slice(key)
        if part.get_dtype() not in _SAFETENSORS_TYPES:
            raise InputError(
                f"{os.fspath(path)}: {key} has the type {part.get_dtype()}, which is not a type of "
                "weights: convert it to float32."
            )

        def read() -> np.ndarray:
            try:
                return file.get_tensor(key)
            except (SafetensorError, OSError) as error:
                raise damaged(error) from error

        return Tensor(tuple(part.get_shape()), _SAFETENSORS_TYPES[part.get_dtype()], read)

    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(safe_open(path, framework="numpy"))
            tensors = {key: tensor(file, key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise damaged(error) from error
        bare, prefixes, left_out = _chosen(tensors, prefix, os.fspath(path))
        yield StateDict(
            bare,
            "safetensors",
            prefixes,
            asked_prefix=prefix,
            left_out=left_out,
            metadata=metadata,
        )


def _unwrap(value: object, key: str | None) -> tuple[dict[object, object], tuple[str, ...]]:
    """The dictionary that holds the tensors, and the keys that lead to it."""
    top = value
    wrapping: tuple[str, ...] = ()
    while isinstance(value, dict) and len(wrapping) < _MAX_WRAPPERS:
        if key is not None and _holds_tensors(value):
            break  # The user asked for this entry.
        inner = {name: value[name] for name in WRAPPERS if isinstance(value.get(name), dict)}
        if len({id(part) for part in inner.values()}) > 1:
            under = f"{key}." if key is not None else ""
            under += "".join(f"{name}." for name in wrapping)
            raise InputError(
                f"it holds several models ({', '.join(inner)}): choose one by --key, for example "
                f"--key={under}{next(iter(inner))}."
            )
        if not inner:
            break
        wrapping += (next(iter(inner)),)
        value = inner[wrapping[-1]]
    if not isinstance(value, dict) or not _holds_tensors(value):
        raise no_tensors(top, key, WRAPPERS)
    return value, wrapping


def _holds_tensors(value: Mapping[object, object]) -> bool:
    return any(isinstance(part, Tensor) for part in value.values())


def _chosen(
    tensors: Mapping[str, Tensor], prefix: str | None, name: str
) -> tuple[dict[str, Tensor], tuple[str, ...], dict[str, Tensor]]:
    """Tensors by name without prefixes, the removed prefixes, and tensors without `prefix`."""
    if prefix is None:
        return *_without_prefixes(tensors, name), {}
    inside = {k: v for k, v in tensors.items() if k.startswith(prefix)}
    before: tuple[str, ...] = ()
    if not inside:
        # The prefix may follow one of `PREFIXES`.
        inside = {k: v for k, v in tensors.items() if _bare(k)[0].startswith(prefix)}
        before = tuple(dict.fromkeys(p for k in inside for p in _bare(k)[1]))
    if not inside:
        starts = dict.fromkeys(k.split(".")[0] + "." for k in tensors if "." in k)
        raise InputError(
            f"{name} holds no tensor whose name starts with --prefix={prefix}: its "
            f"{len(tensors)} names start with {', '.join(list(starts)[:12]) or 'no common part'}."
        )
    left_out = {k: v for k, v in tensors.items() if k not in inside}
    short = {_without(k, prefix): v for k, v in inside.items()}
    if len(short) < len(inside):
        raise InputError(
            f"{name} holds names twice behind --prefix={prefix}: give a longer prefix."
        )
    bare, behind = _without_prefixes(short, name)
    return bare, (*before, prefix, *behind), left_out


def _without(name: str, prefix: str | None) -> str:
    """A name without the prefix that was asked for and what stands before it."""
    if prefix is not None and name.startswith(prefix):
        return name.removeprefix(prefix)
    bare = _bare(name)[0]
    return bare if prefix is None else bare.removeprefix(prefix)


def _bare(name: str) -> tuple[str, list[str]]:
    """A name without the prefixes of data-parallel and compiled models, and these prefixes."""
    removed = []
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
        removed.append(prefix)
    return name, removed


def _without_prefixes(
    tensors: Mapping[str, Tensor], name: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by name without prefixes, and the prefixes that some names had."""
    bare: dict[str, Tensor] = {}
    removed: dict[str, None] = {}
    for full, tensor in tensors.items():
        key, prefixes = _bare(full)
        removed |= dict.fromkeys(prefixes)
        if key in bare:
            raise InputError(
                f"{name} holds {key} twice, with and without a prefix: choose the tensors by "
                "--prefix."
            )
        bare[key] = tensor
    return bare, tuple(removed)


def num_values(tensors: Mapping[str, Tensor], names: Iterable[str]) -> int:
    """Number of values in the tensors of these names."""
    return sum(math.prod(tensors[name].shape) for name in names)

"""From a file to names and tensors: its container, its wrapping and its prefixes taken off."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from pointata_jax.errors import InputError
from weights_convert.torch_zip import Tensor, open_checkpoint

WRAPPERS = ("base_model", "state_dict", "model", "model_state_dict")
"""Keys under which training scripts put the state dict."""
PREFIXES = ("module.", "base_model.", "model.", "_orig_mod.")
"""What data-parallel and compiled models put before every name."""
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
    """A file's tensors under their bare names.

    Attributes:
      tensors: names without wrapping to tensors, which are read on demand.
      container: "torch zip" or "safetensors".
      wrapping: keys and prefixes that were taken off, outermost first.
      others: names beside the tensors that hold something else (counters, settings).
      metadata: text that a safetensors file carries.
    """

    tensors: Mapping[str, Tensor]
    container: str
    wrapping: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def open_state_dict(path: str | os.PathLike) -> Iterator[StateDict]:
    """The state dict in a `.pth`, `.pt`, `.t7` (zip format) or `.safetensors` file, by content.

    Raises:
      InputError: the file is missing, of another kind, damaged, or holds no tensors; also when a
        damaged tensor is read.
    """
    name = os.fspath(path)
    if not os.path.isfile(path):
        raise InputError(f"checkpoint {name} does not exist.")
    with open(path, "rb") as file:
        start = file.read(9)
    # A safetensors file is the length of its header (8 bytes) and then JSON.
    if start[8:9] == b"{":
        with _open_safetensors(path) as state:
            yield state
    else:
        with open_checkpoint(path) as value:
            found, wrapping = _unwrap(value, name)
            tensors = {k: v for k, v in found.items() if isinstance(v, Tensor)}
            others = tuple(str(k) for k, v in found.items() if not isinstance(v, Tensor))
            bare, prefixes = _without_prefixes(tensors, name)
            yield StateDict(bare, "torch zip", (*wrapping, *prefixes), others)


@contextlib.contextmanager
def _open_safetensors(path: str | os.PathLike) -> Iterator[StateDict]:
    from safetensors import SafetensorError, safe_open

    def damaged(error: Exception) -> InputError:
        return InputError(
            f"{os.fspath(path)} cannot be read as safetensors ({error}): it is damaged or of "
            "another kind; fetch or convert it again."
        )

    def tensor(file: Any, key: str) -> Tensor:
        part = file.get_slice(key)
        if part.get_dtype() not in _SAFETENSORS_TYPES:
            raise InputError(
                f"{os.fspath(path)}: {key} is of type {part.get_dtype()}, which weights are not."
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
        bare, prefixes = _without_prefixes(tensors, os.fspath(path))
        yield StateDict(bare, "safetensors", prefixes, metadata=metadata)


def _unwrap(value: Any, name: str) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """The dictionary that holds the tensors, and the keys that lead to it."""
    wrapping: tuple[str, ...] = ()
    while isinstance(value, dict) and len(wrapping) < _MAX_WRAPPERS:
        inner = [key for key in WRAPPERS if isinstance(value.get(key), dict)]
        if len(inner) > 1:
            raise InputError(
                f"{name} holds several models ({', '.join(inner)}): keep one of them and save it "
                "again."
            )
        if not inner:
            break
        wrapping += (inner[0],)
        value = value[inner[0]]
    if not isinstance(value, dict) or not any(isinstance(v, Tensor) for v in value.values()):
        shown = ", ".join(str(key) for key in list(value)[:8]) if isinstance(value, dict) else ""
        raise InputError(
            f"{name} holds no tensors by name{f' but {shown}' if shown else ''}: a state dict is "
            f"looked for at the top and under {', '.join(WRAPPERS)}."
        )
    return value, wrapping


def _without_prefixes(
    tensors: Mapping[Any, Tensor], name: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Bare names, and the prefixes that some of them had."""
    bare: dict[str, Tensor] = {}
    removed: dict[str, None] = {}
    for key, tensor in tensors.items():
        key = str(key)
        while prefix := next((p for p in PREFIXES if key.startswith(p)), None):
            key = key.removeprefix(prefix)
            removed[prefix] = None
        if key in bare:
            raise InputError(f"{name} holds {key} twice, with and without a prefix.")
        bare[key] = tensor
    return bare, tuple(removed)


def num_values(tensors: Mapping[str, Tensor], names: Any) -> int:
    """Numbers in the tensors of these names."""
    return sum(math.prod(tensors[name].shape) for name in names)

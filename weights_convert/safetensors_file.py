"""Writes safetensors files one tensor at a time, the same bytes for the same content every time.

The safetensors library copies all tensors before it writes, and orders metadata at random, so that
two conversions of one checkpoint would differ in their hashes. The format is a header of JSON
behind its length (unsigned 64-bit, little-endian), then the tensors without gaps
(huggingface/safetensors, "Format").
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

_TYPES = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}


class Planned(NamedTuple):
    """A tensor to write: `make` gives it when its turn comes."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    make: Callable[[], np.ndarray]


def write_safetensors(
    path: str | os.PathLike,
    tensors: Iterable[Planned],
    metadata: Mapping[str, str],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Writes the tensors in the order of their names, atomically.

    `check` is called when all tensors have been made; what it raises leaves no file behind.
    """
    # The widest type first, as the library does, so that every tensor is aligned.
    ordered = sorted(tensors, key=lambda t: (-t.dtype.itemsize, t.name))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for tensor in ordered:
        start, end = end, end + int(np.prod(tensor.shape, dtype=np.int64)) * tensor.dtype.itemsize
        header[tensor.name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for tensor in ordered:
                value = np.asarray(tensor.make(), tensor.dtype, order="C")
                if value.shape != tensor.shape:
                    raise ValueError(f"{tensor.name} is {value.shape}, planned {tensor.shape}")
                file.write(value.data if value.ndim else value.tobytes())
        check()
        os.replace(partial, path)
    except BaseException:
        # Not `missing_ok` alone: the folder itself may be at fault.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise

"""Writes safetensors files one tensor at a time, with bytes that depend on the content only.

The safetensors library copies all tensors before it writes. It also orders metadata at random, so
two conversions of one checkpoint would have different hashes. A file consists of the length of the
header (unsigned 64-bit, little-endian), the header as JSON, and the tensors without gaps
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
    """A tensor to write.

    Attributes:
      name: name in the file.
      shape: shape in the file.
      dtype: float32 or int64.
      make: function that computes the tensor; it is called when the tensor is written.
    """

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
    """Writes the tensors atomically, in the order of their types and names.

    Args:
      path: the file to write.
      tensors: the tensors.
      metadata: strings for the header.
      check: called after all tensors are computed; if it raises, no file is left behind.
    """
    # The widest type comes first, as in the safetensors library, so that every tensor is aligned.
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
        # `missing_ok` is not enough, because the folder itself may be unusable.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise

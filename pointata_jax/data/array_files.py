"""Reads arrays of numbers from npz and npy files; pickles are refused and damage is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.file_faults import DAMAGED, unreadable
from pointata_jax.errors import InputError


def read_npz(path: str | Path, keys: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The arrays `keys` of an npz file; InputError if it is missing, damaged or lacks one."""
    arrays = read_arrays(path, keys)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it must hold {', '.join(keys)}.")
    return tuple(arrays[key] for key in keys)


def read_arrays(
    path: str | Path, keys: Sequence[str] | None = None, *, damaged: str = DAMAGED
) -> dict[str, np.ndarray]:
    """Those of the arrays `keys` (None: all) that an npz file holds.

    Args:
      path: the file.
      keys: names of arrays.
      damaged: the sentence about a damaged file, see `file_faults.unreadable`.

    Raises:
      InputError: the file is missing or damaged, no npz file, or holds Python objects there.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.lib.npyio.NpzFile):
                wanted = archive.files if keys is None else keys
                arrays = {key: archive[key] for key in wanted if key in archive.files}
                if all(isinstance(array, np.ndarray) for array in arrays.values()):
                    return arrays
                raise ValueError("a member is no array")
            raise ValueError("it is no npz file")
    except Exception as error:
        if isinstance(error, TypeError):  # Of an npy file: an array is no context.
            error = ValueError("it is no npz file of arrays")
        raise unreadable(path, error, sentence=damaged) from None


def read_npy(path: str | Path, *, damaged: str = DAMAGED) -> np.ndarray:
    """The array of an npy file; InputError if it is missing or damaged.

    Args:
      path: the file.
      damaged: the sentence about a damaged file, see `file_faults.unreadable`.
    """
    path = Path(path)
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        raise unreadable(path, error, sentence=damaged) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is not an npy file of one array; copy it again.")
    return array


def check_numbers(array: np.ndarray, kinds: str, what: str, where: str | Path) -> None:
    """InputError unless the dtype of an array is of one of NumPy's `kinds`, such as "f" or "iu"."""
    if array.dtype.kind not in kinds:
        names = {"f": "floating-point numbers", "iu": "integers"}
        raise InputError(
            f"{where}: {what} are {array.dtype}, expected {names.get(kinds, 'numbers')}."
        )


def as_floats(array: np.ndarray) -> np.ndarray:
    """Numbers as floats that hold each exactly, for `schema.make_example` to center and store.

    float16 and float32 stay what they are, so that it can see how coarse they were; integers of 16
    bits become float32; wider integers and floats float64.
    """
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4:
        return array.astype(array.dtype.newbyteorder("="))
    wide = np.promote_types(array.dtype, np.float32)
    return array.astype(np.float32 if wide == np.float32 else np.float64)

"""Reads arrays from npz and npy files; pickled Python objects are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.file_faults import DAMAGED, unreadable
from pointata_jax.errors import InputError


def read_npz(path: str | Path, keys: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Reads the arrays `keys` of an npz file, in this order.

    Raises:
      InputError: the file is missing or damaged, or lacks one of the arrays.
    """
    arrays = read_arrays(path, keys)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it must hold {', '.join(keys)}.")
    return tuple(arrays[key] for key in keys)


def read_arrays(
    path: str | Path, keys: Sequence[str] | None = None, *, damaged: str = DAMAGED
) -> dict[str, np.ndarray]:
    """Reads arrays of an npz file by name; names that the file lacks are left out.

    Args:
      path: the file.
      keys: names of the arrays, None for all.
      damaged: message template for a damaged file, the `sentence` of `file_faults.unreadable`.

    Raises:
      InputError: the file is missing, damaged or not an npz file, or one of these arrays holds
        Python objects.
    """
    path = Path(path)
    try:
        # Opened here, because np.load(path) leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if isinstance(archive, np.lib.npyio.NpzFile):
                wanted = archive.files if keys is None else keys
                arrays = {key: archive[key] for key in wanted if key in archive.files}
                if all(isinstance(array, np.ndarray) for array in arrays.values()):
                    return arrays
                raise ValueError("a member is not an array")
            raise ValueError("it is not an npz file")
    except Exception as error:
        if isinstance(error, TypeError):  # An npy file: an array is not a context manager.
            error = ValueError("it is not an npz file of arrays")
        raise unreadable(path, error, sentence=damaged) from None


def read_npy(path: str | Path, *, damaged: str = DAMAGED) -> np.ndarray:
    """Reads the array of an npy file.

    Args:
      path: the file.
      damaged: message template for a damaged file, the `sentence` of `file_faults.unreadable`.

    Raises:
      InputError: the file is missing, damaged or not an npy file.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
    except Exception as error:
        raise unreadable(path, error, sentence=damaged) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is not an npy file of one array; copy it again.")
    return array


def check_numbers(array: np.ndarray, kinds: str, what: str, where: str | Path) -> None:
    """Checks the dtype of an array.

    Args:
      array: the array.
      kinds: allowed values of `array.dtype.kind`, such as "f" or "iu".
      what: what the values are, in the plural, for the message.
      where: the file that they come from, for the message.

    Raises:
      InputError: the dtype is of another kind.
    """
    if array.dtype.kind not in kinds:
        names = {"f": "floating-point numbers", "iu": "integers"}
        raise InputError(
            f"{where}: {what} are {array.dtype}, expected {names.get(kinds, 'numbers')}."
        )


def as_floats(array: np.ndarray) -> np.ndarray:
    """Converts numbers to a floating-point type that holds each of them, for `make_example`.

    float16 and float32 are kept, because `schema.make_example` checks the resolution of the stored
    type. Integers of up to 16 bits become float32. Wider integers and floats become float64.
    """
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4:
        return array.astype(array.dtype.newbyteorder("="))
    wide = np.promote_types(array.dtype, np.float32)
    return array.astype(np.float32 if wide == np.float32 else np.float64)

"""Reads arrays of numbers from npz and npy files; pickles are refused and damage is named."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointata_jax.errors import InputError

_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def read_npz(path: str | Path, keys: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The arrays `keys` of an npz file; InputError if it is missing, damaged or lacks one."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if not missing:
                return tuple(archive[key] for key in keys)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; copy it from the archive again.") from None
    except (*_DAMAGE, AttributeError) as error:  # An npy file has no `files`.
        raise InputError(
            f"{path} is cut off or damaged and cannot be read ({error}); copy it again."
        ) from error
    raise InputError(f"{path} lacks {', '.join(missing)}; it must hold {', '.join(keys)}.")


def read_npy(path: str | Path) -> np.ndarray:
    """The array of an npy file; InputError if it is missing or damaged."""
    path = Path(path)
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; copy it from the archive again.") from None
    except _DAMAGE as error:
        raise InputError(
            f"{path} is cut off or damaged and cannot be read ({error}); copy it again."
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is not an npy file of one array; copy it again.")
    return array


def check_numbers(array: np.ndarray, kinds: str, what: str, where: str | Path) -> None:
    """InputError unless the dtype of an array is of one of NumPy's `kinds`, such as "f" or "iu"."""
    if array.dtype.kind not in kinds:
        names = {"f": "floating-point numbers", "iu": "integers"}
        raise InputError(
            f"{where}: {what} are {array.dtype}, expected {names.get(kinds, 'numbers')}."
        )

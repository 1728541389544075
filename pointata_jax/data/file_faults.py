"""The error message for a file that cannot be read, whichever library tried to read it."""

from __future__ import annotations

import os
from pathlib import Path

from pointata_jax.errors import InputError, inaccessible_file

DAMAGED = "{path} is cut off or damaged and cannot be read ({why}); {advice}."
"""Message for a damaged file, a template for `str.format`."""

_LFS_POINTER = b"version https://git-lfs"


def unreadable(
    path: str | Path, error: Exception, advice: str = "copy it again", *, sentence: str = DAMAGED
) -> InputError:
    """The error to raise where reading a file failed.

    The exceptions of NumPy, zipfile, h5py and Pillow for damaged files are not documented and
    differ between versions. Readers therefore catch every `Exception` around the reading alone and
    pass it to this function.

    Args:
      path: the file.
      error: the exception that was caught.
      advice: what the user can do about a missing or damaged file.
      sentence: message for a damaged file, a template with the fields `path`, `why` and `advice`.
    """
    if isinstance(error, FileNotFoundError | PermissionError) or os.path.isdir(path):
        return inaccessible_file(path, error, advice)
    if isinstance(error, MemoryError):
        return InputError(
            f"{path} cannot be read: its arrays need more memory than is free; divide it into "
            "several files."
        )
    if is_lfs_pointer(path):
        return InputError(
            f"{path} cannot be read: it is a pointer of Git LFS, not the file itself; run "
            "git lfs pull."
        )
    return InputError(sentence.format(path=path, why=one_line(error), advice=advice))


def is_lfs_pointer(path: str | Path) -> bool:
    """Whether a file is the small text that Git LFS leaves in place of a file not yet fetched."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False


def one_line(error: Exception, limit: int = 200) -> str:
    """The message of an exception on one line, in at most `limit` characters, without a period."""
    return " ".join(str(error).split())[:limit].rstrip(".") or type(error).__name__

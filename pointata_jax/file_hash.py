"""The hash that runs, source banks and conversions record of a file."""

from __future__ import annotations

import hashlib
import os

from pointata_jax.errors import inaccessible_file


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file as hexadecimal digits, read in blocks.

    Raises:
      InputError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise inaccessible_file(path, error, "check its path and the disk") from error

"""The hash by which runs, source banks and conversions remember a file."""

from __future__ import annotations

import hashlib
import os

from pointata_jax.errors import InputError


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, read in pieces; `InputError` where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)} cannot be read ({error.strerror or error}): look at its rights and "
            "at the disk."
        ) from error

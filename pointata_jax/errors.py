"""The error raised for invalid input, and its message for a file that cannot be opened."""

from __future__ import annotations

import os


class InputError(ValueError):
    """Invalid input, files or settings.

    The message is one sentence that says what is wrong, where, and what to do.
    """


def inaccessible_file(path: str | os.PathLike, error: Exception, advice: str) -> InputError:
    """The error to raise where the operating system did not open or read a file.

    Args:
      path: the file.
      error: the exception that was caught.
      advice: what the user can do about a missing or unreadable file.
    """
    name = os.fspath(path)
    if isinstance(error, FileNotFoundError):
        return InputError(f"{name} does not exist; {advice}.")
    if os.path.isdir(path):
        return InputError(f"{name} is a folder, expected a file.")
    if isinstance(error, PermissionError):
        return InputError(f"{name} may not be read; change its permissions.")
    why = getattr(error, "strerror", None) or error
    return InputError(f"{name} cannot be read ({why}); {advice}.")

"""The sentence for a file that cannot be read, whatever library tried to."""

from __future__ import annotations

from pathlib import Path

from pointata_jax.errors import InputError

DAMAGED = "{path} is cut off or damaged and cannot be read ({why}); {advice}."


def unreadable(
    path: str | Path, error: Exception, advice: str = "copy it again", *, sentence: str = DAMAGED
) -> InputError:
    """The error to raise where reading a file failed.

    What NumPy, zipfile, h5py or Pillow raise for damage is not documented and changes, so readers
    catch every `Exception` around the reading alone and give it to this function.

    Args:
      path: the file at fault.
      error: what was raised.
      advice: what to do about a missing or damaged file.
      sentence: what to say of a damaged file, with places for `path`, `why` and `advice`.
    """
    try:
        is_folder = Path(path).is_dir()
    except OSError:
        is_folder = False
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist; {advice}.")
    if is_folder:
        return InputError(f"{path} is a folder, expected a file.")
    if isinstance(error, PermissionError):
        return InputError(f"{path} may not be read; change its rights.")
    return InputError(sentence.format(path=path, why=one_line(error), advice=advice))


def one_line(error: Exception, limit: int = 200) -> str:
    """What an error says, in at most `limit` characters for the middle of a sentence."""
    return " ".join(str(error).split())[:limit].rstrip(".") or type(error).__name__

"""Reads text files in any common encoding, with any line ends."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from pathlib import Path

from pointata_jax.data.file_faults import unreadable
from pointata_jax.errors import InputError

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
"""A number with a decimal comma."""

# UTF-32 comes before UTF-16, because its mark begins with that of UTF-16.
_BYTE_ORDER_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_content(path: str | Path) -> bytes:
    """Reads the bytes of a file; InputError if it is missing, a folder or not readable."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # Reading a pipe would block.
            raise InputError(f"{path} is a folder or device, expected a file.")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "copy it to this place") from None


def read_text(path: str | Path) -> str:
    r"""Reads the text of a file, with the line ends "\n".

    A byte order mark selects UTF-8, UTF-16 or UTF-32. Without one the text is decoded as UTF-8, and
    if that fails as Latin-1. In Latin-1 every byte is a character, so decoding cannot fail, and
    ASCII characters are correct for every 8-bit encoding.

    Raises:
      InputError: the file is missing, a folder or not readable, is not valid in the encoding of its
        byte order mark, or is binary (it holds NUL characters).
    """
    return decode_text(read_content(path), path)


def plain_bytes(content: bytes, where: str | Path) -> bytes:
    r"""Converts the content of a text file to UTF-8 with the line ends "\n", for readers of bytes.

    Content without carriage returns and byte order mark is returned unchanged.

    Args:
      content: the bytes of the file.
      where: name of the file, for messages.
    """
    marks = tuple(mark for mark, _ in _BYTE_ORDER_MARKS)
    if b"\r" not in content and not content.startswith(marks):
        return content
    return decode_text(content, where).encode()


def decode_text(content: bytes, where: str | Path) -> str:
    """Decodes the content of a file as `read_text` does; messages call the file `where`."""
    mark, encoding = next(
        ((mark, name) for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), (b"", "")
    )
    try:
        text = content[len(mark) :].decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding:
            raise InputError(
                f"{where} begins as {encoding.upper()} text but is invalid from byte "
                f"{error.start + len(mark)} on; it is cut off or damaged, save it again as UTF-8."
            ) from None
        text = content.decode("latin-1")
    if "\0" in text:
        raise InputError(
            f"{where} is not a text file: it holds NUL bytes, so it is binary, or UTF-16 without a "
            "byte order mark; save it as UTF-8 text."
        )
    # Not str.splitlines, which also splits at control characters of 8-bit encodings.
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")


def numbered_lines(path: str | Path, *, comments: Collection[str] = ()) -> list[tuple[int, str]]:
    """The lines of a file that are not empty, stripped, with their numbers (from 1).

    Args:
      path: the file.
      comments: strings that begin a comment, such as "#"; comments are removed.

    Raises:
      InputError: see `read_text`.
    """
    lines = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        for mark in comments:
            line = line.partition(mark)[0]
        if line.strip():
            lines.append((number, line.strip()))
    return lines


def read_lines(path: str | Path, *, comments: Collection[str] = ()) -> list[str]:
    """`numbered_lines` without the numbers."""
    return [line for _, line in numbered_lines(path, comments=comments)]

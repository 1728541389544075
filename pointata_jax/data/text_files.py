"""Reads text files as people save them: any common encoding, any line ends."""

from __future__ import annotations

import codecs
from collections.abc import Collection
from pathlib import Path

from pointata_jax.data.file_faults import unreadable
from pointata_jax.errors import InputError

# The mark of UTF-32 begins with that of UTF-16, so it comes first.
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_content(path: str | Path) -> bytes:
    """The bytes of a file; InputError, naming it, if it is missing, a folder or not readable."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # A pipe would wait for ever.
            raise InputError(f"{path} is a folder or device, expected a file.")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "copy it to this place") from None


def read_text(path: str | Path) -> str:
    r"""The text of a file, its line ends as "\n".

    A byte order mark tells UTF-8, UTF-16 and UTF-32. Without one the text is UTF-8, or else
    Latin-1, in which every byte is a character: decoding cannot fail then, and numbers, names of
    files and whatever else is ASCII come out right in any 8-bit encoding.

    Raises:
      InputError: the file is missing, a folder or not readable, broken UTF-8, UTF-16 or UTF-32
        after its mark, or binary (it holds NUL characters).
    """
    return decode_text(read_content(path), path)


def plain_bytes(content: bytes, where: str | Path) -> bytes:
    """The content of a text file as UTF-8 with plain line ends, for readers of bytes.

    Content that is plain already, as nearly all is, comes back as it is.
    """
    if b"\r" not in content and not content.startswith(tuple(mark for mark, _ in _MARKS)):
        return content
    return decode_text(content, where).encode()


def decode_text(content: bytes, where: str | Path) -> str:
    """What `read_text` makes of the content of a file, named `where` in errors."""
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "")
    )
    try:
        text = content[len(mark) :].decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding:
            raise InputError(
                f"{where} begins as {encoding.upper()} text and is none from byte "
                f"{error.start + len(mark)} on: it is cut off or damaged, save it again as UTF-8."
            ) from None
        text = content.decode("latin-1")
    if "\0" in text:
        raise InputError(
            f"{where} is no text (it holds NUL bytes): it is binary, or UTF-16 without a byte "
            "order mark; save it as UTF-8 text."
        )
    # Not str.splitlines, for which single characters of old encodings end lines too.
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")


def numbered_lines(path: str | Path, *, comments: Collection[str] = ()) -> list[tuple[int, str]]:
    """Line numbers, from 1, and stripped lines of a file without the empty ones.

    Args:
      path: the file.
      comments: what begins a comment, such as "#"; comments are cut off. By default nothing does.

    Raises:
      InputError: see `read_text`.
    """
    found = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        for mark in comments:
            line = line.partition(mark)[0]
        if line.strip():
            found.append((number, line.strip()))
    return found


def read_lines(path: str | Path, *, comments: Collection[str] = ()) -> list[str]:
    """`numbered_lines` without the numbers."""
    return [line for _, line in numbered_lines(path, comments=comments)]

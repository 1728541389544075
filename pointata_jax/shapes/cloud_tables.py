"""Reads clouds from text files: columns of numbers, with or without a header."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pointata_jax.data.schema import COORDINATES
from pointata_jax.data.text_files import DECIMAL_COMMA, read_text
from pointata_jax.errors import InputError

_COMMENTS = ("#", "//", "%")
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")
_TRAILING_SEPARATOR = re.compile(r"\s*[,;]$")
_UNIT = re.compile(r"\s*[\[(].*[\])]$")  # Such as "x [m]".


def read_table(path: str | Path) -> np.ndarray:
    """Reads the points `[M, 3]`, float64, of a text file with one point per line.

    Separators are commas, semicolons, tabs and blanks, also mixed. All lines have the same number
    of values. Comments (#, //, %) and empty lines may be anywhere.

    The header is optional. It may hold the number of points (as in .pts files) or the numbers of
    points and columns, and a line with the names of the columns, which may be a comment. With
    names, the columns x, y and z are read, else the first three. Other columns need not be numbers.

    Raises:
      InputError: no points, a line with another number of values, coordinates that are not numbers,
        names without x, y and z, decimal commas, or a number of points that the header contradicts.
    """
    try:
        return _Table(path).points()
    except _TableError as error:
        raise InputError(
            f"shape file {path} cannot be read ({error}); repair or remove it."
        ) from None


class _TableError(Exception):
    """An error in a table; its message is quoted in that of `read_table`."""


class _Table:
    def __init__(self, path: str | Path) -> None:
        text = read_text(path)
        self._lines = text.split("\n")
        self._comments = tuple(mark for mark in _COMMENTS if mark in text)
        # Number of the line with the sizes, and the number of points (and columns).
        self._sizes: tuple[int, list[int]] | None = None
        self._names: list[str] | None = None
        self._names_in_comments: list[list[str]] = []
        first = self._read_header()
        rows = map(self._without_comment, self._lines[first:])
        self._rows = [(number, row) for number, row in enumerate(rows, first + 1) if row]

    def points(self) -> np.ndarray:
        if not self._rows:
            raise _TableError("it must hold points [N, 3], found none")
        width = len(_fields(*self._rows[0]))
        columns = self._columns(width)
        if self._sizes is not None:
            number, sizes = self._sizes
            if sizes[0] != len(self._rows) or sizes[1:] not in ([], [width]):
                raise _TableError(
                    f"line {number} announces {' x '.join(map(str, sizes))}, there are "
                    f"{len(self._rows)} points of {width} values"
                )
        fast = self._parse_fast(width, columns)
        return self._parse_lines(width, columns) if fast is None else fast

    def _read_header(self) -> int:
        """Reads the lines before the points, and returns the index of the first point."""
        for index, line in enumerate(self._lines):
            line = line.strip()
            if line.startswith(_COMMENTS):
                self._names_in_comments.append(_names(line.lstrip("#/% \t")))
            line = self._without_comment(line)
            if not line:
                continue
            fields = _fields(index + 1, line)
            if all(re.fullmatch(r"\d+", field) for field in fields) and len(fields) < 3:
                if self._sizes is not None or self._names is not None:
                    raise _TableError(
                        f"line {index + 1} has {len(fields)} values, points have three"
                    )
                self._sizes = index + 1, [int(field) for field in fields]
            elif any(_is_number(field) for field in fields):
                return index
            elif self._names is None:
                self._names = _names(line)
                if not set(COORDINATES) <= set(self._names):
                    raise _TableError(
                        f"line {index + 1}, {line[:60]!r}, is neither a point nor does it name "
                        "columns x, y, z"
                    )
            else:
                raise _TableError(f"line {index + 1}, {line[:60]!r}, is not a point")
        return len(self._lines)

    def _without_comment(self, line: str) -> str:
        for mark in self._comments:
            line = line.partition(mark)[0]
        return line.strip()

    def _columns(self, width: int) -> list[int]:
        """Indices of the columns x, y and z."""
        names = self._names
        if names is None:  # A comment names the columns if it has one word for each of them.
            fitting = [
                words
                for words in self._names_in_comments
                if len(words) == width and set(COORDINATES) <= set(words)
            ]
            names = fitting[-1] if fitting else None
        elif len(names) != width:
            raise _TableError(f"{len(names)} columns are named, there are {width}")
        if width < 3:
            raise _TableError(f"line {self._rows[0][0]} has {width} values, points have three")
        if names is None:
            return [0, 1, 2]
        if any(names.count(name) > 1 for name in COORDINATES):
            raise _TableError("a column x, y or z is named twice")
        return [names.index(name) for name in COORDINATES]

    def _parse_fast(self, width: int, columns: list[int]) -> np.ndarray | None:
        """The points of a table with a single kind of separator; None for other tables."""
        rows = [row for _, row in self._rows]
        separator = next((mark for mark in (",", ";") if mark in rows[0]), None)
        if separator is None:
            regular = all(len(row.split()) == width for row in rows)
        else:
            regular = all(row.count(separator) == width - 1 for row in rows)
        if not regular:
            return None
        try:
            return np.loadtxt(rows, delimiter=separator, usecols=columns, ndmin=2, comments=None)
        except ValueError:
            return None

    def _parse_lines(self, width: int, columns: list[int]) -> np.ndarray:
        """The points of any table, with errors that name the line."""
        points = np.empty((len(self._rows), 3))
        for point, (number, row) in zip(points, self._rows, strict=True):
            fields = _fields(number, row)
            if len(fields) != width:
                raise _TableError(f"line {number} has {len(fields)} values, others have {width}")
            for axis, column in enumerate(columns):
                if not _is_number(fields[column]):
                    raise _TableError(f"line {number}: {fields[column]!r} is not a number")
                point[axis] = float(fields[column])
        return points


def _fields(number: int, line: str) -> list[str]:
    """The values of a line; one separator at its end is ignored."""
    words = re.split(r"[;\s]+", line.strip("; \t"))
    commas = [word for word in words if DECIMAL_COMMA.fullmatch(word)]
    if commas and len(words) > 1:
        raise _TableError(f"line {number}: {commas[0]!r} has a decimal comma, write a point")
    return _SEPARATOR.split(_TRAILING_SEPARATOR.sub("", line))


def _names(line: str) -> list[str]:
    """The words of a line as names of columns: lower case, without quotes and units."""
    line = _TRAILING_SEPARATOR.sub("", line)
    words = re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split()
    return [_UNIT.sub("", word.strip().strip("\"'").strip()).lower() for word in words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word

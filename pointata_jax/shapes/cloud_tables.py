"""Clouds as people write them to text: columns of numbers, with or without a head."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import numpy as np

from pointata_jax.data.schema import COORDINATES
from pointata_jax.data.text_files import read_text
from pointata_jax.errors import InputError

_COMMENTS = ("#", "//", "%")
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")
_LAST = re.compile(r"\s*[,;]$")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_UNIT = re.compile(r"\s*[\[(].*[\])]$")  # As in "x [m]".


def read_table(path: str | Path) -> np.ndarray:
    """The points `[M, 3]`, float64, of a text file with a point per line.

    Separators are commas, semicolons, tabs and blanks, also mixed; all lines have as many values.
    Comments (#, //, %) and empty lines may be anywhere. Before the points there may be their number
    (as in .pts files; with the number of columns, if you like) and a line that names the columns,
    as a comment or not; the columns x, y and z are taken then, wherever they stand, else the first
    three. Other columns need not be numbers.

    Raises:
      InputError: no points; a line of another width, or without numbers where x, y and z are; names
        without x, y, z; decimal commas; another number of points than the file announces.
    """
    try:
        return _Table(path).points()
    except _Unfit as error:
        raise InputError(
            f"shape file {path} cannot be read ({error}): repair or remove it."
        ) from None


class _Unfit(Exception):
    """What is wrong with a table, in words for a bracket."""


class _Table:
    def __init__(self, path: str | Path) -> None:
        text = read_text(path)
        self._lines = text.split("\n")
        self._marks = tuple(mark for mark in _COMMENTS if mark in text)
        self._announced: tuple[int, list[int]] | None = None
        self._names: list[str] | None = None
        self._hints: list[list[str]] = []
        first = self._read_head()
        rows = map(self._without_comment, self._lines[first:])
        self._rows = [(number, row) for number, row in enumerate(rows, first + 1) if row]

    def points(self) -> np.ndarray:
        if not self._rows:
            raise _Unfit("it must hold points [N, 3], found none")
        width = len(_fields(*self._rows[0]))
        columns = self._columns(width)
        if self._announced is not None:
            number, numbers = self._announced
            if numbers[0] != len(self._rows) or numbers[1:] not in ([], [width]):
                raise _Unfit(
                    f"line {number} announces {' x '.join(map(str, numbers))}, there are "
                    f"{len(self._rows)} points of {width} values"
                )
        fast = self._at_once(width, columns)
        return self._line_by_line(width, columns) if fast is None else fast

    def _read_head(self) -> int:
        """Reads what stands before the points; answers the index of their first line."""
        for index, line in enumerate(self._lines):
            line = line.strip()
            if line.startswith(_COMMENTS):
                self._hints.append(_names(line.lstrip("#/% \t")))
            line = self._without_comment(line)
            if not line:
                continue
            fields = _fields(index + 1, line)
            if all(re.fullmatch(r"\d+", field) for field in fields) and len(fields) < 3:
                if self._announced is not None or self._names is not None:
                    raise _Unfit(f"line {index + 1} has {len(fields)} values, points have three")
                self._announced = index + 1, [int(field) for field in fields]
            elif any(_is_number(field) for field in fields):
                return index
            elif self._names is None:
                self._names = _names(line)
                if not set(COORDINATES) <= set(self._names):
                    raise _Unfit(
                        f"line {index + 1}, {line[:60]!r}, is neither a point nor does it name "
                        "columns x, y, z"
                    )
            else:
                raise _Unfit(f"line {index + 1}, {line[:60]!r}, is no point")
        return len(self._lines)

    def _without_comment(self, line: str) -> str:
        for mark in self._marks:
            line = line.partition(mark)[0]
        return line.strip()

    def _columns(self, width: int) -> list[int]:
        """Where x, y and z are."""
        names = self._names
        if names is None:  # A comment names the columns if it has one word for each.
            fitting = [
                hint for hint in self._hints if len(hint) == width and set(COORDINATES) <= set(hint)
            ]
            names = fitting[-1] if fitting else None
        elif len(names) != width:
            raise _Unfit(f"{len(names)} columns are named, there are {width}")
        if width < 3:
            raise _Unfit(f"line {self._rows[0][0]} has {width} values, points have three")
        if names is None:
            return [0, 1, 2]
        if any(names.count(name) > 1 for name in COORDINATES):
            raise _Unfit("a column x, y or z is named twice")
        return [names.index(name) for name in COORDINATES]

    def _at_once(self, width: int, columns: list[int]) -> np.ndarray | None:
        """The points of a table with one kind of separator, or None if it is not such a one."""
        rows = [row for _, row in self._rows]
        mark = next((mark for mark in (",", ";", None) if mark is None or mark in rows[0]), None)
        if mark is None:
            even = all(len(row.split()) == width for row in rows)
        else:
            even = all(row.count(mark) == width - 1 for row in rows)
        if not even:
            return None
        try:
            return np.loadtxt(rows, delimiter=mark, usecols=columns, ndmin=2, comments=None)
        except ValueError:
            return None

    def _line_by_line(self, width: int, columns: list[int]) -> np.ndarray:
        points = np.empty((len(self._rows), 3))
        for point, (number, row) in zip(points, self._rows, strict=True):
            fields = _fields(number, row)
            if len(fields) != width:
                raise _Unfit(f"line {number} has {len(fields)} values, others have {width}")
            for axis, column in enumerate(columns):
                if not _is_number(fields[column]):
                    raise _Unfit(f"line {number}: {fields[column]!r} is no number")
                point[axis] = float(fields[column])
        return points


def _fields(number: int, line: str) -> list[str]:
    """The values of a line; one separator at its end is none."""
    words = re.split(r"[;\s]+", line.strip("; \t"))
    commas = [word for word in words if _DECIMAL_COMMA.fullmatch(word)]
    if commas and len(words) > 1:
        _refuse_comma(number, commas[0])
    return _SEPARATOR.split(_LAST.sub("", line))


def _refuse_comma(number: int, word: str) -> NoReturn:
    raise _Unfit(f"line {number}: {word!r} has a decimal comma, write a point")


def _names(line: str) -> list[str]:
    """The words of a line as names of columns, small, without quotes and units."""
    line = _LAST.sub("", line)
    words = re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split()
    return [_UNIT.sub("", word.strip().strip("\"'").strip()).lower() for word in words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word

"""Reads one frame of a sensor: the points of one file, in the formats that sensors and tools write.

    .npy, .npz         an array [n, C], or with named fields; of an npz file `points`, or its only
                       array, with the names of the columns in `columns` if that is there
    .bin               float32, little endian: x, y, z and intensity, or the columns that are named
    .ply, .pcd         text or binary; of a .pcd file also compressed
    .xyz, .txt, .csv   one point per line, with or without a header line
    .las, .laz         with scale and offset applied in float64

Coordinates are those of the file. The viewpoint of a .pcd file is the pose of the sensor and moves
no points. Colors that are packed into one number of a .pcd file become red, green and blue. The
colors of a .las file keep its 16 bits.

PCD and PLY files are read here and not by a library: each takes a short function, sizes in headers
have to be checked against the file before anything is allocated, and libraries in Python parse text
files value by value.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pointata_jax.data.array_files import read_arrays
from pointata_jax.data.file_faults import unreadable
from pointata_jax.data.precision import check_resolution
from pointata_jax.data.schema import COORDINATES
from pointata_jax.data.text_files import DECIMAL_COMMA, read_content, read_text
from pointata_jax.errors import InputError

Fields = Sequence[tuple[str, np.ndarray]]
"""Names of fields and their values, `[n]`, or `[n, k]` for a field of k numbers."""

_COLORS = ("red", "green", "blue")
_LAS_VLR = 54  # Bytes of the header of a variable-length record.
_LAS_CHUNK = 1_000_000
_LAZ_CHUNK_BYTES = 20  # A chunk begins with a whole point, of at least 20 bytes.
_LZF_GROWTH = 88  # Three bytes of LZF stand for at most 264.
_HEADER_LINES = 1000
_UNIT = re.compile(r"\s*[\[(].*[\])]$")  # Such as "x [m]".
_PCD_TYPES = {"F": "f", "U": "u", "I": "i"}
_PLY_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_PLY_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """The points of one frame.

    Attributes:
      values: `[n, C]`, float32 if it holds the numbers of all columns exactly, else float64.
      columns: names of the columns: x, y, z, then the others as in the file.
      time: seconds, where the format has a time of the frame.
      dropped: number of points with NaN or infinite coordinates, which were left out.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    time: float | None
    dropped: int


def read_frame(path: str | os.PathLike, columns: Sequence[str] | None = None) -> Frame:
    """Reads the points of a file; a frame without points is not an error.

    Args:
      path: the file, with one of the endings `SUFFIXES` in small or capital letters.
      columns: names of the columns in the order of the file, for arrays, .bin and text files. They
        replace names in the file. Files without names have x, y, z, and then column_3, column_4 …;
        .bin files have x, y, z and intensity. Formats with named fields ignore it.

    Raises:
      InputError: the file is missing, damaged or of an unknown format, its columns have other names
        or another number than expected, or a library that reads it is missing.
    """
    return frame_from_fields(_read_fields(Path(path), columns, head=False), path)


def read_columns(path: str | os.PathLike, columns: Sequence[str] | None = None) -> tuple[str, ...]:
    """The columns that `read_frame` finds, without reading the points where a header tells them."""
    return frame_from_fields(_read_fields(Path(path), columns, head=True), path).columns


def frame_from_fields(fields: Fields, where: str | os.PathLike, time: float | None = None) -> Frame:
    """Joins the fields of a frame; points with NaN or infinite coordinates are left out.

    Args:
      fields: names and values.
      where: the file, for messages.
      time: of the frame, in seconds.

    Raises:
      InputError: coordinates are missing, a name is there twice, values are no real numbers, or
        float32 coordinates have lost the digits that tell the points apart.
    """
    found: dict[str, np.ndarray] = {}
    for name, values in _single_columns(fields):
        name = name.lower() if name.lower() in COORDINATES else name
        if name in found:
            raise InputError(f"{os.fspath(where)} has two columns {name!r}; rename one.")
        if values.dtype.kind not in "fiub":
            raise InputError(
                f"{os.fspath(where)}: the column {name} is {values.dtype}, expected real numbers; "
                "convert it."
            )
        found[name] = values
    missing = [name for name in COORDINATES if name not in found]
    if missing:
        raise InputError(
            f"{os.fspath(where)} lacks {', '.join(missing)}; its columns are "
            f"{', '.join(found) or 'none'}: call those of the coordinates x, y and z."
        )
    names = (*COORDINATES, *(name for name in found if name not in COORDINATES))
    narrow = np.result_type(np.float32, *(values.dtype for values in found.values())) == np.float32
    rows = np.empty((len(found["x"]), len(names)), np.float32 if narrow else np.float64)
    for column, name in enumerate(names):
        rows[:, column] = found[name]
    finite = np.isfinite(rows[:, :3]).all(axis=1)
    dropped = len(rows) - int(finite.sum())
    rows = rows[finite] if dropped else rows
    coordinates = np.result_type(*(found[name].dtype for name in COORDINATES))
    if not narrow and coordinates.kind == "f" and coordinates.itemsize <= 4:
        # A later check of the array would see float64 and miss it.
        check_resolution(rows[:, :3].astype(coordinates), os.fspath(where))
    return Frame(rows, names, time, dropped)


def named_fields(
    array: np.ndarray, columns: Sequence[str] | None, where: str | os.PathLike
) -> Fields:
    """The fields of an array `[n, C]`, or of an array of any shape with named fields.

    Args:
      array: the points of one frame.
      columns: names of the columns; None for x, y, z, column_3, column_4 …
      where: the file, for messages.

    Raises:
      InputError: another shape, or another number of names.
    """
    if array.dtype.names:
        return [(name, array[name].reshape(-1)) for name in array.dtype.names]
    if array.ndim != 2 or array.shape[1] < 3:
        raise InputError(
            f"{os.fspath(where)} holds an array of shape {array.shape}, expected the points of one "
            "frame [n, C] with x, y and z."
        )
    return list(zip(_names(columns, array.shape[1], where), array.T, strict=True))


def npz_points(path: str | os.PathLike) -> tuple[np.ndarray, list[str] | None]:
    """The array `points` of an npz file, or its only array, and its `columns` or None.

    Raises:
      InputError: the file cannot be read, or it is not clear which array holds the points.
    """
    path = Path(path)
    arrays = read_arrays(path, ("points", "columns"))
    if "points" not in arrays:
        arrays = read_arrays(path)
    names = arrays.pop("columns", None)
    if len(arrays) != 1:
        raise InputError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; call that of the points "
            "`points`."
        )
    if names is None:
        return next(iter(arrays.values())), None
    if names.ndim != 1 or names.dtype.kind != "U":
        raise InputError(f"{path}: columns must be a list of names; save a list of text.")
    return next(iter(arrays.values())), names.tolist()


def open_npy(path: str | os.PathLike) -> np.ndarray:
    """The array of an npy file, mapped into memory; InputError if it is damaged."""
    path = Path(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:
        raise unreadable(path, error) from None


def sensor_library(name: str, suffix: str) -> Any:
    """Imports a library of the extra `sensors`.

    Args:
      name: of the module.
      suffix: ending of the files that it reads, for the message.

    Raises:
      InputError: the library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"reading {suffix} needs {name.partition('.')[0]}: pip install 'pointata-jax[sensors]'."
        ) from None


def _read_fields(path: Path, columns: Sequence[str] | None, *, head: bool) -> Fields:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is no file of a frame; these end in {', '.join(SUFFIXES)}.")
    if path.exists() and not path.is_file():  # Reading a pipe would block.
        raise InputError(f"{path} is a folder or device, expected a file.")
    try:
        with np.errstate(all="ignore"):  # Damaged numbers are dropped and counted.
            return reader(path, columns, head)
    except InputError:
        raise
    except Exception as error:
        raise unreadable(path, error) from None


def _single_columns(fields: Fields) -> Iterable[tuple[str, np.ndarray]]:
    """Divides a field of k numbers into the columns name_0, name_1 … of one number each."""
    for name, values in fields:
        if values.ndim == 1:
            yield name, values
        else:
            yield from ((f"{name}_{i}", column) for i, column in enumerate(values.T))


def unpacked_colors(fields: Fields) -> Fields:
    """Fields with the 32 bits of `rgb` or `rgba` as red, green, blue (and alpha), 0 to 255."""
    found: list[tuple[str, np.ndarray]] = []
    for name, values in fields:
        if name not in ("rgb", "rgba") or values.ndim != 1 or values.dtype.itemsize != 4:
            found.append((name, values))
            continue
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        octets = native.view(np.uint32)[:, None] >> np.array([16, 8, 0, 24], np.uint32) & 255
        parts = (*_COLORS, "alpha") if name == "rgba" else _COLORS
        found += zip(parts, octets.astype(np.uint8).T, strict=False)
    return found


def _names(columns: Sequence[str] | None, width: int, where: str | os.PathLike) -> tuple[str, ...]:
    """The names of `width` columns."""
    if columns is None:
        return (*COORDINATES, *(f"column_{i}" for i in range(3, width)))
    if len(columns) != width:
        raise InputError(
            f"{os.fspath(where)} has {width} columns, but {len(columns)} are named "
            f"({', '.join(columns)}); name each of them."
        )
    return tuple(columns)


def _read_npy(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    fields = named_fields(open_npy(path), columns, path)
    return [(name, values[:0]) for name, values in fields] if head else fields


def _read_npz(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    array, own = npz_points(path)
    return named_fields(array, columns or own, path)


def _read_bin(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    names = columns or (*COORDINATES, "intensity")
    values = np.frombuffer(b"" if head else read_content(path), np.uint8)
    if len(values) % (4 * len(names)):
        raise InputError(
            f"{path} has {len(values)} bytes, which are no whole points of {len(names)} float32 "
            f"({', '.join(names)}): name its columns, or copy it again."
        )
    return named_fields(values.view("<f4").reshape(-1, len(names)), names, path)


def _read_text(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    """A table; see `_header_names` for the names of its columns."""
    rows, comments = [], []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.strip()
        if line.startswith(("#", "//", "%")):
            comments.append(line.lstrip("#/% \t"))
        elif line:
            rows.append((number, line))
    announced = int(rows.pop(0)[1]) if rows and rows[0][1].isdecimal() else None
    header = rows.pop(0)[1] if rows and _is_header(rows[0][1]) else None
    if announced not in (None, len(rows)):
        raise ValueError(f"it announces {announced} points and holds {len(rows)}")
    width = len(_split(rows[0][1])) if rows else len(columns or _split(header or "x y z"))
    if width < 3:
        raise InputError(f"{path} has {width} columns, points have x, y and z.")
    names = columns or _header_names(header, comments, width)
    table = _parse_rows(rows, width, path) if rows and not head else np.empty((0, width))
    return named_fields(table, names, path)


def _is_header(line: str) -> bool:
    # A decimal comma is refused below, and must not pass for a name.
    return not any(_is_number(word) or DECIMAL_COMMA.fullmatch(word) for word in _split(line))


def _header_names(header: str | None, comments: list[str], width: int) -> list[str] | None:
    """Names from a header line, or from a comment that names each column, x, y and z among them.

    Units in brackets behind a name are left out.
    """
    if header is not None:
        return _without_units(header)
    for words in map(_without_units, reversed(comments)):
        if len(words) == width and set(COORDINATES) <= {word.lower() for word in words}:
            return words
    return None


def _without_units(line: str) -> list[str]:
    return [_UNIT.sub("", word) for word in _split(line)]


def _parse_rows(rows: list[tuple[int, str]], width: int, path: Path) -> np.ndarray:
    separator = _separator(rows[0][1])
    lines = [line.removesuffix(separator or " ") for _, line in rows]
    try:
        return np.loadtxt(lines, delimiter=separator, ndmin=2, comments=None)
    except ValueError:
        for number, line in rows:
            words = _split(line, separator)
            if len(words) != width:
                raise InputError(
                    f"{path}: line {number} has {len(words)} values, others have {width}; correct "
                    "it."
                ) from None
            wrong = [word for word in words if not _is_number(word)]
            if wrong:
                raise InputError(
                    f"{path}: line {number} holds {wrong[0][:40]!r}, expected numbers with a "
                    "decimal point; correct it, or leave out this column."
                ) from None
        raise


def _separator(line: str) -> str | None:
    """The separator of a line; None for blanks and tabs."""
    return next((mark for mark in (";", ",") if mark in line), None)


def _split(line: str, separator: str | None = None) -> list[str]:
    separator = separator or _separator(line)
    words = line.removesuffix(separator or " ").split(separator)
    return [word.strip().strip("\"'").strip() for word in words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _read_las(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    laspy = sensor_library("laspy", path.suffix.lower())
    if path.suffix.lower() == ".laz":
        sensor_library("lazrs", ".laz")
    with open(path, "rb") as file:
        size = path.stat().st_size
        start = file.read(104)
        records = struct.unpack_from("<I", start, 100)[0]
        if records * _LAS_VLR > size:
            raise ValueError(f"its header announces {records} records of metadata")
        file.seek(0)
        # The backend of one thread: its errors are exceptions of this thread.
        backend = laspy.LazBackend.Lazrs
        with laspy.open(file, closefd=False, laz_backend=backend, read_evlrs=False) as reader:
            header = reader.header
            if not header.are_points_compressed:
                _check_size(header.point_count, header.point_format.size, size)
            elif header.point_count:
                _check_chunks(path, header.offset_to_point_data, size)
            count = 0 if head else header.point_count
            # A compressed file that claims too many points fails where its data end.
            parts = [reader.read_points(min(count, _LAS_CHUNK))]
            for _ in range(_LAS_CHUNK, count, _LAS_CHUNK):
                parts.append(reader.read_points(_LAS_CHUNK))
    if sum(map(len, parts)) != count:
        raise ValueError(f"it holds {sum(map(len, parts))} of {count} points")
    names = [name for name in header.point_format.dimension_names if name not in ("X", "Y", "Z")]
    return [
        (name, np.concatenate([np.asarray(part[name]) for part in parts]))
        for name in (*COORDINATES, *names)
    ]


def _check_chunks(path: Path, start: int, size: int) -> None:
    """ValueError if a .laz file announces more chunks than it can hold, which lazrs would allocate.

    The points begin with the position of the table of chunks. It is -1 if the position was written
    at the end of the file.
    """
    with open(path, "rb") as file:
        file.seek(start)
        position = struct.unpack("<q", file.read(8))[0]
        if position == -1:
            file.seek(-8, os.SEEK_END)
            position = struct.unpack("<q", file.read(8))[0]
        file.seek(position)
        _, chunks = struct.unpack("<II", file.read(8))
    if chunks * _LAZ_CHUNK_BYTES > size:
        raise ValueError(f"it announces {chunks} chunks of points")


def _check_size(count: int, itemsize: int, available: int) -> None:
    """ValueError if a file is too short for the points that its header announces."""
    if count * itemsize > available:
        raise ValueError(
            f"its header announces {count} points, and {available} bytes are too few for them"
        )


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How the points of a .ply or .pcd file are stored.

    Attributes:
      names: of the fields.
      dtypes: of one number of each field.
      counts: numbers of each field.
      points: number of points.
      encoding: "ascii", "binary" or "binary_compressed".
      skipped: what comes before the points: lines of a text file, bytes of a binary one.
    """

    names: tuple[str, ...]
    dtypes: tuple[np.dtype, ...]
    counts: tuple[int, ...]
    points: int
    encoding: str
    skipped: int = 0

    @property
    def record(self) -> np.dtype:
        """One point. Numbered fields, because names of padding may repeat."""
        parts = zip(self.dtypes, self.counts, strict=True)
        return np.dtype([(f"{i}", dtype, (count,)) for i, (dtype, count) in enumerate(parts)])


def _read_pcd(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    with open(path, "rb") as file:
        layout = _pcd_layout(file)
        fields = _stored_fields(layout, file, path, head)
    return unpacked_colors([(name, values) for name, values in fields if name != "_"])


def _read_ply(path: Path, columns: Sequence[str] | None, head: bool) -> Fields:
    with open(path, "rb") as file:
        return _stored_fields(_ply_layout(file), file, path, head)


def _stored_fields(layout: _Layout, file: BinaryIO, path: Path, head: bool) -> Fields:
    """The fields of the points from the end of the header on."""
    available = path.stat().st_size - file.tell()
    if layout.encoding == "binary_compressed":
        values = _compressed_values(layout, file, available, head)
    elif layout.encoding == "binary":
        _check_size(layout.points, layout.record.itemsize, available - layout.skipped)
        file.seek(layout.skipped, os.SEEK_CUR)
        content = b"" if head else file.read(layout.points * layout.record.itemsize)
        records = np.frombuffer(content, layout.record)
        values = [records[name] for name in layout.record.names or ()]
    else:
        _check_size(layout.points, 2 * sum(layout.counts), available + 1)
        lines = [] if head else file.read().decode("latin-1").split("\n")
        values = _text_values(layout, [line for line in lines if line.strip()], head)
    parts = zip(layout.names, values, layout.counts, strict=True)
    return [(name, part[:, 0] if count == 1 else part) for name, part, count in parts]


def _text_values(layout: _Layout, lines: list[str], head: bool) -> list[np.ndarray]:
    count, width = 0 if head else layout.points, sum(layout.counts)
    lines = lines[layout.skipped : layout.skipped + count]
    if len(lines) != count:
        raise ValueError(f"it holds {len(lines)} of {count} points")
    table = np.loadtxt(lines, ndmin=2, comments=None) if lines else np.empty((0, width))
    if table.shape[1] != width:
        raise ValueError(f"its points have {table.shape[1]} values instead of {width}")
    found = []
    parts = np.split(table, np.cumsum(layout.counts)[:-1], axis=1)
    for name, part, dtype in zip(layout.names, parts, layout.dtypes, strict=True):
        values = part.astype(dtype)
        if dtype.kind != "f" and not (values == part).all():
            raise ValueError(f"values of {name} are not {dtype}")
        found.append(values)
    return found


def _compressed_values(
    layout: _Layout, file: BinaryIO, available: int, head: bool
) -> list[np.ndarray]:
    """Values of a compressed .pcd file, which stores the fields one after the other."""
    if head:
        return [
            np.empty((0, n), dtype) for dtype, n in zip(layout.dtypes, layout.counts, strict=True)
        ]
    packed, size = struct.unpack("<II", file.read(8))
    if packed > available - 8 or size > packed * _LZF_GROWTH:
        raise ValueError(f"it announces {packed} compressed bytes for {size}")
    if size != layout.points * layout.record.itemsize:
        raise ValueError(f"its header announces {layout.points} points, its data have {size} bytes")
    content, start, found = _lzf_decompress(file.read(packed), size), 0, []
    for dtype, count in zip(layout.dtypes, layout.counts, strict=True):
        part = np.frombuffer(content, dtype, layout.points * count, start)
        found.append(part.reshape(layout.points, count))
        start += part.nbytes
    return found


def _lzf_decompress(packed: bytes, size: int) -> bytes:
    """Expands LZF data to `size` bytes; ValueError if they are damaged.

    A byte below 32 announces that many bytes plus one. Any other byte has a length in its upper 3
    bits (7: a further byte is added to it) and a distance in the lower 5 and the next byte.
    """
    result = bytearray()
    position = 0
    try:
        while position < len(packed) and len(result) <= size:
            control = packed[position]
            position += 1
            if control < 32:
                result += packed[position : position + control + 1]
                position += control + 1
                continue
            length = (control >> 5) + 2
            if length == 9:
                length += packed[position]
                position += 1
            start = len(result) - ((control & 31) << 8) - packed[position] - 1
            position += 1
            if start < 0:
                raise ValueError("its compressed data refer to bytes before their beginning")
            pattern = result[start : start + length]
            # The copy may reach into itself, which repeats its beginning.
            result += (pattern * (length // len(pattern) + 1))[:length]
    except IndexError:
        raise ValueError("its compressed data end early") from None
    if len(result) != size:
        raise ValueError(f"its compressed data have {len(result)} bytes instead of {size}")
    return bytes(result)


def _header_lines(file: BinaryIO) -> Iterable[list[str]]:
    """The words of each line of a header."""
    for _ in range(_HEADER_LINES):
        line = file.readline(1 << 16)
        if not line.endswith(b"\n"):
            break
        yield line.decode("latin-1").split()
    raise ValueError("its header does not end")


def _pcd_layout(file: BinaryIO) -> _Layout:
    header: dict[str, list[str]] = {}
    for words in _header_lines(file):
        if words and not words[0].startswith("#"):
            header[words[0].upper()] = words[1:]
            if words[0].upper() == "DATA":
                break
    for name in ("FIELDS", "SIZE", "TYPE"):
        if name not in header:
            raise ValueError(f"its header lacks {name}")
    names = tuple(header["FIELDS"])
    types = [_PCD_TYPES.get(word, "?") for word in header["TYPE"]]
    sizes = zip(types, header["SIZE"], strict=True)
    counts = tuple(int(word) for word in header.get("COUNT", ["1"] * len(names)))
    if len(names) != len(types) or len(counts) != len(types) or min(counts, default=0) < 1:
        raise ValueError("FIELDS, TYPE and COUNT of its header disagree")
    if max(counts) > 1 << 16:
        raise ValueError(f"its header announces a field of {max(counts)} numbers")
    shape = [int(word) for key in ("WIDTH", "HEIGHT") for word in header.get(key, ["1"])[:1]]
    points = int(header["POINTS"][0]) if "POINTS" in header else shape[0] * shape[1]
    encoding = " ".join(header["DATA"])
    if points < 0 or encoding not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"its header announces {points} points of the encoding {encoding!r}")
    dtypes = tuple(np.dtype(f"<{kind}{size}") for kind, size in sizes)
    return _Layout(names, dtypes, counts, points, encoding)


def _ply_layout(file: BinaryIO) -> _Layout:
    if file.readline(8).strip() != b"ply":
        raise ValueError("it does not begin with the line ply")
    order, elements = None, []
    for words in _header_lines(file):
        match words:
            case ["end_header"]:
                break
            case ["format", encoding, *_]:
                order = _PLY_ORDERS.get(encoding)
            case ["element", name, count] if int(count) >= 0:
                elements.append((name, int(count), []))
            case ["property", "list", _, _, name] if elements:
                elements[-1][2].append((name, None))
            case ["property", kind, name] if elements and kind in _PLY_TYPES:
                elements[-1][2].append((name, _PLY_TYPES[kind]))
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise ValueError(f"its header holds the line {' '.join(words)[:60]!r}")
    if order is None:
        raise ValueError("its header lacks a known format")
    skipped = 0
    for name, count, properties in elements:
        if name != "vertex" and not order:
            skipped += count
            continue
        if not properties or any(kind is None for _, kind in properties):
            raise ValueError(f"its element {name} before the points has lists, or no properties")
        dtypes = tuple(np.dtype(f"{order}{kind}") for _, kind in properties)
        if name != "vertex":
            skipped += count * sum(dtype.itemsize for dtype in dtypes)
            continue
        names = tuple(name for name, _ in properties)
        encoding = "binary" if order else "ascii"
        return _Layout(names, dtypes, (1,) * len(names), count, encoding, skipped)
    raise ValueError("it has no element vertex")


_READERS: Mapping[str, Callable[[Path, Sequence[str] | None, bool], Fields]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".bin": _read_bin,
    ".xyz": _read_text,
    ".txt": _read_text,
    ".csv": _read_text,
    ".las": _read_las,
    ".laz": _read_las,
}

SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""Endings of the files that are read, in lower case."""


def same_format(one: str, other: str) -> bool:
    """Whether files with these endings are read alike, as .txt and .csv are."""
    return _READERS[one] is _READERS[other]

"""The description of a user's folder: kind of label, columns and classes, checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointata_jax.data import schema
from pointata_jax.data.text_files import read_text
from pointata_jax.errors import InputError

KINDS = ("clip", "frame", "point")


@dataclasses.dataclass(frozen=True)
class Description:
    """What all videos of a folder share.

    Attributes:
      kind: what carries a label, "clip", "frame" or "point".
      columns: names of the values of a point, x, y, z first.
      classes: class names in label order.
      from_file: whether `dataset.json` gives columns and classes. If not, every npz file must.
    """

    kind: schema.Kind
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    from_file: bool = dataclasses.field(default=True, compare=False)


def read_description(path: Path) -> Description:
    """Reads a `dataset.json`; InputError, naming it, if it is not valid."""
    try:
        values = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no valid JSON ({error}); correct it.") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold one object with kind, columns and classes.")
    return checked({"columns": list(schema.COORDINATES)} | values, path, from_file=True)


def checked(values: Mapping[str, Any], path: Path, *, from_file: bool) -> Description:
    """The description with these entries.

    Args:
      values: kind, columns and classes.
      path: the file that they come from, for errors.
      from_file: whether that file is a `dataset.json`.

    Raises:
      InputError: an entry is missing, unknown or not valid; the sentence names `path`.
    """
    keys = ("kind", "columns", "classes")
    unknown = sorted(set(values) - set(keys))
    missing = sorted(set(keys) - set(values))
    if unknown or missing:
        what = f"has the unknown entry {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise InputError(f"{path} {what}; its entries are kind, columns and classes.")
    if values["kind"] not in KINDS:
        raise InputError(f"{path}: kind is {values['kind']!r}, use one of {', '.join(KINDS)}.")
    columns = _names(values["columns"], "columns", path)
    # Some programs write the coordinates in capitals. Other names are kept as they are.
    lower = tuple(name.lower() for name in columns[:3])
    columns = lower + columns[3:] if lower == schema.COORDINATES else columns
    try:
        columns = schema.check_columns(columns)
    except InputError as error:
        raise InputError(f"{path}: {error}{_how_to_reorder(columns)}") from None
    classes = _names(values["classes"], "classes", path)
    return Description(values["kind"], columns, classes, from_file)


def _names(names: Any, key: str, path: Path) -> tuple[str, ...]:
    """Names without blanks around them, since the prepared records do not keep those."""
    good = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    stripped = tuple(name.strip() for name in names) if good else ()
    if (
        not stripped
        or not all(stripped)
        or any(mark in name for name in stripped for mark in ",\n\r")
        or len(set(stripped)) != len(stripped)
    ):
        raise InputError(
            f"{path}: {key} must be a list of different names without commas, it is {names!r}."
        )
    return stripped


def _how_to_reorder(columns: Sequence[str]) -> str:
    """How to bring the coordinates to the front, as a sentence; empty where one is missing."""
    lower = [name.lower() for name in columns]
    if not set(schema.COORDINATES) <= set(lower):
        return ""
    first = [lower.index(name) for name in schema.COORDINATES]
    order = first + [number for number in range(len(columns)) if number not in first]
    named = [*schema.COORDINATES, *(columns[number] for number in order[3:])]
    return f" Save points[..., {order}] instead of points, with the columns {named}."

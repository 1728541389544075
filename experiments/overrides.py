"""Settings of a task from the command line: `--set model.radius=0.15`."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Any

from experiments.command_line import SETTINGS_SEPARATOR
from pointata_jax.errors import InputError
from pointata_jax.stages.config import TaskConfig

GROUPS = ("clip", "model", "baseline", "align", "adapt")


def override(config: TaskConfig, given: str) -> TaskConfig:
    """The task with some settings replaced.

    Args:
      config: the task.
      given: lines `group.name=value`. A list of values is separated by colons.

    Raises:
      InputError: no such setting, with the nearest name, or a value of the wrong type.
    """
    known = {
        f"{group}.{field.name}": group
        for group in GROUPS
        for field in dataclasses.fields(getattr(config, group))
    }
    for line in given.split(SETTINGS_SEPARATOR):
        name, equals, text = (part.strip() for part in line.partition("="))
        if not equals or name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise InputError(
                f"--set {line!r}: give group.name=value; "
                f"{'the nearest setting is' if equals else 'one of the settings is'} {near}."
            )
        group = getattr(config, known[name])
        field = name.partition(".")[2]
        value = _parse(text, typing.get_type_hints(type(group))[field], name)
        changed = dataclasses.replace(group, **{field: value})
        config = dataclasses.replace(config, **{known[name]: changed})
    return config


def _parse(text: str, hint: Any, name: str) -> Any:
    """`text` as a value of the annotated type."""
    if isinstance(hint, types.UnionType) and types.NoneType in (options := typing.get_args(hint)):
        if text.lower() == "none":
            return None
        (hint,) = (option for option in options if option is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        return tuple(_parse(part, kind, name) for part in text.split(":") if part)
    if hint is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if hint in (int, float, str):
        try:
            return hint(text)
        except ValueError:
            pass
    if typing.get_origin(hint) is typing.Literal and text in typing.get_args(hint):
        return text
    what = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint)
    if typing.get_origin(hint) is typing.Literal:
        what = f"one of {', '.join(map(str, typing.get_args(hint)))}"
    if what is None:
        raise InputError(f"--set {name}: this setting can only be changed in a configuration file.")
    raise InputError(f"--set {name}={text}: give {what}.")

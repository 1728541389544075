"""The text of --help: the flags of a dataclass in groups, their comments as explanations."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import typing
from typing import Any

GROUPS = {
    "data": (
        "task", "data_dir", "cache_dir", "download", "variant", "protocol", "partial", "shapes",
        "frames", "points", "merge", "channels", "hold_out", "validation", "videos_per_class",
        "label_fraction", "split", "order", "perturbation", "per_class", "except_classes",
        "columns", "topic", "scale", "up_axis", "test_share",
    ),
    "model": ("model", "preset", "backbone", "backbones", "source_bank", "tuning",
              "embedder_init"),
    "training": (
        "steps", "batch_size", "learning_rate", "eval_every", "class_weights", "objective",
        "optimizer", "weight_decay", "cache_features", "seed", "seeds", "set",
    ),
    "run": (
        "run", "workdir", "output", "html", "clouds", "resume", "test", "report", "tensorboard",
        "wandb", "measure_memory", "distributed",
    ),
}  # fmt: skip
"""Flags by group, in their order. Flags that no group names come first."""

_WIDTH = 100
_COLUMN = 26


def help_text(arguments: type, about: str, *, positional: bool = False) -> str:
    """What --help prints.

    Args:
      arguments: the dataclass of the flags. The comment above or beside a field explains it.
      about: what the command does, printed above the flags.
      positional: whether it takes arguments without dashes.
    """
    fields = {field.name: field for field in dataclasses.fields(arguments)}
    grouped = {name for names in GROUPS.values() for name in names}
    parts = {"": [name for name in fields if name not in grouped]}
    parts |= {group: [n for n in names if n in fields] for group, names in GROUPS.items()}
    usage = f"usage: {_program()} [--flag=value ...]{' INPUT ...' if positional else ''}"
    lines = [usage, "", about.strip()]
    types = typing.get_type_hints(arguments)
    own_names = {field: flag for flag, field in getattr(arguments, "aliases", {}).items()}
    for group, names in parts.items():
        if names:
            lines += ["", *([f"{group}:"] if group else [])]
        for name in names:
            shown = own_names.get(name, name)
            lines += _entry(shown, fields[name], types[name], _comment(arguments, name))
    return "\n".join(lines)


def _program() -> str:
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name}" if spec is not None else sys.argv[0]


def _entry(name: str, field: dataclasses.Field[Any], kind: Any, comment: str) -> list[str]:
    """The lines of one flag."""
    if kind is bool:
        flag = f"--[no]{name}" if field.default else f"--{name}"
    else:
        flag = f"--{name}={_value(kind)}"
    shown = field.default not in (None, "", False, True, dataclasses.MISSING)
    if shown and "default:" not in comment:
        comment += f" (default: {field.default})"
    body = textwrap.wrap(comment.strip(), _WIDTH - _COLUMN) or [""]
    head = f"  {flag}"
    if len(head) >= _COLUMN:
        return [head, *(" " * _COLUMN + line for line in body)]
    return [head.ljust(_COLUMN) + body[0], *(" " * _COLUMN + line for line in body[1:])]


def _value(kind: Any) -> str:
    """What a flag takes: N for whole numbers, X for others, TEXT."""
    kinds = set(typing.get_args(kind)) - {type(None)} or {kind}
    return "N" if kinds == {int} else "X" if kinds == {float} else "TEXT"


def _comment(arguments: type, name: str) -> str:
    from simple_parsing.docstring import get_attribute_docstring

    found = get_attribute_docstring(arguments, name)
    return " ".join((found.comment_inline or found.comment_above).split())

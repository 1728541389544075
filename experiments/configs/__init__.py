"""One configuration per task; `load(name)` finds it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from pointata_jax.errors import InputError

if TYPE_CHECKING:
    from pointata_jax.stages.config import TaskConfig

TASKS = tuple(sorted(f.stem for f in Path(__file__).parent.glob("*.py") if f.stem != "__init__"))


def load(task: str, protocol: str | None = None) -> TaskConfig:
    """The configuration of `task`, a file of this folder.

    Args:
      task: name of the file.
      protocol: "published" takes the file's `PUBLISHED` where it has one: what the published code
        does to clips and splits, defects included.

    Raises:
      InputError: an unknown task.
    """
    if task not in TASKS:
        raise InputError(f"unknown task {task!r}: choose one of {', '.join(TASKS)}.")
    module = importlib.import_module(f"experiments.configs.{task}")
    return getattr(module, "PUBLISHED", module.CONFIG) if protocol == "published" else module.CONFIG

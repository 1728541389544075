"""Check of the names in a stored configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pointata_jax.errors import InputError


def check_setting_names(config: type, values: Mapping[str, Any], owner: str) -> None:
    """Checks that every name in `values` is a field of a dataclass.

    Args:
      config: the dataclass.
      values: a stored configuration.
      owner: what the settings belong to, for the error.

    Raises:
      InputError: a name is no field.
    """
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(config)})
    if unknown:
        raise InputError(
            f"unknown {owner} settings {', '.join(unknown)}: remove them, or use the version of "
            "pointata_jax that wrote them."
        )

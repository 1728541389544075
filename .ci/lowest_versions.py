"""Prints the lower bounds of pyproject.toml as constraints for pip, such as `jax==0.10`.

With --python, prints the oldest Python that is allowed, such as `3.11`.
"""

from __future__ import annotations

import pathlib
import re
import sys
import tomllib
from typing import Any

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?(?P<bounds>[^;]*)")
_LOWER_BOUND = re.compile(r">=\s*([\w.]+)")


def constraints(project: dict[str, Any]) -> list[str]:
    """`name==version` for each requirement of a [project] table that has a lower bound."""
    groups = (project["dependencies"], *project.get("optional-dependencies", {}).values())
    lines = set()
    for requirement in (requirement for group in groups for requirement in group):
        parts = _REQUIREMENT.match(requirement)
        if parts and (bound := _LOWER_BOUND.search(parts["bounds"])):
            lines.add(f"{parts['name']}=={bound[1]}")
    return sorted(lines)


def oldest_python(project: dict[str, Any]) -> str:
    """The lower bound of a [project] table's requires-python."""
    bound = _LOWER_BOUND.search(project["requires-python"])
    if bound is None:
        raise ValueError("requires-python has no lower bound; write one as >=X.Y.")
    return bound[1]


def main(arguments: list[str]) -> None:
    """Prints what the arguments ask for."""
    pyproject = pathlib.Path(__file__).resolve().parent.parent / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    print(oldest_python(project) if "--python" in arguments else "\n".join(constraints(project)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""The command `pointata`: every command line of this project as a subcommand.

`pointata adapt --task=radhar` is `python -m experiments.adapt --task=radhar`, and
`pointata convert CHECKPOINT` is `python -m weights_convert CHECKPOINT`.
"""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import runpy
import sys
from collections.abc import Sequence

SUBCOMMANDS = {
    "adapt": "experiments.adapt",
    "align": "experiments.align",
    "convert": "weights_convert.__main__",
    "compare": "experiments.compare",
    "evaluate": "experiments.evaluate",
    "gap": "experiments.gap",
    "hoi4d_submission": "experiments.hoi4d_submission",
    "import_videos": "experiments.import_videos",
    "mocap6_folds": "experiments.mocap6_folds",
    "predict": "experiments.predict",
    "pretrain": "experiments.pretrain",
    "probe_backbone": "experiments.probe_backbone",
    "publish": "experiments.publish",
    "report": "experiments.report",
    "source_bank": "experiments.source_bank",
}
"""Modules by the name of their subcommand."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand as `python -m` runs its module.

    Args:
      argv: the arguments after the name of the program; by default those of the process.

    Returns:
      The exit status, where the module does not exit by itself.
    """
    arguments = sys.argv[1:] if argv is None else argv
    name, *rest = arguments or [""]
    if name in ("-h", "--help", "help"):
        print(_help())
        return 0
    if name == "--version":
        from pointata_jax import __version__

        print(f"pointata {__version__}")
        return 0
    if name not in SUBCOMMANDS:
        problem = f"unknown subcommand {name!r}" if name else "no subcommand"
        print(
            f"error: {problem}: give one of {', '.join(SUBCOMMANDS)}; see pointata --help.",
            file=sys.stderr,
        )
        return 2
    before = sys.argv
    sys.argv = [before[0], *rest]
    try:
        # The module becomes __main__, as with python -m: its docstring heads its --help, and
        # worker processes import it by name.
        runpy.run_module(SUBCOMMANDS[name], run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    return 0


def _help() -> str:
    width = max(map(len, SUBCOMMANDS))
    rows = (f"  {name:{width}}  {_summary(module)}" for name, module in SUBCOMMANDS.items())
    return "\n".join(
        (
            "usage: pointata SUBCOMMAND [--flag=value ...]",
            "",
            *rows,
            "",
            "pointata SUBCOMMAND --help lists the flags of a subcommand.",
        )
    )


def _summary(module: str) -> str:
    """First line of a module's docstring. The module is not imported, so no library is either."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = pathlib.Path(spec.origin).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

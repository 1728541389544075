"""What all command lines share: flags from a dataclass, sentences instead of tracebacks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags
from etils import eapp

from pointata_jax.errors import InputError


def run(main: Callable[[Any], None], arguments: type) -> None:
    """Parses the flags of the dataclass `arguments` and calls `main` with an instance.

    Bad flags and every `InputError` end with one sentence on stderr and exit status 2.
    """

    def parse(argv: list[str]) -> Any:
        rest = [a for a in argv[1:] if not a.startswith("-")]
        if rest:
            _stop(f"unexpected argument {rest[0]!r}: flags are written --name=value; see --help.")
        try:
            return eapp.make_flags_parser(arguments)(argv)
        except flags.Error as error:
            _stop(f"{error}; see --help.")

    def guarded(args: Any) -> None:
        logging.getLogger("absl").setLevel(logging.WARNING)
        try:
            main(args)
        except InputError as error:
            _stop(str(error))
        except KeyboardInterrupt:
            _stop("interrupted; the same command with --resume continues.")

    app.run(guarded, flags_parser=parse)


def _stop(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)

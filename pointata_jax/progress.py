"""Signs of life for the person at the terminal, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0
"""Without a terminal."""

Item = TypeVar("Item")


def show(text: str) -> None:
    """Writes a line; it does not disturb a progress bar. Only process 0 writes."""
    if is_first_process():
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yields the items and shows how far they are: a bar on a terminal, else a line every minute.

    Args:
      items: what is worked on, one after the other.
      total: how many they are.
      what: is being done, as "scoring the test videos".
    """
    if is_first_process() and sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, leave=False, dynamic_ncols=True)
        return
    shown = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - shown > SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            show(f"{what}: {100 * number // max(total, 1)} %")
        yield item


def is_first_process() -> bool:
    """Whether this process writes for all hosts."""
    import jax  # Here, since what prepares data does not need it.

    return jax.process_index() == 0

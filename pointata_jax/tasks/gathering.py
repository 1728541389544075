"""Results of evaluation batches, brought together from all hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

Batches = Iterable[dict[str, np.ndarray]]
Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From this host's batch to the logits of its rows."""


def gather_rows(rows: Iterable[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Columns over the batches of all hosts, less the rows that only fill up the last batch.

    Args:
      rows: for each batch its columns `[b, ...]`, the last of which is the weight.

    Returns:
      The columns without the weight, `[W, ...]`.
    """
    columns = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
    if jax.process_count() > 1:
        columns = multihost_utils.process_allgather(columns, tiled=True)
    *columns, weights = (np.asarray(column) for column in columns)
    return tuple(column[weights > 0] for column in columns)


def sum_over_hosts(counts: np.ndarray) -> Any:
    """The sum of every host's integer `counts`."""
    if jax.process_count() == 1:
        return counts
    # As two halves: a host array of int64 would be cut to 32 bits on its way.
    halves = np.stack([counts >> 24, counts & 0xFFFFFF]).astype(np.int32)
    high, low = np.asarray(multihost_utils.process_allgather(halves), np.int64).sum(0)
    return (high << 24) + low

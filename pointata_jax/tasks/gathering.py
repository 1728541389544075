"""Gathers the results of evaluation batches from all hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Int64, Shaped

Batches = Iterable[dict[str, np.ndarray]]
"""Batches of one host, each with its arrays by name."""

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Function from a host's batch to the logits of its rows."""


def gather_rows(
    rows: Iterable[tuple[Shaped[np.ndarray, "_ ..."], ...]],
) -> tuple[Shaped[np.ndarray, "rows ..."], ...]:
    """The columns of the batches of all hosts, without the rows that pad the last batch.

    Args:
      rows: the columns of each batch; the last column is the weight, 0 for padding.

    Returns:
      The columns without the weight.
    """
    columns = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
    if jax.process_count() > 1:
        columns = multihost_utils.process_allgather(columns, tiled=True)
    *columns, weights = (np.asarray(column) for column in columns)
    return tuple(column[weights > 0] for column in columns)


def sum_over_hosts(counts: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """The sum of the counts of all hosts."""
    if jax.process_count() == 1:
        return counts
    # Split into two halves because the transfer would truncate int64 to 32 bits.
    halves = np.stack([counts >> 24, counts & 0xFFFFFF]).astype(np.int32)
    high, low = np.asarray(multihost_utils.process_allgather(halves), np.int64).sum(0)
    return (high << 24) + low

"""Inference over any number of rows with one compiled shape."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike


def in_batches(
    function: Callable[[np.ndarray], jax.Array | np.ndarray], rows: ArrayLike, batch_size: int
) -> np.ndarray:
    """`function` of rows `[S, …]`, called on `batch_size` of them at a time.

    The last batch is filled up by repeating its last row, so that a compiled function sees one
    shape only; what it makes of the filling is cut off.

    Returns:
      `[S, …]`, the outputs in order.
    """
    rows = np.asarray(rows)
    outputs = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        filling = ((0, batch_size - len(batch)), *[(0, 0)] * (rows.ndim - 1))
        outputs.append(np.asarray(function(np.pad(batch, filling, mode="edge")))[: len(batch)])
    return np.concatenate(outputs)

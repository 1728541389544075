"""Inference over any number of rows with one compiled shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike


def in_batches(function: Callable[[np.ndarray], Any], rows: ArrayLike, batch_size: int) -> Any:
    """`function` of rows `[S, …]`, called on `batch_size` of them at a time.

    The last batch is filled up by repeating its last row, so that a compiled function sees one
    shape only; what it makes of the filling is cut off.

    Returns:
      The outputs in order, an array `[S, …]` or a tree of such arrays.
    """
    rows = np.asarray(rows)
    outputs = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        filling = ((0, batch_size - len(batch)), *[(0, 0)] * (rows.ndim - 1))
        outputs.append(jax.device_get(function(np.pad(batch, filling, mode="edge"))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *outputs)

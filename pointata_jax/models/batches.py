"""Inference over any number of rows with one compiled shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Shaped


def in_batches(
    function: Callable[[np.ndarray], Any], rows: Shaped[ArrayLike, "rows ..."], batch_size: int
) -> Any:
    """Calls `function` on `batch_size` rows at a time and joins the outputs.

    The last batch is padded by repeating its last row, so that a compiled function is called with
    one shape only. The outputs of the padding are dropped.

    Args:
      function: from a batch of rows to an array, or a tree of arrays, with one entry per row.
      rows: one row per entry of the first axis.
      batch_size: rows per call.

    Returns:
      The outputs of all rows in order, an array or a tree of arrays.
    """
    rows = np.asarray(rows)
    outputs = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        padding = ((0, batch_size - len(batch)), *[(0, 0)] * (rows.ndim - 1))
        outputs.append(jax.device_get(function(np.pad(batch, padding, mode="edge"))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *outputs)

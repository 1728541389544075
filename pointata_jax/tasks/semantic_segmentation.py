"""Semantic segmentation: one label per point, scored by intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.metrics.segmentation import confusion_matrix, segmentation_scores
from pointata_jax.tasks.gathering import Batches, Predict, sum_over_hosts


def score(
    predict: Predict, batches: Batches, class_names: Sequence[str], seen: Sequence[int] = ()
) -> dict[str, Any]:
    """Runs `predict` (this host's batch → its logits `[b, T, N, K]`) and scores all hosts' points.

    The points are the sampled ones of every window, as in the published protocols. Points labeled
    -1 and rows with weight 0 do not count. `seen` is of no use here.

    Returns:
      See `metrics.segmentation.segmentation_scores`.
    """
    del seen
    matrix = np.zeros((len(class_names), len(class_names)), np.int64)
    for batch in batches:
        real = batch["weight"] > 0
        said = np.asarray(predict(batch))[real].argmax(-1)
        matrix += confusion_matrix(said, batch["label"][real], len(class_names))
    return segmentation_scores(sum_over_hosts(matrix), class_names)

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
    """Runs `predict` and scores the points of all hosts.

    The scored points are those sampled in every window, as in the published protocols. Points
    labeled -1 are ignored.

    Args:
      predict: from this host's batch to its logits `[b, t, n, classes]`.
      batches: see `recognition.score`.
      class_names: names of the classes.
      seen: not used, as in `recognition.score`.

    Returns:
      See `metrics.segmentation.segmentation_scores`.
    """
    del seen
    matrix = np.zeros((len(class_names), len(class_names)), np.int64)
    for batch in batches:
        real = batch["weight"] > 0
        predicted = np.asarray(predict(batch))[real].argmax(-1)
        matrix += confusion_matrix(predicted, batch["label"][real], len(class_names))
    return segmentation_scores(sum_over_hosts(matrix), class_names)

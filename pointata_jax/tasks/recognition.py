"""Action recognition: one label per clip, scored per window and per video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.metrics.classification import recognition_scores
from pointata_jax.tasks.gathering import Batches, Predict, gather_rows


def score(
    predict: Predict, batches: Batches, class_names: Sequence[str], seen: Sequence[int] = ()
) -> dict[str, Any]:
    """Runs `predict` and scores the windows and videos of all hosts.

    Args:
      predict: from this host's batch to its logits `[b, classes]`.
      batches: this host's batches of `data.pipeline`. Rows with weight 0 pad the last batch and are
        ignored.
      class_names: names of the classes.
      seen: not used; it makes the score functions of all tasks interchangeable.

    Returns:
      See `metrics.classification.recognition_scores`.
    """
    del seen
    logits, labels, videos = gather_rows(
        (np.asarray(predict(batch)), batch["label"], batch["video"], batch["weight"])
        for batch in batches
    )
    return recognition_scores(logits, labels, videos, class_names)

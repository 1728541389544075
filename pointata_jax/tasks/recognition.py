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
    """Runs `predict` (this host's batch → its logits `[b, K]`) and scores the rows of all hosts.

    Rows with weight 0, which only fill up the last batch, do not count. `seen` is of no use here.
    """
    del seen
    logits, labels, videos = gather_rows(
        (np.asarray(predict(batch)), batch["label"], batch["video"], batch["weight"])
        for batch in batches
    )
    return recognition_scores(logits, labels, videos, class_names)

"""Keeps what a model predicts while it is scored, so that it can be looked at afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from pointata_jax.data.schema import Kind
from pointata_jax.metrics.classification import softmax, video_probabilities
from pointata_jax.metrics.segmentation import confusion_matrix
from pointata_jax.tasks.action_segmentation import join_windows
from pointata_jax.tasks.gathering import Predict

MOST_EXAMPLES = 4
"""Clips of labeled points that are kept whole."""


class Predictions:
    """The predictions of one scoring, of this host's rows.

    Args:
      kind: what has a class.
      num_classes: K.
    """

    def __init__(self, kind: Kind, num_classes: int):
        self._kind = kind
        self._num_classes = num_classes
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._confusion = np.zeros((num_classes, num_classes), np.int64)
        self._examples: list[tuple[np.ndarray, ...]] = []

    def keep(self, predict: Predict) -> Predict:
        """`predict`, whose results are kept."""

        def kept(batch: dict[str, np.ndarray]) -> np.ndarray:
            logits = np.asarray(predict(batch))
            real = batch["weight"] > 0
            labels, videos = batch["label"][real], batch["video"][real]
            if self._kind == "point":
                found = logits[real].argmax(-1).astype(np.int32)
                self._confusion += confusion_matrix(found, labels, self._num_classes)
                if len(self._examples) < MOST_EXAMPLES and real.any():
                    points = np.asarray(batch["points"])[real][0, ..., :3]
                    self._examples.append((points, labels[0], found[0], videos[0]))
            else:
                frames = [batch["frame"][real]] if self._kind == "frame" else []
                self._rows.append((softmax(logits[real]), labels, videos, *frames))
            return logits

        return kept

    def arrays(self) -> dict[str, np.ndarray]:
        """What was kept, by the kind of label.

        - clip: `video` `[V]` (indices), `true` `[V]`, `probabilities` `[V, K]` (mean of windows).
        - frame: `video` `[V]`, `frames` `[V]` (numbers of frames), `true` and `predicted` `[ΣF]`.
        - point: `confusion` `[K, K]` (true, predicted), and clips: `points` `[E, T, N, 3]`, `true`
          and `predicted` `[E, T, N]`, `video` `[E]`.
        """
        if self._kind == "point":
            points, true, predicted, video = (
                np.stack(part) for part in zip(*self._examples, strict=True)
            )
            content: dict[str, Any] = {"points": points, "true": true, "predicted": predicted}
            return {**content, "video": video, "confusion": self._confusion}
        probabilities, labels, windows, *frames = (
            np.concatenate(part) for part in zip(*self._rows, strict=True)
        )
        video, dense = np.unique(windows, return_inverse=True)
        if self._kind == "clip":
            true = np.zeros(len(video), np.int32)
            true[dense] = labels
            mean, _ = video_probabilities(probabilities, dense, len(video))
            return {"video": video, "true": true, "probabilities": mean}
        pairs = [
            join_windows(*(part[dense == i] for part in (probabilities, frames[0], labels)))
            for i in range(len(video))
        ]
        predicted, true = (np.concatenate(part) for part in zip(*pairs, strict=True))
        lengths = np.array([len(sequence) for sequence, _ in pairs])
        return {"video": video, "frames": lengths, "true": true, "predicted": predicted}

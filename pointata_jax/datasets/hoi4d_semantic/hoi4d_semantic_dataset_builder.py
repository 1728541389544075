"""tfds builder of the HOI4D semantic segmentation benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets.hoi4d import sequences
from pointata_jax.datasets.hoi4d.benchmark_builder import BenchmarkBuilder

UNSCORED_CLASSES = (0, 1)
"""The benchmark's test script never predicts these two and leaves them out of its means."""

FRAMES_PER_VIDEO = 3
"""The benchmark cuts each sequence into neighboring clips of three frames, which do not overlap.
Here each clip is a video of its own, because a record is read as a whole."""


class Builder(BenchmarkBuilder):
    """HOI4D semantic segmentation: 300 frames of 8,192 points, 49 classes.

    A video is one of the benchmark's clips of three frames, "train-00017-f003" for the frames 3 to
    5 of sequence 17; its subject is the sequence. The splits are those of `datasets.hoi4d`.

    Protocol "corrected" gives points of the classes 0 and 1 the label -1, since the benchmark does
    not score them. Protocol "published" keeps the two as classes that are trained on: they are
    never predicted, but their points count in the unions of the other classes. The color input of
    the published code, which gets the coordinates a second time, is left out by both.
    """

    VERSION = tfds.core.Version("1.0.0")
    BENCHMARK = sequences.SEMANTIC_SEGMENTATION
    SEQUENCES_PER_SHARD = 8
    MANUAL_DOWNLOAD_INSTRUCTIONS = BENCHMARK.where
    DESCRIPTION = "Clips of indoor scenes with hands and objects, a class for each point."
    LABEL_NAMES = BENCHMARK.label_names("class")
    KIND = "point"

    def cut(
        self, ref: sequences.SequenceRef, points: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Cuts a sequence into clips; frames that do not fill a last clip are left out."""
        if self._protocol == "corrected":
            labels = np.where(np.isin(labels, UNSCORED_CLASSES), schema.IGNORED, labels)
        for start in range(0, len(points) - FRAMES_PER_VIDEO + 1, FRAMES_PER_VIDEO):
            frames = slice(start, start + FRAMES_PER_VIDEO)
            yield f"{ref.video_id}-f{start:03d}", points[frames], labels[frames]

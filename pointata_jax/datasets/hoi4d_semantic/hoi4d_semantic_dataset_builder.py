"""tfds builder of the HOI4D semantic segmentation benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import ArchiveBuilder
from pointata_jax.datasets.hoi4d import sequences
from pointata_jax.datasets.hoi4d.sequences import SEMANTIC_SEGMENTATION as BENCHMARK

UNSCORED_CLASSES = (0, 1)
"""The benchmark's test script never predicts these two and leaves them out of its means."""

FRAMES_PER_VIDEO = 3
"""The benchmark cuts each sequence into neighboring clips of three frames, which do not overlap.
Each is a video of its own here, because a record is read as a whole."""


class Builder(ArchiveBuilder):
    """HOI4D semantic segmentation: 300 frames of 8,192 points, 49 labels.

    A video is one of the benchmark's clips of three frames, "train-00017-f003" for the frames 3 to
    5 of sequence 17; its subject is the sequence. The splits are those of `datasets.hoi4d`.

    Protocol "corrected" gives points of the classes 0 and 1 the label -1, since the benchmark does
    not score them; "published" keeps them as classes that are trained on and that, predicted never
    and true often, count in the unions of the others. What the color input of the published code
    gets (the coordinates once more) is left out by both.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = BENCHMARK.where
    COLUMNS = schema.COORDINATES
    LABEL_NAMES = tuple(f"class {number:02d}" for number in range(BENCHMARK.num_classes))

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return sequences.find_files(data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Clips of indoor scenes with hands and objects, a class for each point.",
            homepage="https://www.hoi4d.top",
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "point"),
            citation=(
                "Liu et al.: HOI4D: A 4D Egocentric Dataset for Category-Level Human-Object "
                "Interaction. CVPR 2022."
            ),
        )

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = streaming.manual_folder(dl_manager, BENCHMARK.where)
        found = sequences.find_sequences(folder, BENCHMARK, partial=self._partial)
        return streaming.split_shards(
            sequences.split_sequences(found, self._protocol, BENCHMARK),
            self._make_examples,
            items_per_shard=8,
            where=folder,
        )

    def _make_examples(self, ref: sequences.SequenceRef) -> Iterator[streaming.Example]:
        points, labels = sequences.read_sequence(ref, BENCHMARK)
        if self._protocol == "corrected":
            labels = np.where(np.isin(labels, UNSCORED_CLASSES), schema.IGNORED, labels)
        for start in range(0, len(points) - FRAMES_PER_VIDEO + 1, FRAMES_PER_VIDEO):
            frames = slice(start, start + FRAMES_PER_VIDEO)
            video_id = f"{ref.video_id}-f{start:03d}"
            yield (
                video_id,
                schema.make_example(
                    points[frames].reshape(-1, 3),
                    frame_sizes=np.full(FRAMES_PER_VIDEO, points.shape[1], np.int32),
                    video_id=video_id,
                    subject=ref.video_id,
                    labels=labels[frames].reshape(-1),
                    num_classes=BENCHMARK.num_classes,
                    kind="point",
                ),
            )

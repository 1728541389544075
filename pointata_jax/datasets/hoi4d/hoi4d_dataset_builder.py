"""tfds builder of the HOI4D action segmentation benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import ArchiveBuilder
from pointata_jax.datasets.hoi4d import sequences
from pointata_jax.datasets.hoi4d.sequences import ACTION_SEGMENTATION as BENCHMARK


class Builder(ArchiveBuilder):
    """HOI4D action segmentation (Liu et al., CVPR 2022): 150 frames of 2,048 points, 19 actions.

    Splits of protocol "corrected": "train", "validation" and "test", all from the public train
    files (`sequences.held_out`), and "benchmark", the 892 test sequences, whose frame labels are
    all -1 unless the user's files have them; `submission.write_submission` writes the predictions
    for them. Protocol "published" trains on all 2,971 train sequences and tests on the test files,
    which takes labels that are not public; the benchmark's own code does that.

    Units are those of the files. People and names of the actions are not published: the subject of
    a video is its id, and a class has the name of its number.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = BENCHMARK.where
    COLUMNS = schema.COORDINATES
    LABEL_NAMES = tuple(f"action {number:02d}" for number in range(BENCHMARK.num_classes))

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return sequences.find_files(data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Point-cloud videos of hands and objects with an action for each frame.",
            homepage="https://www.hoi4d.top",
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "frame"),
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
            items_per_shard=64,
            where=folder,
        )

    def _make_examples(self, ref: sequences.SequenceRef) -> Iterator[streaming.Example]:
        points, labels = sequences.read_sequence(ref, BENCHMARK)
        yield (
            ref.video_id,
            schema.make_example(
                points.reshape(-1, 3),
                frame_sizes=np.full(len(points), points.shape[1], np.int32),
                video_id=ref.video_id,
                subject=ref.video_id,
                labels=labels,
                num_classes=BENCHMARK.num_classes,
                kind="frame",
            ),
        )

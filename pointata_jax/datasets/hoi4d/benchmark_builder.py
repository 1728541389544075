"""What the tfds builders of the two HOI4D benchmarks share: files, splits and record files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import ArchiveBuilder
from pointata_jax.datasets.hoi4d import sequences


class BenchmarkBuilder(ArchiveBuilder, skip_registration=True):
    """A builder of one of the two benchmarks.

    Attributes:
      BENCHMARK: which one.
      SEQUENCES_PER_SHARD: number of sequences whose videos share a record file.
    """

    HOMEPAGE = "https://www.hoi4d.top"
    CITATION = (
        "Liu et al.: HOI4D: A 4D Egocentric Dataset for Category-Level Human-Object Interaction. "
        "CVPR 2022."
    )
    BENCHMARK: ClassVar[sequences.Benchmark]
    SEQUENCES_PER_SHARD: ClassVar[int]

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return sequences.find_files(data_dir)

    def cut(
        self, ref: sequences.SequenceRef, points: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Cuts a sequence into videos; by default it is one video.

        Args:
          ref: the sequence.
          points: [T, N, 3].
          labels: [T] or [T, N], by the kind of the benchmark.

        Yields:
          Name, points and labels of each video.
        """
        yield ref.video_id, points, labels

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = streaming.manual_folder(dl_manager, self.BENCHMARK.where)
        found = sequences.find_sequences(folder, self.BENCHMARK, partial=self._partial)
        return streaming.split_shards(
            sequences.split_sequences(found, self._protocol, self.BENCHMARK),
            self._make_examples,
            items_per_shard=self.SEQUENCES_PER_SHARD,
            where=folder,
        )

    def _make_examples(self, ref: sequences.SequenceRef) -> Iterator[streaming.Example]:
        sequence = sequences.read_sequence(ref, self.BENCHMARK)
        for video_id, points, labels in self.cut(ref, *sequence):
            yield schema.make_example(
                points.reshape(-1, 3),
                frame_sizes=np.full(len(points), points.shape[1], np.int32),
                video_id=video_id,
                subject=ref.video_id,
                labels=labels.reshape(-1),
                num_classes=self.BENCHMARK.num_classes,
                kind=self.KIND,
            )

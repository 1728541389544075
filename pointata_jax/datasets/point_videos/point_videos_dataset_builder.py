"""tfds builder of `point_videos`: a folder of a user's own npz files (`layout`), of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.point_videos import layout, video_files
from pointata_jax.errors import InputError

SHARD_BYTES = 2**28
"""Bytes of npz files that share a record file, about."""


class Builder(tfds.core.ShardBasedBuilder):
    """Videos of a folder as they are; kind, columns and classes are the folder's own."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "1.0.0": "One npz file per video.",
        "2.0.0": "Videos far from the origin are moved before they become float32.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = layout.WHERE

    def __init__(
        self, *, source: str | Path = "", file_format: str = "array_record", **kwargs: Any
    ) -> None:
        """Declares the data set.

        Args:
          source: the user's folder. The builder needs it at once, because it decides the features.
          file_format: of the prepared records; the default needs no TensorFlow.
          **kwargs: `data_dir` (of the records) and others of tfds.
        """
        if not str(source):
            raise InputError(f"The data set point_videos needs a data folder. {layout.WHERE}")
        self._source = Path(source)
        self._description = layout.describe(self._source)
        super().__init__(file_format=file_format, **kwargs)

    @classmethod
    def options_for(cls, data_dir: str | Path) -> dict[str, Any]:
        """Keyword arguments of the builder for a data folder."""
        return {"source": str(data_dir)}

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return layout.source_files(data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        description = self._description
        return tfds.core.DatasetInfo(
            builder=self,
            description="Point-cloud videos of a folder of npz files.",
            features=schema.video_features(
                description.columns, description.classes, description.kind
            ),
            disable_shuffling=True,
        )

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # The constructor has taken the folder.
        files = layout.find_files(self._source)
        video_files.check_video_ids(self._source, files)
        return streaming.split_shards(
            {split: shards(paths) for split, paths in files.items()},
            self._make_examples,
            items_per_shard=1,
            where=self._source,
        )

    def _make_examples(self, paths: Iterable[Path]) -> Iterator[streaming.Example]:
        for path in paths:
            yield video_files.read_video(path, self._source, self._description)


def shards(paths: Sequence[Path]) -> list[list[Path]]:
    """Files in order, in groups of about `SHARD_BYTES`; a larger file is a group of its own."""
    groups: list[list[Path]] = []
    total = 0
    for path in paths:
        size = path.stat().st_size
        if not groups or total + size > SHARD_BYTES:
            groups.append([])
            total = 0
        groups[-1].append(path)
        total += size
    return groups

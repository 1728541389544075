"""tfds builder of SHREC'17, from its depth videos or from PointLSTM's point files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import ArchiveBuilder
from pointata_jax.datasets.shrec17 import depth_videos, gestures
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class SHREC17Config(tfds.core.BuilderConfig):
    """Which labels.

    Attributes:
      num_classes: 14 (the gesture) or 28 (the gesture, with one finger or the whole hand).
    """

    num_classes: int

    def __post_init__(self) -> None:
        if self.num_classes not in gestures.CLASSES:
            raise InputError(
                f"shrec17 has 14 or 28 classes, not {self.num_classes}; give one of these two."
            )


class Builder(ArchiveBuilder):
    """SHREC'17: 14 gestures in two ways by 28 people, 1,960 training and 840 test videos.

    32 key frames of 256 points. The subject of a video is its number as text, such as "5".

    Protocol "corrected" stores meters and leaves out points without a depth, and frames that have
    no others. Protocol "published" stores pixels and depths as PointLSTM's loader normalizes them,
    with different units along the axes (`gestures.published_frames`).
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        SHREC17Config(name=f"labels{count}", description=f"{count} classes", num_classes=count)
        for count in gestures.CLASSES
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = gestures.WHERE
    builder_config: SHREC17Config
    DESCRIPTION = "Hand gestures as point clouds of depth videos."
    HOMEPAGE = "http://www-rech.telecom-lille.fr/shrec2017-hand/"
    CITATION = (
        "De Smedt, Wannous, Vandeborre, Guerry, Le Saux, Filliat: SHREC'17 Track: 3D Hand Gesture "
        "Recognition Using a Depth and Skeletal Dataset. 3DOR 2017."
    )

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder, and the folders of depth videos."""
        lists = sorted(path for paths in gestures.find_lists(data_dir).values() for path in paths)
        return [*lists, *gestures.find_files(data_dir).values()]

    @property
    def _num_classes(self) -> int:
        return self.builder_config.num_classes

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names in label order: 14 or 28."""
        return gestures.CLASSES[self._num_classes]

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = streaming.manual_folder(dl_manager, gestures.WHERE)
        splits = gestures.read_splits(folder, partial=self._partial)
        files = gestures.find_files(folder)
        return streaming.split_shards(
            gestures.present_gestures(splits, files, partial=self._partial),
            lambda key: self._make_examples(key, files[key.video_id]),
            items_per_shard=1024,
            where=folder,
        )

    def _make_examples(self, key: gestures.Gesture, path: Path) -> Iterator[streaming.Example]:
        if path.is_dir():
            array = depth_videos.read_video(path, key)
        else:
            array = gestures.read_array(path, partial=self._partial)
        if self._protocol == "published":
            frames = gestures.published_frames(array)
        else:
            frames = gestures.metric_frames(array, path)
        yield schema.make_example(
            frames,
            video_id=key.video_id,
            subject=str(key.subject),
            labels=key.label(self._num_classes),
            num_classes=self._num_classes,
        )

"""tfds builder of NTU RGB+D 60 and 120, from the masked depth maps or points made of them."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import ArchiveBuilder
from pointata_jax.datasets.ntu_rgbd import protocol as ntu
from pointata_jax.datasets.ntu_rgbd import videos
from pointata_jax.errors import InputError

FRAME_STEP = 2
"""Every second frame is kept. The published clips begin at even frames and take every second one,
so they never use the others. In records, neighboring frames are two sensor frames apart."""

POINTS_PER_FRAME = 2048
"""Points of a frame of the published clips."""


@dataclasses.dataclass(kw_only=True)
class NTUConfig(tfds.core.BuilderConfig):
    """Which data set and which split.

    Attributes:
      variant: one of `protocol.VARIANTS`.
    """

    variant: str

    def __post_init__(self) -> None:
        ntu.dataset_of(self.variant)


class Builder(ArchiveBuilder):
    """NTU RGB+D: 60 or 120 actions, split by person, camera or setup.

    x is to the right, y down and z away from the camera. Units are meters where the folder holds
    depth maps, and those of the files where it holds converted points (`videos`). The subject of a
    video is the number of its performer as text, such as "5".

    Protocol "corrected" uses the focal length of the camera for depth maps, and keeps at most
    `points_per_frame` points of a frame. They are drawn with a seed from the name of the video. The
    records of ntu60 take some 60 GB. Protocol "published" uses the converter's focal length and
    keeps all points, so that each clip samples from whole frames; the records take several times
    the space.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        NTUConfig(name=variant, description=variant.replace("_", " "), variant=variant)
        for variant in ntu.VARIANTS
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = ntu.WHERE
    builder_config: NTUConfig
    DESCRIPTION = "Actions of one or two people, as point clouds of depth maps."
    HOMEPAGE = "https://rose1.ntu.edu.sg/dataset/actionRecognition"
    CITATION = (
        "Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity "
        "Analysis. CVPR 2016. Liu, Shahroudy, Perez, Wang, Duan, Kot: NTU RGB+D 120: A Large-Scale "
        "Benchmark for 3D Human Activity Understanding. IEEE TPAMI, 2019."
    )

    def __init__(self, *, points_per_frame: int = POINTS_PER_FRAME, **kwargs: Any):
        """Declares the data set.

        Args:
          points_per_frame: largest number of points that protocol "corrected" keeps of a frame.
          **kwargs: those of `ArchiveBuilder`; `config` is one of `protocol.VARIANTS`.
        """
        if points_per_frame < 1:
            raise InputError(f"points_per_frame must be at least 1, it is {points_per_frame}.")
        super().__init__(**kwargs)
        corrected = self._protocol == "corrected"
        self._max_points = points_per_frame if corrected else None
        self._focal_length = videos.FOCAL_LENGTH if corrected else videos.PUBLISHED_FOCAL_LENGTH

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files of a data folder that any variant would read."""
        lists = (ntu.find_list(data_dir, dataset) for dataset in ntu.LIST_NAMES)
        return [*filter(None, lists), *ntu.find_videos(data_dir).values()]

    @property
    def _dataset(self) -> str:
        return ntu.dataset_of(self.builder_config.variant)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names in label order: 60 or 120."""
        return ntu.CLASSES[: ntu.NUM_CLASSES[self._dataset]]

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = streaming.manual_folder(dl_manager, ntu.WHERE)
        files = ntu.find_videos(folder)
        if not files:
            raise InputError(f"The folder {folder} holds no videos of NTU RGB+D. {ntu.WHERE}")
        list_file = ntu.find_list(folder, self._dataset)
        listed = None if list_file is None else ntu.read_list(list_file, self._dataset)
        where = f"The folder {folder}"
        keys = ntu.select_videos(files, listed, self._dataset, where, partial=self._partial)
        variant = self.builder_config.variant
        if not self._partial:
            ntu.check_counts(keys, variant, where)
        return streaming.split_shards(
            {
                split: [key for key in keys if key.split(variant) == split]
                for split in ("train", "test")
            },
            lambda key: self._make_examples(key, files[key], listed),
            items_per_shard=128,
            where=folder,
        )

    def _make_examples(
        self, key: ntu.Recording, path: Path, listed: Mapping[ntu.Recording, int] | None
    ) -> Iterator[streaming.Example]:
        frames = videos.read_video(
            path,
            step=FRAME_STEP,
            expected_frames=None if listed is None else listed[key],
            focal_length=self._focal_length,
        )
        rng = np.random.default_rng(zlib.crc32(key.video_id.encode()))
        yield schema.make_example(
            [self._draw(frame, rng) for frame in frames],
            video_id=key.video_id,
            subject=str(key.performer),
            labels=key.label,
            num_classes=ntu.NUM_CLASSES[self._dataset],
        )

    def _draw(self, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """At most `points_per_frame` points of a frame, in their order."""
        if self._max_points is None or len(frame) <= self._max_points:
            return frame
        return frame[np.sort(rng.choice(len(frame), self._max_points, replace=False))]

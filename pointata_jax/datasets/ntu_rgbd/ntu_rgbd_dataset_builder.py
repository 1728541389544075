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
from pointata_jax.datasets.ntu_rgbd import protocol as ntu
from pointata_jax.datasets.ntu_rgbd import videos
from pointata_jax.errors import InputError

FRAME_STEP = 2
"""Only every second frame is kept: the published clips begin at even frames and take every second
one, so they never see the others. In records, neighbors are two sensor frames apart."""

POINTS_PER_FRAME = 2048
"""As many as the published clips have."""


@dataclasses.dataclass(kw_only=True)
class NTUConfig(tfds.core.BuilderConfig):
    """Which data set and which split: one of `protocol.VARIANTS`."""

    variant: str

    def __post_init__(self) -> None:
        ntu.dataset_of(self.variant)


class Builder(tfds.core.ShardBasedBuilder):
    """NTU RGB+D: 60 or 120 actions, split by person, camera or setup.

    x is to the right, y down and z away from the camera: in meters where the folder holds the depth
    maps, in units of the files where it holds converted ones (`videos`). The subject of a video is
    the number of its performer as text, such as "5".

    Protocol "corrected" takes the focal length of the camera for depth maps, and keeps at most
    `points_per_frame` points of a frame, drawn by the name of the video: some 60 GB of records for
    ntu60. "published" takes the converter's focal length and keeps all points, so that each clip
    is drawn anew from whole frames; that takes several times the space.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        NTUConfig(name=variant, description=variant.replace("_", " "), variant=variant)
        for variant in ntu.VARIANTS
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = ntu.WHERE
    builder_config: NTUConfig
    COLUMNS = schema.COORDINATES

    def __init__(
        self,
        *,
        partial: bool = False,
        protocol: streaming.Protocol = "corrected",
        points_per_frame: int = POINTS_PER_FRAME,
        file_format: str = "array_record",
        **kwargs: Any,
    ):
        """Declares the data set.

        Args:
          partial: use another number of videos than the published one.
          protocol: "corrected" or "published", see the class.
          points_per_frame: of protocol "corrected".
          file_format: of the prepared records; the default needs no TensorFlow.
          **kwargs: `config` (one of `protocol.VARIANTS`), `data_dir` and others of tfds.
        """
        if points_per_frame < 1:
            raise InputError(f"points_per_frame must be at least 1, it is {points_per_frame}.")
        self._partial = partial
        self._limit, self._focal_length = None, videos.PUBLISHED_FOCAL_LENGTH
        if streaming.check_protocol(protocol) == "corrected":
            self._limit, self._focal_length = points_per_frame, videos.FOCAL_LENGTH
        super().__init__(file_format=file_format, **kwargs)

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files of a data folder that any variant would read."""
        lists = (ntu.find_list(data_dir, dataset) for dataset in ntu.LIST_NAMES)
        return [*filter(None, lists), *ntu.find_videos(data_dir).values()]

    @property
    def _dataset(self) -> str:
        return ntu.dataset_of(self.builder_config.variant)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Actions of one or two people, as point clouds of depth maps.",
            homepage="https://rose1.ntu.edu.sg/dataset/actionRecognition",
            features=schema.video_features(
                self.COLUMNS, ntu.CLASSES[: ntu.NUM_CLASSES[self._dataset]]
            ),
            citation=(
                "Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity "
                "Analysis. CVPR 2016. Liu, Shahroudy, Perez, Wang, Duan, Kot: NTU RGB+D 120: A "
                "Large-Scale Benchmark for 3D Human Activity Understanding. IEEE TPAMI, 2019."
            ),
        )

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
        yield (
            key.video_id,
            schema.make_example(
                [self._draw(frame, rng) for frame in frames],
                video_id=key.video_id,
                subject=str(key.performer),
                labels=key.label,
                num_classes=ntu.NUM_CLASSES[self._dataset],
            ),
        )

    def _draw(self, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self._limit is None or len(frame) <= self._limit:
            return frame
        return frame[np.sort(rng.choice(len(frame), self._limit, replace=False))]

"""tfds builder of MSR-Action3D, from the depth maps, their points, or dressed skeletons."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import PartialConfigBuilder, with_partial
from pointata_jax.datasets.msr_action3d import depth_files, protocol, skeletons
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class MSRAction3DConfig(tfds.core.BuilderConfig):
    """Which form of the data set is read.

    Attributes:
      variant: "depth" (real surface; units of the files) or "skeleton" (real motion, surface of
        capsules; meters).
      num_points: points per frame of the variant "skeleton"; depth frames keep all their points.
      partial: accept other numbers of videos than the published ones.
    """

    variant: str
    num_points: int = 1024
    partial: bool = False

    def __post_init__(self) -> None:
        if self.variant not in protocol.COUNTS:
            raise InputError(
                f"Unknown variant {self.variant!r} of msr_action3d: use one of "
                f"{', '.join(protocol.COUNTS)}."
            )
        if self.num_points < 1:
            raise InputError(f"num_points is {self.num_points}; a frame needs at least one point.")


class Builder(PartialConfigBuilder, tfds.core.ShardBasedBuilder):
    """MSR-Action3D: twenty actions, cross-subject split (subjects 1 to 5 train, 6 to 10 test).

    The subject of a video is its number as text, such as "5".
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = with_partial(
        [
            MSRAction3DConfig(name=variant, description=text, variant=variant)
            for variant, text in (
                ("depth", "points of the depth maps, 270 train and 297 test videos"),
                ("skeleton", "skeletons dressed with capsules, 270 train and 295 test videos"),
            )
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = " Or, for the variant skeleton: ".join(
        (protocol.WHERE["depth"], protocol.WHERE["skeleton"])
    )
    builder_config: MSRAction3DConfig
    DESCRIPTION = "Twenty actions by ten people, performed before one depth camera."
    CITATION = (
        "Li, Zhang, Liu: Action Recognition Based on a Bag of 3D Points. CVPR Workshop on Human "
        "Communicative Behavior Analysis, 2010."
    )
    LABEL_NAMES = protocol.CLASSES

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files of a data folder that either variant would read."""
        packed = Path(data_dir) / skeletons.PACKED_NAME
        return [
            *protocol.find_files(data_dir, depth_files.SUFFIX).values(),
            *protocol.find_files(data_dir, depth_files.MAPS_SUFFIX).values(),
            *([packed] if packed.is_file() else []),
            *protocol.find_files(data_dir, skeletons.SUFFIX).values(),
        ]

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        folder = streaming.manual_folder(dl_manager, protocol.WHERE[config.variant])
        recordings: Mapping[protocol.Recording, Any]
        if config.variant == "depth":
            recordings = _depth_files(folder)
        else:
            recordings = skeletons.read_skeletons(folder)
        if not config.partial:
            protocol.check_counts(recordings, config.variant, f"The folder {folder}")
        return streaming.split_shards(
            {
                split: [item for item in recordings.items() if item[0].split == split]
                for split in protocol.COUNTS[config.variant]
            },
            self._make_examples,
            items_per_shard=64,
            where=folder,
        )

    def _make_examples(
        self, item: tuple[protocol.Recording, Path | np.ndarray]
    ) -> Iterator[streaming.Example]:
        key, source = item
        if isinstance(source, np.ndarray):
            frames = skeletons.dress_recording(key, source, self.builder_config.num_points)
        else:
            frames = depth_files.read_frames(source)
        yield schema.make_example(
            frames,
            video_id=key.video_id,
            subject=str(key.subject),
            labels=key.label,
            num_classes=len(protocol.CLASSES),
        )


def _depth_files(folder: Path) -> dict[protocol.Recording, Path]:
    """The file of each recording: its points, or else its depth maps."""
    points = protocol.find_files(folder, depth_files.SUFFIX)
    maps = protocol.find_files(folder, depth_files.MAPS_SUFFIX)
    if not points and not maps:
        raise InputError(
            f"The folder {folder} holds no file aXX_sYY_eZZ{depth_files.SUFFIX} or "
            f"aXX_sYY_eZZ{depth_files.MAPS_SUFFIX}. {protocol.WHERE['depth']}"
        )
    both = sorted(set(points) & set(maps))
    if both:
        warnings.warn(
            f"{folder} holds {len(both)} recordings both as {depth_files.SUFFIX} and as "
            f"{depth_files.MAPS_SUFFIX}, such as {both[0].video_id}; the npz files are read.",
            UserWarning,
            stacklevel=2,
        )
    return dict(sorted((maps | points).items()))

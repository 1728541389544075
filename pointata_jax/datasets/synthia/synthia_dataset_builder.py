"""tfds builder of Synthia 4D semantic segmentation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.archive_builder import ArchiveBuilder
from pointata_jax.datasets.synthia import clips, frames


class Builder(ArchiveBuilder):
    """Synthia 4D (Ros et al., CVPR 2016; clips of MeteorNet, ICCV 2019): 12 classes, with colors.

    A video is one half of one clip of three frames, "SYNTHIA-SEQS-01-DAWN-000012-plus" for frames
    10 to 12 (see `clips`); its subject is the sequence. Void points and those of the margin are
    labeled -1. Each frame is stored in up to six videos: some 30 GB of records for the 5 GB of the
    compressed archive.

    Protocol "corrected": splits "train", "validation" and "test", oldest frame first. Protocol
    "published": "train" is training and validation together, as P4Transformer trains, "test" is the
    same, and the newest frame comes first. The augmentation of the published code is no matter of
    the builder.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = frames.WHERE
    COLUMNS = frames.COLUMNS
    LABEL_NAMES = frames.CLASSES

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return [*frames.find_lists(data_dir).values(), *frames.find_frames(data_dir).values()]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Point clouds around a car that drives through a made city.",
            homepage="https://synthia-dataset.net",
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "point"),
            citation=(
                "Ros, Sellart, Materzynska, Vazquez, Lopez: The SYNTHIA Dataset. CVPR 2016. "
                "Liu, Yan, Bohg: MeteorNet: Deep Learning on Dynamic 3D Point Cloud Sequences. "
                "ICCV 2019."
            ),
        )

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = streaming.manual_folder(dl_manager, frames.WHERE)
        splits = frames.read_splits(folder, partial=self._partial)
        files = frames.find_frames(folder)
        splits = frames.present_frames(splits, files, partial=self._partial)
        if self._protocol == "published":
            both = sorted([*splits["train"], *splits["validation"]])
            splits = {"train": both, "test": splits["test"]}

        # Neighboring clips share frames, and each clip reads its own twice.
        @functools.lru_cache(maxsize=clips.FRAMES_PER_CLIP)
        def load(ref: frames.FrameRef) -> frames.Frame:
            return frames.read_frame(files[ref.name])

        parts = {
            split: [(ref, present) for ref in refs]
            for split, refs in splits.items()
            for present in [frozenset(refs)]
        }
        return streaming.split_shards(
            parts,
            functools.partial(self._make_examples, load=load),
            items_per_shard=128,
            where=folder,
        )

    def _make_examples(
        self,
        item: tuple[frames.FrameRef, frozenset[frames.FrameRef]],
        load: Callable[[frames.FrameRef], frames.Frame],
    ) -> Iterator[streaming.Example]:
        newest, available = item
        refs = clips.clip_frames(newest, available)
        if self._protocol == "corrected":
            refs = refs[::-1]
        for half in clips.HALVES:
            points, labels = clips.half_clip(refs, half, load)
            video_id = f"{newest.name}-{half}"
            yield (
                video_id,
                schema.make_example(
                    points,
                    video_id=video_id,
                    subject=newest.sequence,
                    labels=labels,
                    num_classes=len(frames.CLASSES),
                    kind="point",
                ),
            )

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
    10 to 12 (see `clips`); its subject is the sequence. Void points and points of the margin have
    the label -1. Each frame is stored in up to six videos, so the compressed archive of 5 GB
    becomes some 30 GB of records.

    Protocol "corrected" has the splits "train", "validation" and "test", oldest frame first. In
    protocol "published", "train" is training and validation together, as in P4Transformer, "test"
    is the same, and the newest frame comes first. Neither augments: augmentation belongs to the
    clips.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = frames.WHERE
    DESCRIPTION = "Point clouds around a car that drives through a synthetic city."
    HOMEPAGE = "https://synthia-dataset.net"
    CITATION = (
        "Ros, Sellart, Materzynska, Vazquez, Lopez: The SYNTHIA Dataset. CVPR 2016. Liu, Yan, "
        "Bohg: MeteorNet: Deep Learning on Dynamic 3D Point Cloud Sequences. ICCV 2019."
    )
    COLUMNS = frames.COLUMNS
    LABEL_NAMES = frames.CLASSES
    KIND = "point"

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return [*frames.find_lists(data_dir).values(), *frames.find_frames(data_dir).values()]

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict:
        folder = streaming.manual_folder(dl_manager, frames.WHERE)
        splits = frames.read_splits(folder, partial=self._partial)
        files = frames.find_frames(folder)
        splits = frames.present_frames(splits, files, partial=self._partial)
        if self._protocol == "published":
            both = sorted([*splits["train"], *splits["validation"]])
            splits = {"train": both, "test": splits["test"]}

        # Neighboring clips share frames, and each clip reads each of its frames twice.
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
            yield schema.make_example(
                points,
                video_id=f"{newest.name}-{half}",
                subject=newest.sequence,
                labels=labels,
                num_classes=len(frames.CLASSES),
                kind=self.KIND,
            )

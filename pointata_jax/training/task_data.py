"""The videos of a task: training and validation parts, clips with training statistics, test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np

from pointata_jax.data import registry
from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.pipeline import ClipSource, eval_batches, train_batches
from pointata_jax.data.splits import hold_out_fraction, hold_out_subjects
from pointata_jax.data.videos import VideoSource, channel_statistics
from pointata_jax.errors import InputError
from pointata_jax.training.config import TaskConfig
from pointata_jax.training.run_folder import user_cache


@dataclasses.dataclass(frozen=True)
class DataPlace:
    """Where the data of a task are.

    Attributes:
      data_dir: the user's copy of the public data; None for generated sets.
      cache_dir: prepared records; None for the user's cache folder.
      download: fetch the public archive where the builder can.
    """

    data_dir: str | None = None
    cache_dir: str | None = None
    download: bool = False

    @property
    def records(self) -> Path:
        """The folder of prepared records."""
        return Path(self.cache_dir) if self.cache_dir else user_cache("datasets")


@dataclasses.dataclass(frozen=True)
class TaskData:
    """What training may see. The test split is not here; see `load_split`.

    Attributes:
      train: training videos, less the held-out ones.
      validation: held-out training videos; None where nothing is held out.
      clip: the task's clips, channel statistics of `train` filled in.
    """

    train: VideoSource
    validation: VideoSource | None
    clip: ClipConfig

    def train_batches(self, batch_size: int, seed: int):
        """Endless shuffled batches of this host's rows, with a state."""
        return train_batches(
            self.train,
            self.clip,
            batch_size=batch_size,
            seed=seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )


def load_split(config: TaskConfig, place: DataPlace, split: str) -> VideoSource:
    """The videos of one split of the task's data set, prepared if need be."""
    if config.needs_data_dir and not place.data_dir and not place.download:
        raise InputError(
            f"task {config.task!r} needs data: give --data_dir the folder that holds them (README "
            "says where they come from)."
        )
    videos = registry.load_source(
        config.dataset,
        place.data_dir,
        split=split,
        cache_dir=place.records,
        download=place.download,
        options=dict(config.options) | ({"config": config.variant} if config.variant else {}),
    )
    if videos.kind != config.kind:
        raise InputError(
            f"the task {config.task!r} wants labels of kind {config.kind!r}, but those of "
            f"{videos.name} are of kind {videos.kind!r}: set kind={videos.kind!r} in the task's "
            "configuration."
        )
    return videos


def load_training(config: TaskConfig, place: DataPlace, *, hold_out: bool = True) -> TaskData:
    """Training videos, with a validation part held out unless told otherwise."""
    train, validation = load_split(config, place, "train"), None
    if hold_out and config.validation_split:
        validation = load_split(config, place, config.validation_split)
    elif hold_out and config.validation_subjects:
        train, validation = hold_out_subjects(train, config.validation_subjects)
    elif hold_out:
        train, validation = hold_out_fraction(train, config.validation_fraction)
    clip = config.clip
    if clip.channels:
        clip = clip.with_statistics(channel_statistics(train))
    return TaskData(train, validation, clip)


def evaluation_batches(videos: VideoSource, clip: ClipConfig, batch_size: int):
    """Deterministic padded batches over all evaluation windows of `videos` (this host's rows)."""
    return eval_batches(
        videos,
        clip,
        batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def spread_clips(
    videos: VideoSource, clip: ClipConfig, count: int, *, training: bool
) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` unaugmented clips spread evenly over all windows, and their labels.

    Returns:
      float32 `[n, T, N, 3+C]` and int32 `[n]`, n ≤ count.
    """
    source = ClipSource(videos, clip, training=training)
    chosen = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int)
    rows = [source.clip(int(i)) for i in chosen]
    return np.stack([r["points"] for r in rows]), np.stack([r["label"] for r in rows])

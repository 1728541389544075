"""The videos of a task: training, validation and test parts, and how they become clips."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pointata_jax.data.clips import ClipConfig, channel_positions
from pointata_jax.data.pipeline import ClipSource, eval_batches, train_batches
from pointata_jax.data.splits import (
    choose_subjects,
    few_videos,
    hold_out_fraction,
    hold_out_subjects,
    named_subjects,
)
from pointata_jax.data.videos import VideoSource, channel_statistics
from pointata_jax.datasets import registry
from pointata_jax.errors import InputError
from pointata_jax.stages.config import TaskConfig
from pointata_jax.training.run_folder import contents, user_cache

COARSEST_STEP = 2.0
"""In percentage points: scores with coarser steps do not decide between checkpoints."""


@dataclasses.dataclass(frozen=True)
class DataPlace:
    """Folders of the data of a task.

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
    """The videos that training may read. For the test split see `load_split`.

    Attributes:
      train: training videos without those held out.
      validation: held-out training videos; None where nothing is held out.
      clip: form of the clips, with the channel statistics of `train`.
      held_out: how the validation part was chosen, as a phrase for messages.
    """

    train: VideoSource
    validation: VideoSource | None
    clip: ClipConfig
    held_out: str = ""

    @property
    def digests(self) -> dict[str, dict[str, str]]:
        """By part and video, a digest of the content (`VideoSource.digests`)."""
        held = {} if self.validation is None else {"validation": self.validation.digests}
        return {"train": self.train.digests, **held}

    def train_batches(self, batch_size: int, seed: int):
        """Endless shuffled batches of this host's rows; their position can be saved."""
        return train_batches(
            self.train,
            self.clip,
            batch_size=batch_size,
            seed=seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )


def _records(config: TaskConfig, place: DataPlace) -> dict[str, Any]:
    """Arguments of `registry` that name the records of the task's data set."""
    if config.needs_data_dir and not place.data_dir and not place.download:
        raise InputError(
            f"task {config.task!r} needs data: give --data_dir the folder that holds them (README "
            "says where they come from)."
        )
    return {
        "data_dir": place.data_dir,
        "cache_dir": place.records,
        "download": place.download,
        "options": dict(config.options) | ({"config": config.variant} if config.variant else {}),
    }


def splits(config: TaskConfig, place: DataPlace) -> tuple[str, ...]:
    """Names of the splits of the task's data set; prepares it where necessary."""
    return registry.splits(config.dataset, **_records(config, place))


def load_split(config: TaskConfig, place: DataPlace, split: str) -> VideoSource:
    """The videos of one split of the task's data set; prepares it where necessary."""
    videos = registry.load_source(config.dataset, split=split, **_records(config, place))
    if videos.kind != config.kind:
        what = {"clip": "video", "frame": "frame", "point": "point"}
        raise InputError(
            f"{place.data_dir or config.dataset} has a label for each {what[videos.kind]}, but the "
            f"task {config.task!r} is for data with a label for each {what[config.kind]}: the task "
            f"for such data is {config.dataset}_{videos.kind}s."
        )
    return videos


def load_training(config: TaskConfig, place: DataPlace, *, hold_out: bool = True) -> TaskData:
    """Training videos; with `hold_out`, a validation part is taken from them (`TaskConfig`).

    Where the task uses few of them, the validation part is still taken from all.
    """
    train = load_split(config, place, "train")
    train, validation, how = _hold_out(train, config, place) if hold_out else (train, None, "")
    train = few_videos(
        train,
        per_class=config.videos_per_class,
        fraction=config.label_fraction,
        seed=config.label_seed,
    )
    clip = config.clip
    if clip.channels:
        channel_positions(train.columns, clip)
        clip = clip.with_statistics(channel_statistics(train))
    return TaskData(train, validation, clip, how)


def _hold_out(
    train: VideoSource, config: TaskConfig, place: DataPlace
) -> tuple[VideoSource, VideoSource, str]:
    """The videos to train on, those to validate on, and how these were chosen."""
    wanted, fraction = config.hold_out, config.validation_fraction
    subjects: Sequence[str] = ()
    if wanted and wanted not in ("subjects", "recordings"):
        subjects = tuple(name.strip() for name in wanted.split(","))
    elif not wanted and config.validation_subjects:
        subjects = config.validation_subjects
    elif not wanted and (split := config.validation_split) and split in splits(config, place):
        return train, load_split(config, place, split), f"the split {split} of the data"
    elif wanted == "subjects" or (not wanted and len(named_subjects(train)) >= 3):
        subjects = choose_subjects(train, fraction)
        if wanted and not subjects:
            raise InputError(
                f"--hold_out=subjects: {train.name} names {len(named_subjects(train))} subjects, "
                "but without any one of them fewer than two subjects or not all classes remain to "
                "train on; use --hold_out=recordings."
            )
    if subjects:
        names = ", ".join(subjects)
        return *hold_out_subjects(train, subjects), f"all videos of the subjects {names}"
    if len(train) == 1:
        raise InputError(
            f"{train.name} is a single video, so nothing can be held out for validation: "
            "add videos, or train without validation (--tuning=adapter --novalidation)."
        )
    each = " of each class" if train.kind == "clip" else ""
    return *hold_out_fraction(train, fraction), f"{fraction:.0%} of the recordings{each}"


def look_ahead(config: TaskConfig, data: TaskData, test: VideoSource | None = None) -> list[str]:
    """Facts about the data that the user should know before the first step, a sentence each.

    Raises:
      InputError: the run would fail after its training, for instance because no video of a split is
        as long as a window.
    """
    parts = [("training", data.train, True), ("validation", data.validation, False)]
    parts.append(("test", test, False))
    counts, notes = [], []
    trained = contents(data.train.digests)
    for name, videos, training in parts:
        if videos is None:
            continue
        source = ClipSource(videos, data.clip, training=training)
        counts.append(f"{name}: {source.num_videos} videos, {source.num_windows} windows")
        copies = 0 if training else len(contents(videos.digests) & trained)
        if copies:
            notes.append(
                f"{copies} of the {len(videos)} {name} videos hold the same points as training "
                "videos, so the scores are too high: remove the copies."
            )
        if source.num_short:
            notes.append(
                f"{source.num_short} of the {len(videos)} {name} videos are shorter than a window "
                f"of {data.clip.window} frames and left out."
            )
    how = f" (validation: {data.held_out})" if data.held_out else ""
    lacking = set(range(data.train.num_classes)) - set(data.train.present_labels)
    if lacking:
        names = ", ".join(data.train.label_names[label] for label in sorted(lacking))
        notes.append(f"no training video holds the classes {names}: they cannot be learned.")
    unused = [name for name in data.train.columns[3:] if name not in data.clip.channels]
    if unused:
        names = ",".join((*data.clip.channels, *unused))
        notes.append(f"the columns {', '.join(unused)} are not used: --channels={names} uses them.")
    first = f"{'; '.join(counts)}{how}. {_passes(config, data)}"
    return [first, *notes, *_sparse_frames(config, data)]


def _passes(config: TaskConfig, data: TaskData) -> str:
    """How often stage 2 sees each window, and how windows are divided among classes."""
    source, settings = ClipSource(data.train, data.clip, training=True), config.adapt
    passes = settings.steps * settings.batch_size / max(len(source), 1)
    text = (
        f"{settings.steps:,} steps of {settings.batch_size} clips pass {passes:.1f} times over the "
        f"{len(source):,} training windows"
    )
    labels = data.train.labels
    if labels is None:
        return f"{text}."
    counts = np.bincount(labels[source.windows[:, 0]], minlength=data.train.num_classes)
    low, high = int(counts.argmin()), int(counts.argmax())
    names = data.train.label_names
    return (
        f"{text}; classes have {counts[low]} ({names[low]}) to {counts[high]} ({names[high]}) "
        "windows."
    )


def _sparse_frames(config: TaskConfig, data: TaskData) -> list[str]:
    """A sentence if a frame of a clip takes far more points than the sensor frames have."""
    index, clip = data.train.index, data.clip
    held = float(np.median(index.num_points / index.num_frames)) * clip.frame_merge
    if clip.points < 3 * held:
        return []
    fewest = max(config.model.num_centers, config.model.neighbors)
    points = max(fewest, 2 ** math.ceil(math.log2(held)))
    advice = (
        f"--points={points} holds most frames whole and costs less" if points < clip.points else ""
    )
    wanted = 4 * config.model.num_centers
    if config.kind != "frame" and held < wanted:
        merge = clip.frame_merge * math.ceil(wanted / held)
        several = f"--merge={merge} joins so many sensor frames in one, which shows more of a shape"
        advice = f"{advice}; {several}" if advice else several
    return [
        f"frames hold {held:.0f} points (median), and a clip takes {clip.points} of each, so every "
        f"point is drawn {clip.points / held:.0f} times{f': {advice}' if advice else ''}."
    ]


def deciding_score(config: TaskConfig, data: TaskData) -> tuple[str, str]:
    """The score that decides between checkpoints, and a sentence if it is not that of the task.

    Where one validation video is worth more than `COARSEST_STEP`, the score of windows decides.
    """
    if config.score != "video_accuracy" or data.validation is None:
        return config.score, ""
    videos = ClipSource(data.validation, data.clip, training=False).num_videos
    if videos * COARSEST_STEP >= 100:
        return config.score, ""
    return "window_accuracy", (
        f"one of {videos} validation videos is worth {100 / videos:.1f} points of video accuracy: "
        "window accuracy decides between checkpoints."
    )


def balanced_weights(videos: VideoSource) -> tuple[float, ...]:
    """Weights of the classes that are inverse to the number of their labels, between 0.1 and 10.

    The mean over all labels is 1 before weights are limited. A class without labels has weight 1.
    """
    counts = np.zeros(videos.num_classes)
    for index in range(len(videos)):
        labels = np.atleast_1d(videos[index].labels)
        counts += np.bincount(labels[labels >= 0], minlength=len(counts))
    present = counts > 0
    share = counts.sum() / present.sum() / np.where(present, counts, 1)
    return tuple(np.where(present, np.clip(share, 0.1, 10.0), 1.0).tolist())


def evaluation_batches(videos: VideoSource, clip: ClipConfig, batch_size: int):
    """Deterministic padded batches over all evaluation windows of `videos` (this host's rows)."""
    return eval_batches(
        videos,
        clip,
        batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def num_batches(videos: VideoSource, clip: ClipConfig, batch_size: int) -> int:
    """Number of the batches of `evaluation_batches` on all hosts together, if one read them all."""
    return -(-ClipSource(videos, clip, training=False).num_windows // batch_size)


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

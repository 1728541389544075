"""The input pipeline: windows of videos as batches of clips, with a state that can be saved.

A batch is a dict of NumPy arrays:
  points  float32 [B, T, N, 3+C]
  label   int32 [B], [B, T] or [B, T, N]: label of each clip, frame or point; -1 is ignored
  frame   int32 [B, T], first sensor frame of each frame of the clip (if frames carry labels)
  video   int32 [B], index of the video in the source
  weight  float32 [B], 0 for the rows that pad the last evaluation batch
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pointata_jax.data.clips import (
    ClipConfig,
    channel_positions,
    clip_frames,
    evaluation_rng,
    make_clip,
    window_starts,
)
from pointata_jax.data.videos import VideoSource
from pointata_jax.errors import InputError

Batch = dict[str, np.ndarray]


class ClipSource:
    """Random access to the windows of the videos of a split.

    Attributes:
      videos: the videos that windows are cut from.
      config: the form of the clips.
      windows: int32 `[W, 2]`, video and first sensor frame of each window.
      num_windows: number W of windows.
      num_videos: number of videos with at least one window, the denominator of video accuracy.
      num_short: number of videos left out because they are shorter than a window.
    """

    def __init__(self, videos: VideoSource, config: ClipConfig, *, training: bool):
        """Lists the windows of the videos.

        Args:
          videos: the videos that windows are cut from.
          config: the form of the clips; its statistics must be filled in if it has channels.
          training: windows start every `config.stride` frames instead of `config.eval_stride`.

        Raises:
          InputError: no video is long enough, a channel is unknown or has no statistics, or frames
            that carry labels would be merged.
        """
        self.videos = videos
        self.config = config
        self._columns = channel_positions(videos.columns, config)
        if videos.kind == "frame" and config.frame_merge > 1:
            raise InputError(
                f"Frames of {videos.name} carry labels, so they cannot be merged; set "
                "frame_merge=1, and merge sensor frames when the data set is prepared."
            )
        config.check_statistics()
        stride = config.stride if training else config.eval_stride
        starts = [window_starts(int(n), config, stride, videos.kind) for n in videos.num_frames]
        counts = np.array([len(part) for part in starts])
        self.windows = np.stack(
            [np.repeat(np.arange(len(starts)), counts), np.concatenate(starts)], axis=1
        ).astype(np.int32)
        self.num_windows = len(self.windows)
        self.num_videos = int((counts > 0).sum())
        self.num_short = int((counts == 0).sum())
        if not self.num_windows:
            raise InputError(
                f"None of the {len(videos)} videos of {videos.name} has the {config.window} frames "
                f"of a window (the longest has {int(videos.num_frames.max())}); use fewer frames "
                "(--frames), or short_clip_policy='repeat' in the task's configuration."
            )

    def __len__(self) -> int:
        return self.num_windows

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects with at least one window, sorted."""
        return tuple(sorted({self.videos.subjects[video] for video in set(self.windows[:, 0])}))

    def clip(self, index: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """The window at `index` as one row of a batch, without the batch axis.

        Args:
          index: number of the window.
          rng: random generator of a training clip, which is sampled and augmented with it. None for
            an evaluation clip, whose points are sampled with `clips.evaluation_rng`.
        """
        video_index, start = (int(value) for value in self.windows[index])
        video = self.videos[video_index]
        augment = rng is not None
        if rng is None:
            rng = evaluation_rng(start)
        points, labels = make_clip(
            video.points,
            video.offsets,
            start,
            self.config,
            self._columns,
            rng,
            augment=augment,
            labels=video.labels,
            kind=self.videos.kind,
        )
        row = {
            "points": points,
            "label": labels,
            "video": np.int32(video_index),
            "weight": np.float32(1.0),
        }
        if self.videos.kind == "frame":
            row["frame"] = clip_frames(len(video.offsets) - 1, start, self.config)[:, 0]
        return row

    __getitem__ = clip


def train_batches(
    videos: VideoSource,
    config: ClipConfig,
    *,
    batch_size: int,
    seed: int,
    epochs: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 4,
) -> Any:
    """Shuffled, augmented training batches.

    Every epoch contains every window once, each epoch in another order. Sampling and augmentation
    of a window depend only on the seed, the epoch and its position in the global order. Several
    hosts together therefore read the same clips as one host.

    Args:
      videos: training videos.
      config: the form of the clips; its statistics must be filled in if it has channels.
      batch_size: number of clips of a global batch; each host gets `batch_size / process_count`.
      seed: seed of order, sampling and augmentation.
      epochs: number of passes over the windows, None for an endless iterator.
      process_index: number of this host.
      process_count: number of hosts.
      num_threads: number of threads that prepare batches; with 0, the caller's thread does.
      prefetch: number of batches prepared ahead.

    Returns:
      A grain iterator over batches. Its `get_state()` is a small dict that can be stored as JSON.
      After `set_state()` with it, the iterator continues with bit-identical batches.

    Raises:
      InputError: settings that do not fit, or too few windows for one batch.
    """
    import grain

    source = ClipSource(videos, config, training=True)
    local_size = _local_size(batch_size, process_index, process_count)
    if epochs is not None and epochs < 1:
        raise InputError(f"epochs must be at least 1, it is {epochs}.")
    if not 0 <= seed < 2**32:
        raise InputError(f"The seed of the data must be in 0..2³²-1, it is {seed}.")
    clips = grain.MapDataset.range(source.num_windows).seed(seed).shuffle().repeat(epochs)
    # Before the split over hosts, so that the generator of a clip depends on its global position.
    clips = clips.random_map(source.clip)
    if epochs is not None:
        steps = source.num_windows * epochs // batch_size
        if not steps:
            raise InputError(
                f"{epochs} epochs of {source.num_windows} windows of {videos.name} do not fill one "
                f"batch of {batch_size}."
            )
        # Hosts with different numbers of batches would wait for each other forever.
        clips = clips[: steps * batch_size]
    batches = clips[process_index::process_count].batch(local_size, drop_remainder=True)
    return iter(batches.to_iter_dataset(_read_options(num_threads, prefetch)))


class EvalBatches:
    """Evaluation batches: every window once, in order, the same in every pass.

    Attributes:
      source: the windows and their counts.
    """

    def __init__(
        self,
        videos: VideoSource,
        config: ClipConfig,
        batch_size: int,
        process_index: int,
        process_count: int,
        num_threads: int,
        prefetch: int,
    ):
        self.source = ClipSource(videos, config, training=False)
        self._local_size = _local_size(batch_size, process_index, process_count)
        self._steps = -(-self.source.num_windows // batch_size)
        self._rows = self._steps * batch_size
        self._share = slice(process_index, None, process_count)
        self._read = (num_threads, prefetch)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Batch]:
        import grain

        rows = grain.MapDataset.range(self._rows).map(self._row)[self._share]
        batches = rows.batch(self._local_size, drop_remainder=True)
        return iter(batches.to_iter_dataset(_read_options(*self._read)))

    def _row(self, index: int) -> dict[str, Any]:
        # The last window is repeated as padding, because real points keep the outputs finite.
        row = self.source.clip(min(index, self.source.num_windows - 1))
        row["weight"] = np.float32(index < self.source.num_windows)
        return row


def eval_batches(
    videos: VideoSource,
    config: ClipConfig,
    batch_size: int,
    *,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 4,
) -> EvalBatches:
    """Deterministic batches over all evaluation windows; the last one is padded with weight 0.

    Args:
      videos: the videos to evaluate on.
      config: the form of the clips; windows start every `config.eval_stride` frames.
      batch_size: number of clips of a global batch, the same for every batch.
      process_index: number of this host.
      process_count: number of hosts; each gets the same number of batches.
      num_threads: number of threads that prepare batches; with 0, the caller's thread does.
      prefetch: number of batches prepared ahead.
    """
    return EvalBatches(
        videos, config, batch_size, process_index, process_count, num_threads, prefetch
    )


def _read_options(num_threads: int, prefetch: int) -> Any:
    import grain

    return grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=max(prefetch, num_threads)
    )


def _local_size(batch_size: int, process_index: int, process_count: int) -> int:
    if batch_size < 1 or not 0 <= process_index < process_count:
        raise InputError(
            f"batch_size is {batch_size}, process_index {process_index} and process_count "
            f"{process_count}; batch_size must be positive and process_index below process_count."
        )
    if batch_size % process_count:
        raise InputError(
            f"The batch of {batch_size} clips does not divide evenly among {process_count} hosts; "
            f"use a multiple of {process_count}."
        )
    return batch_size // process_count

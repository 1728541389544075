"""The input pipeline: windows of videos as batches of clips, with a state that can be saved.

A batch is a dict of NumPy arrays:
  points  float32 [B, T, N, 3+C]
  label   int32 [B], [B, T] or [B, T, N]: of each clip, frame or point; -1 does not count
  frame   int32 [B, T], first sensor frame of each frame of the clip (labels of frames only)
  video   int32 [B], index of the video in the source
  weight  float32 [B], 0 for the rows that only fill up the last evaluation batch
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
      num_windows: W.
      num_videos: videos with at least one window; the denominator of video accuracy.
      num_short: videos left out because they are shorter than a window.
    """

    def __init__(self, videos: VideoSource, config: ClipConfig, *, training: bool):
        """Lists the windows, every `config.stride` (training) or `config.eval_stride` frames.

        Raises:
          InputError: no video is long enough, a channel is unknown or without statistics.
        """
        self.videos = videos
        self.config = config
        self._columns = channel_positions(videos.columns, config)
        if videos.kind == "frame" and config.frame_merge > 1:
            raise InputError(
                f"Frames of {videos.name} carry labels, so they cannot be merged: set "
                "frame_merge=1, and merge sensor frames when the data set is prepared."
            )
        if len(config.channel_mean) != len(config.channels):
            raise InputError(
                f"The channels {config.channels} have no training statistics: call "
                "`config.with_statistics(channel_statistics(training_videos))` first."
            )
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
                f"of a window (the longest has {int(videos.num_frames.max())}): use fewer frames "
                "(--frames), or short_clip_policy='repeat' in the task's configuration."
            )

    def __len__(self) -> int:
        return self.num_windows

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects with at least one window, sorted."""
        return tuple(sorted({self.videos.subjects[video] for video in set(self.windows[:, 0])}))

    def clip(self, index: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """The window at `index` as one unbatched row of a batch.

        With `rng`, a training clip: sampled and augmented at random. Without, an evaluation clip,
        whose points are drawn by `clips.evaluation_rng`.
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

    Every epoch shows every window once, in an order of its own. A window's draw depends on the
    seed, the epoch and its place in the global order only, so that the union of what several hosts
    read is what one host would read.

    Args:
      videos: training videos.
      config: the form of the clips; its statistics must be filled in if it has channels.
      batch_size: clips of a global batch; each host gets `batch_size / process_count` of them.
      seed: of order, sampling and augmentation.
      epochs: passes over the windows; None goes on for ever.
      process_index, process_count: this host and the number of hosts.
      num_threads: threads that prepare batches; 0 prepares them when asked.
      prefetch: batches prepared ahead.

    Returns:
      A grain iterator over batches. Its `get_state()` is a small dict that goes into JSON, and
      `set_state()` of it continues with bit-identical batches.
    """
    import grain

    source = ClipSource(videos, config, training=True)
    local_size = _local_size(batch_size, process_index, process_count)
    if epochs is not None and epochs < 1:
        raise InputError(f"epochs must be at least 1, it is {epochs}.")
    if not 0 <= seed < 2**32:
        raise InputError(f"The seed of the data must lie in 0..2³²-1, it is {seed}.")
    clips = grain.MapDataset.range(source.num_windows).seed(seed).shuffle().repeat(epochs)
    # The random draw comes before the split over hosts: its number is then the global position.
    clips = clips.random_map(source.clip)
    if epochs is not None:
        steps = source.num_windows * epochs // batch_size
        if not steps:
            raise InputError(
                f"{epochs} epochs of {source.num_windows} windows of {videos.name} do not fill one "
                f"batch of {batch_size}."
            )
        # Without this cut one host could have a batch more than another and wait for it for ever.
        clips = clips[: steps * batch_size]
    batches = clips[process_index::process_count].batch(local_size, drop_remainder=True)
    return iter(batches.to_iter_dataset(_read_options(num_threads, prefetch)))


class EvalBatches:
    """Evaluation batches: every window once, in order, the same in every pass.

    Attributes:
      source: the windows, with the counts for reports.
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
        # Filling rows repeat the last window: real points keep the network's numbers finite.
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
    """Deterministic batches over all evaluation windows, the last one filled up with weight 0.

    Args:
      videos: the videos to evaluate on.
      config: the form of the clips; windows start every `config.eval_stride` frames.
      batch_size: clips of a global batch, the same for every batch.
      process_index, process_count: this host and the number of hosts, which all get as many
        batches.
      num_threads, prefetch: as in `train_batches`.
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
            f"Batch size {batch_size} or host {process_index} of {process_count} makes no sense."
        )
    if batch_size % process_count:
        raise InputError(
            f"The batch of {batch_size} clips does not divide among {process_count} hosts; "
            f"use a multiple of {process_count}."
        )
    return batch_size // process_count

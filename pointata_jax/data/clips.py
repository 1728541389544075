"""Cuts clips from videos, in NumPy: windows, merging, sampling, normalization, augmentation.

A clip is float32 `[T, N, 3+C]`. All its frames share one center and one scale, because centering or
scaling each frame would erase the motion of the body through the room.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from pointata_jax.data.rotations import axis_rotation
from pointata_jax.data.schema import Kind
from pointata_jax.errors import InputError

AXES = ("x", "y", "z")

ORDERS = ("ordered", "repeated", "shuffled", "reversed")
"""Values of `order` in `reorder_frames`."""

CHANNEL_LIMIT = 4.0
"""Standardized channels are clipped to ±`CHANNEL_LIMIT`."""

_SMALLEST_SCALE = 1e-6


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """How windows are cut from videos and turned into clips.

    Attributes:
      frames: number T of frames of a clip.
      frame_merge: number of consecutive sensor frames that are merged into one frame of the clip,
        for sparse sensors such as radar.
      stride: sensor frames between the starts of training windows. A stride longer than a window
        is reduced to the window, so that every frame lies in a window.
      eval_stride: the same for evaluation. `frames * frame_merge` gives windows that do not
        overlap.
      last_window: what happens to the frames after the last whole stride. "add": one more window,
        which ends with the video. "drop": they lie in no window (the published rule of some data
        sets with a label per clip; an error where frames or points carry the labels).
      points: number N of points of every frame after sampling.
      channels: names of the extra columns to use, in this order. Empty: coordinates only.
      channel_mean: mean of each channel over the training videos (see `with_statistics`).
      channel_std: spread of each channel over the training videos.
      center: center of a clip: the "median" or the "mean" of all its points.
      scale: radius of a clip: "max" (the largest distance from the center) or "p95" (the 95th
        percentile of the distances, for data with outliers).
      radius_limit: with "p95", points farther from the center than this many radii are moved to
        that distance.
      short_clip_policy: what happens to videos with fewer frames than a window. "drop": they are
        left out (the published rule of MSR-Action3D). "repeat": their frames are repeated evenly to
        fill one window. Where frames or points carry the labels, "repeat" is always used, because
        every label is evaluated.
      scale_min: smallest factor that training scales a clip by.
      scale_max: largest factor that training scales a clip by.
      scale_axes: "each": one factor for each axis. "all": one factor for all axes.
      scale_about: fixed point of the scaling: the center of the "clip" or of its "first frame".
      yaw_max: largest angle that training rotates the clip by about the up axis, in degrees.
      yaw_min: smallest such angle, in degrees. None: -`yaw_max`.
      up_axis: the axis that points up.
      rotation_std: standard deviation of a small rotation about each of the three axes in training,
        in degrees. Angles are clipped to three standard deviations.
      jitter_std: standard deviation of the noise that training adds to coordinates, in units of the
        clip's radius.
      mirror_axis: axis along which training mirrors half of the clips, "" for none. Off by default,
        because a mirrored action can be another action. "first point" repeats what several
        published loaders do instead of mirroring an axis: they reflect point 0 of every frame
        through the center.
      point_dropout: largest share of the points of a frame that training replaces by the frame's
        first point.
    """

    frames: int = 24
    frame_merge: int = 1
    stride: int = 1
    eval_stride: int = 1
    last_window: Literal["add", "drop"] = "add"
    points: int = 1024
    channels: tuple[str, ...] = ()
    channel_mean: tuple[float, ...] = ()
    channel_std: tuple[float, ...] = ()
    center: Literal["median", "mean"] = "median"
    scale: Literal["max", "p95"] = "max"
    radius_limit: float = 1.2
    short_clip_policy: Literal["drop", "repeat"] = "drop"
    scale_min: float = 0.85
    scale_max: float = 1.15
    scale_axes: Literal["each", "all"] = "each"
    scale_about: Literal["clip", "first frame"] = "clip"
    yaw_max: float = 0.0
    yaw_min: float | None = None
    up_axis: Literal["x", "y", "z"] = "y"
    rotation_std: float = 0.0
    jitter_std: float = 0.0
    mirror_axis: Literal["", "x", "y", "z", "first point"] = ""
    point_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("frames", "frame_merge", "stride", "eval_stride", "points"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, it is {getattr(self, name)}.")
        for name, allowed in (
            ("center", ("median", "mean")),
            ("scale", ("max", "p95")),
            ("short_clip_policy", ("drop", "repeat")),
            ("last_window", ("add", "drop")),
            ("scale_axes", ("each", "all")),
            ("scale_about", ("clip", "first frame")),
            ("up_axis", AXES),
            ("mirror_axis", ("", *AXES, "first point")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; use one of "
                    f"{', '.join(repr(value) for value in allowed)}."
                )
        if not 0 < self.scale_min <= self.scale_max:
            raise InputError(
                "scale_min must be positive and at most scale_max; they are "
                f"{self.scale_min} and {self.scale_max}."
            )
        if self.radius_limit <= 0 or min(self.jitter_std, self.yaw_max, self.rotation_std) < 0:
            raise InputError(
                "radius_limit must be positive; jitter_std, yaw_max and rotation_std must not be "
                "negative."
            )
        if not 0 <= self.point_dropout < 1:
            raise InputError(
                f"point_dropout is {self.point_dropout}: give a share from 0 to below 1."
            )
        if len(set(self.channels)) != len(self.channels):
            raise InputError(f"The channels {', '.join(self.channels)} contain a name twice.")
        if len(self.channel_mean) != len(self.channel_std) or (
            self.channel_mean and len(self.channel_mean) != len(self.channels)
        ):
            raise InputError(
                f"channel_mean and channel_std must have one value for each of the channels "
                f"{self.channels}, or none."
            )

    @property
    def window(self) -> int:
        """Number of sensor frames of a window."""
        return self.frames * self.frame_merge

    def check_statistics(self) -> None:
        """InputError if there are channels without a mean and a spread."""
        if len(self.channel_mean) != len(self.channels):
            raise InputError(
                f"The channels {self.channels} have no training statistics; call "
                "`config.with_statistics(channel_statistics(training_videos))` first."
            )

    def with_statistics(self, statistics: ChannelStatistics) -> ClipConfig:
        """This configuration with the mean and spread of its channels filled in."""
        order = [statistics.position(name) for name in self.channels]
        return dataclasses.replace(
            self,
            channel_mean=tuple(statistics.mean[i] for i in order),
            channel_std=tuple(statistics.std[i] for i in order),
        )

    @property
    def colors(self) -> tuple[tuple[int, float, float], ...]:
        """Red, green and blue among the channels: position, factor and offset of each.

        A channel times its factor plus its offset is the color from 0 to 1: this undoes the
        standardization, and divides by 255 where the data count so far. Empty unless the channels
        have all three, named red, green, blue or r, g, b.
        """
        lower = [name.lower() for name in self.channels]
        for names in (("red", "green", "blue"), ("r", "g", "b")):
            if set(names) <= set(lower) and len(self.channel_mean) == len(lower):
                places = [lower.index(name) for name in names]
                largest = max(self.channel_mean[i] + self.channel_std[i] for i in places)
                full = 255.0 if largest > 2.0 else 1.0
                return tuple(
                    (i, self.channel_std[i] / full, self.channel_mean[i] / full) for i in places
                )
        return ()


@dataclasses.dataclass(frozen=True)
class ChannelStatistics:
    """Robust mean and spread of extra channels over the training videos.

    Attributes:
      channels: names of the channels.
      mean: mean of each channel.
      std: spread of each channel (see `robust_statistics`).
    """

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def position(self, name: str) -> int:
        """Index of the channel `name`; InputError if there are no statistics of it."""
        if name not in self.channels:
            raise InputError(
                f"There are no statistics of the channel {name!r}, only of {self.channels}."
            )
        return self.channels.index(name)


def robust_statistics(
    values: Float[np.ndarray, "m c"], channels: Sequence[str], *, tail: float = 0.1
) -> ChannelStatistics:
    """Mean and spread of channels, robust to outliers.

    Values beyond the `tail` and `100 - tail` percentiles are clipped to these percentiles first.
    The spread is the standard deviation, but at least large enough that the whole range between the
    percentiles lies within ±`CHANNEL_LIMIT` after standardization. Otherwise a channel that is
    mostly zero, such as a radar's velocity, would be reduced to its sign.

    Args:
      values: values of the channels, a row per point.
      channels: names of the channels.
      tail: share of values to clip on each side, in percent.

    Raises:
      InputError: there are no points.
    """
    channels = tuple(channels)
    values = np.asarray(values, np.float64).reshape(-1, len(channels))
    if not channels:
        return ChannelStatistics((), (), ())
    if not len(values):
        raise InputError(
            f"There are no points to compute statistics of the channels {channels} from."
        )
    low, high = np.percentile(values, [tail, 100 - tail], axis=0)
    clipped = np.clip(values, low, high)
    mean = clipped.mean(axis=0)
    std = np.maximum(clipped.std(axis=0), np.maximum(high - mean, mean - low) / CHANNEL_LIMIT)
    std = np.where(std > 0, std, 1.0)
    return ChannelStatistics(channels, tuple(mean.tolist()), tuple(std.tolist()))


def window_starts(
    num_frames: int, config: ClipConfig, stride: int, kind: Kind = "clip"
) -> Int[np.ndarray, " windows"]:
    """First sensor frame of each window of a video, int32, ascending.

    Every frame lies in a window, except where a clip carries one label and
    `config.short_clip_policy` or `config.last_window` drops frames.

    Args:
      num_frames: number of sensor frames of the video.
      config: length of a window, and what happens to short videos and last frames.
      stride: sensor frames between starts, reduced to the length of a window.
      kind: what carries a label.

    Raises:
      InputError: `last_window="drop"` where frames or points carry the labels.
    """
    if kind != "clip" and config.last_window == "drop":
        raise InputError(
            f"last_window='drop' would leave labels of {kind}s unscored; set last_window='add'."
        )
    if num_frames < config.window:
        repeated = num_frames > 0 and (config.short_clip_policy == "repeat" or kind != "clip")
        return np.zeros(int(repeated), np.int32)
    last = num_frames - config.window
    starts = np.arange(0, last + 1, min(stride, config.window), dtype=np.int32)
    if config.last_window == "add" and starts[-1] != last:
        starts = np.append(starts, np.int32(last))
    return starts


def clip_frames(
    num_frames: int, start: int, config: ClipConfig
) -> Int[np.ndarray, "t frame_merge"]:
    """The sensor frames that are merged into each frame of a clip, int32.

    Args:
      num_frames: number of sensor frames of the video. The frames of a video shorter than a window
        are repeated evenly.
      start: first sensor frame of the window.
      config: frames and frame_merge.

    Raises:
      InputError: the window does not lie in the video.
    """
    frames = start + np.arange(config.window)
    if num_frames < config.window:
        frames = np.arange(config.window) * num_frames // config.window
    elif start < 0 or frames[-1] >= num_frames:
        raise InputError(
            f"A window of {config.window} frames from frame {start} does not lie in a video of "
            f"{num_frames} frames."
        )
    return frames.reshape(config.frames, config.frame_merge).astype(np.int32)


def frame_slices(
    offsets: Int[np.ndarray, " offsets"], start: int, config: ClipConfig
) -> Int[np.ndarray, "t 2"]:
    """Range of points of each frame of a clip: the first one, and the one after the last.

    Args:
      offsets: index of the first point of each sensor frame, then the number of points, `[F+1]`.
      start: first sensor frame of the window.
      config: frames and frame_merge.
    """
    # Merged sensor frames are consecutive, so their points are one contiguous range.
    groups = clip_frames(len(offsets) - 1, start, config)
    return np.stack([offsets[groups[:, 0]], offsets[groups[:, -1] + 1]], axis=1)


def sample_indices(size: int, count: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
    """Draws `count` of `size` points in random order, int64.

    With `size > count`, a random subset without replacement. Otherwise a random permutation of all
    points, repeated until `count` is reached, so that the numbers of copies differ by one at most.
    Neighbor searches skip the copies (`ops.repeated_points`).
    """
    if size < 1:
        raise InputError("A frame without points cannot be sampled.")
    if size > count:
        return rng.choice(size, count, replace=False)
    return np.resize(rng.permutation(size), count)


def evaluation_rng(start: int, seed: int = 0) -> np.random.Generator:
    """The generator that samples the points of the window at `start` in evaluation and prediction.

    It depends neither on the name of the video nor on the data set, so that the same frames give
    the same clip in every run, order and subset.
    """
    return np.random.default_rng((seed, start))


def sample_clip(
    points: Float[np.ndarray, "total columns"],
    offsets: Int[np.ndarray, " offsets"],
    start: int,
    config: ClipConfig,
    rng: np.random.Generator,
) -> Int[np.ndarray, "t n"]:
    """Indices into `points` of the sampled points of one window, int64.

    Indices instead of points, so that labels of points can be sampled with them.

    Args:
      points: all points of the video.
      offsets: index of the first point of each sensor frame, then the number of points, `[F+1]`.
      start: first sensor frame of the window.
      config: frames, frame_merge and points.
      rng: random generator.

    Raises:
      InputError: `offsets` reaches beyond the points, a frame has no points, or the window does not
        lie in the video.
    """
    slices = frame_slices(offsets, start, config)
    if slices[-1, 1] > len(points):
        raise InputError(
            f"The frame sizes add up to at least {slices[-1, 1]} points, but there are "
            f"{len(points)}."
        )
    return np.stack(
        [low + sample_indices(int(high - low), config.points, rng) for low, high in slices]
    )


def normalize_clip(
    coordinates: Float[np.ndarray, "t n 3"],
    *,
    center: str = "median",
    scale: str = "max",
    radius_limit: float = 1.2,
) -> Float[np.ndarray, "t n 3"]:
    """Moves and scales a whole clip into the unit sphere, float32.

    Args:
      coordinates: the clip.
      center: the "median" or the "mean" of all points.
      scale: "max" divides by the largest radius. "p95" takes the 95th percentile r of the radii,
        moves points beyond `radius_limit`·r to that radius along their own direction, and divides
        by `radius_limit`·r.
      radius_limit: see "p95".
    """
    rows = coordinates.reshape(-1, 3)
    # A mean of many rows in float32 loses digits, a median does not.
    middle = np.median(rows, axis=0) if center == "median" else rows.mean(0, dtype=np.float64)
    centered = coordinates - middle.astype(coordinates.dtype, copy=False)
    radius = np.sqrt(np.einsum("tnc,tnc->tn", centered, centered))[..., None]
    if scale == "max":
        return (centered / max(float(radius.max()), _SMALLEST_SCALE)).astype(np.float32)
    limit = max(radius_limit * float(np.percentile(radius, 95)), _SMALLEST_SCALE)
    return (centered / np.maximum(radius, limit)).astype(np.float32)


def standardize_channels(
    channels: Float[np.ndarray, "... c"], config: ClipConfig
) -> Float[np.ndarray, "... c"]:
    """Standardizes channels with the statistics in `config` and clips them to ±`CHANNEL_LIMIT`.

    Raises:
      InputError: `config` has no statistics.
    """
    config.check_statistics()
    mean = np.asarray(config.channel_mean, np.float32)
    std = np.asarray(config.channel_std, np.float32)
    return np.clip((channels - mean) / std, -CHANNEL_LIMIT, CHANNEL_LIMIT).astype(np.float32)


def augment_clip(
    coordinates: Float[np.ndarray, "t n 3"],
    config: ClipConfig,
    rng: np.random.Generator,
    chosen: Int[np.ndarray, "t n"] | None = None,
) -> Float[np.ndarray, "t n 3"]:
    """Augments a normalized clip as `config` says: scales, mirrors and rotates it, and adds noise.

    One linear map is used for all frames; the noise is drawn for each point. Scales above 1 can
    move points out of the unit sphere, as in the pre-training of the backbones.

    Args:
      coordinates: the clip.
      config: the augmentations and their sizes.
      rng: random generator.
      chosen: index of each point in the video. Copies of one point get the same noise and so stay
        copies. None if all points are different.
    """
    up = AXES.index(config.up_axis)
    count = 3 if config.scale_axes == "each" else 1
    matrix = np.diag(np.broadcast_to(rng.uniform(config.scale_min, config.scale_max, count), 3))
    mirrored = bool(config.mirror_axis) and rng.random() < 0.5
    if mirrored and config.mirror_axis in AXES:
        matrix[AXES.index(config.mirror_axis)] *= -1
    if config.yaw_max > 0:
        low = -config.yaw_max if config.yaw_min is None else config.yaw_min
        angle = np.deg2rad(rng.uniform(low, config.yaw_max))
        matrix = axis_rotation(angle, up) @ matrix
    if config.rotation_std > 0:
        angles = np.clip(rng.standard_normal(3), -3, 3) * np.deg2rad(config.rotation_std)
        for axis, angle in enumerate(angles):
            matrix = axis_rotation(angle, axis) @ matrix
    matrix = matrix.astype(np.float32)
    changed = coordinates @ matrix.T
    if config.scale_about == "first frame":
        fixed = coordinates[0].mean(0)
        changed += fixed - fixed @ matrix.T
    if mirrored and config.mirror_axis == "first point":
        changed[:, 0] *= -1
    if config.jitter_std > 0:
        noise = rng.standard_normal(changed.shape, np.float32)
        if chosen is not None:
            _, first, same = np.unique(chosen, return_index=True, return_inverse=True)
            noise = noise.reshape(-1, 3)[first[same.reshape(chosen.shape)]]
        changed = changed + config.jitter_std * noise
    return changed.astype(np.float32, copy=False)


def drop_points(
    chosen: Int[np.ndarray, "t n"], share: float, rng: np.random.Generator
) -> Int[np.ndarray, "t n"]:
    """Replaces up to `share` of the sampled points of each frame by the first point of the frame.

    The probability is drawn once per clip, from 0 to `share`; the points are drawn for each frame.
    """
    dropped = rng.random(chosen.shape) < rng.uniform(0, share)
    return np.where(dropped, chosen[:, :1], chosen)


def channel_positions(columns: Sequence[str], config: ClipConfig) -> tuple[int, ...]:
    """Indices of the columns of the data set that hold the channels of `config`.

    Raises:
      InputError: the data set has no such column beside x, y and z.
    """
    columns = tuple(columns)
    for name in config.channels:
        if name not in columns[3:]:
            raise InputError(
                f"The data set has no extra channel {name!r}; it has {columns[3:] or 'none'}."
            )
    return tuple(columns.index(name) for name in config.channels)


def make_clip(
    points: Float[np.ndarray, "total columns"],
    offsets: Int[np.ndarray, " offsets"],
    start: int,
    config: ClipConfig,
    columns: Iterable[int],
    rng: np.random.Generator,
    *,
    augment: bool,
    labels: Int[np.ndarray, "*labels"] | int = 0,
    kind: Kind = "clip",
) -> tuple[Float[np.ndarray, "t n channels"], Int[np.ndarray, "*clip_labels"]]:
    """One window of a video as a clip and its labels.

    Args:
      points: all points of the video, coordinates first.
      offsets: index of the first point of each sensor frame, then the number of points, `[F+1]`.
      start: first sensor frame of the window.
      config: the form of the clip.
      columns: columns of `points` that are the channels of `config` (`channel_positions`).
      rng: random generator of sampling and augmentation.
      augment: apply `augment_clip` and `drop_points`, for training.
      labels: label of the video, of its frames `[F]` or of its points `[ΣN]`, by `kind`.
      kind: what carries a label.

    Returns:
      The clip, float32 `[T, N, 3+C]`, and its labels, int32 `[]`, `[T]` (a merged frame has the
      label of its first sensor frame) or `[T, N]`.
    """
    chosen = sample_clip(points, offsets, start, config, rng)
    if augment and config.point_dropout > 0:
        chosen = drop_points(chosen, config.point_dropout, rng)
    labels = np.asarray(labels, np.int32)
    if kind == "frame":
        labels = labels[clip_frames(len(offsets) - 1, start, config)[:, 0]]
    elif kind == "point":
        labels = labels[chosen]
    # `take` is three times as fast as indexing with an array of rows.
    sampled = points.take(chosen, axis=0)
    coordinates = normalize_clip(
        sampled[..., :3],
        center=config.center,
        scale=config.scale,
        radius_limit=config.radius_limit,
    )
    if augment:
        coordinates = augment_clip(coordinates, config, rng, chosen)
    columns = list(columns)
    if not columns:
        return np.ascontiguousarray(coordinates), labels
    channels = standardize_channels(sampled[..., columns], config)
    return np.concatenate([coordinates, channels], axis=-1), labels


def reorder_frames(
    clips: Float[np.ndarray, "b t n c"], order: str, seed: int = 0
) -> Float[np.ndarray, "b t n c"]:
    """Changes the order of the frames of clips, to test whether a model uses time.

    Args:
      clips: a batch of clips.
      order: one of `ORDERS`: "ordered" (unchanged), "repeated" (the middle frame T times),
        "shuffled" (one permutation per clip) or "reversed".
      seed: seed of the permutations.

    Raises:
      InputError: an unknown order.
    """
    count, frames = clips.shape[:2]
    if order == "ordered":
        return clips
    if order == "repeated":
        return np.repeat(clips[:, frames // 2, None], frames, axis=1)
    if order == "reversed":
        return clips[:, ::-1]
    if order == "shuffled":
        rng = np.random.default_rng(seed)
        return np.stack([clips[i, rng.permutation(frames)] for i in range(count)])
    raise InputError(f"Unknown order of frames {order!r}; use one of {', '.join(ORDERS)}.")

"""The videos of one split: random access with a bounded cache, subsets, channel statistics."""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import hashlib
import os
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, get_args

import numpy as np

from pointata_jax.data.clips import ChannelStatistics, robust_statistics
from pointata_jax.data.precision import as_float32
from pointata_jax.data.schema import Kind, check_columns, label_field
from pointata_jax.errors import InputError

DEFAULT_CACHE_BYTES = 2**30


class Records(Protocol):
    """Random access to examples of the schema, such as a tfds data source or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Mapping[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class Video:
    """One decoded video.

    Attributes:
      points: float32 `[ΣN, C]`, all frames after each other.
      offsets: int64 `[F+1]`, first point of each frame and the number of points.
      labels: int32, one class for the video `[]`, for each frame `[F]` or for each point `[ΣN]`;
        -1 is neither trained on nor scored.
      video_id: its name.
      subject: who performed it.
    """

    points: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    video_id: str
    subject: str


@dataclasses.dataclass(frozen=True)
class VideoIndex:
    """What has to be known of every video before the first clip is cut.

    Attributes:
      kind: what carries a label: "clip", "frame" or "point".
      present: bool `[V, K]`, which classes occur in each video.
      subjects: subject of each video.
      video_ids: name of each video.
      num_frames: int32 `[V]`, sensor frames of each video.
      num_points: int64 `[V]`, points of all frames of each video.
      digests: of what each video holds: 16 hexadecimal digits for points and frames, 8 for labels.
    """

    kind: Kind
    present: np.ndarray
    subjects: tuple[str, ...]
    video_ids: tuple[str, ...]
    num_frames: np.ndarray
    num_points: np.ndarray
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.num_frames)

    def select(self, indices: np.ndarray) -> VideoIndex:
        """The part of it about the videos at `indices`."""
        return VideoIndex(
            self.kind,
            self.present[indices],
            tuple(self.subjects[i] for i in indices),
            tuple(self.video_ids[i] for i in indices),
            self.num_frames[indices],
            self.num_points[indices],
            tuple(self.digests[i] for i in indices),
        )

    def save(self, path: Path) -> None:
        """Writes it as `path`, an npz file, atomically."""
        partial = path.with_name(f".{os.getpid()}-{path.name}")
        np.savez(partial, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> VideoIndex | None:
        """Inverse of `save`; None where the file is missing, damaged or of another version."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    cast(Kind, str(file["kind"])),
                    file["present"],
                    tuple(file["subjects"].tolist()),
                    tuple(file["video_ids"].tolist()),
                    file["num_frames"],
                    file["num_points"],
                    tuple(file["digests"].tolist()),
                )
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            return None


class VideoSource:
    """Random access to the videos of one split.

    Decoded videos stay in a least-recently-used cache of `cache_bytes`, shared with the subsets
    made by `select`; reading is safe from several threads.

    Attributes:
      name: for messages, such as "radhar (train)".
      columns: names of the columns of `Video.points`.
      label_names: class names in label order.
      index: kind of label, lengths, subjects, names and classes of the videos.
    """

    def __init__(
        self,
        records: Records,
        *,
        columns: Sequence[str],
        label_names: Sequence[str],
        name: str = "videos",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        index_path: Path | None = None,
    ):
        """Wraps `records`, examples in the form of `schema.video_features`.

        Args:
          records: the examples.
          columns, label_names, name, cache_bytes: see the class.
          index_path: where the index is kept; made by reading every video once where it is missing.
        """
        self.name = name
        self.columns = check_columns(columns)
        self.label_names = tuple(label_names)
        self._store = _VideoStore(records, name, cache_bytes)
        self._indices = np.arange(len(records))
        if not len(records):
            raise InputError(f"{name} holds no videos.")
        self._new_labels: np.ndarray | None = None
        known = VideoIndex.load(index_path) if index_path is not None else None
        if known is not None and len(known) == len(self):
            self.index = known
        else:
            self.index = self._read_index()
            if index_path is not None:
                # It only saves time: a folder that cannot be written to is no fault here.
                with contextlib.suppress(OSError):
                    self.index.save(index_path)

    def _read_index(self) -> VideoIndex:
        subjects, names, lengths, points, digests = [], [], [], [], []
        present = np.zeros((len(self), self.num_classes), bool)
        for index in range(len(self)):
            video = self[index]
            classes = np.unique(video.labels)
            if len(classes) and classes[-1] >= self.num_classes:
                raise InputError(
                    f"{self.name}: the video {video.video_id!r} has the label {classes[-1]}, but "
                    f"there are only {self.num_classes} classes; correct the label or the classes."
                )
            present[index, classes[classes >= 0]] = True
            subjects.append(video.subject)
            names.append(video.video_id)
            lengths.append(len(video.offsets) - 1)
            points.append(len(video.points))
            digests.append(_digest(video))
        return VideoIndex(
            _kind(self._store.label_fields, self.name),
            present,
            tuple(subjects),
            tuple(names),
            np.array(lengths, np.int32),
            np.array(points, np.int64),
            tuple(digests),
        )

    @property
    def kind(self) -> Kind:
        """What carries a label: "clip", "frame" or "point"."""
        return self.index.kind

    @property
    def labels(self) -> np.ndarray | None:
        """Class of each video, int32 `[V]`; None unless `kind` is "clip"."""
        return self.index.present.argmax(1).astype(np.int32) if self.kind == "clip" else None

    @property
    def present_labels(self) -> tuple[int, ...]:
        """Classes that occur in these videos, sorted."""
        return tuple(np.flatnonzero(self.index.present.any(0)).tolist())

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject of each video."""
        return self.index.subjects

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Name of each video."""
        return self.index.video_ids

    @property
    def num_frames(self) -> np.ndarray:
        """Sensor frames of each video, int32 `[V]`."""
        return self.index.num_frames

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Video:
        video = self._store.get(int(self._indices[index]))
        if self._new_labels is None:
            return video
        # The last entry is for the label -1, which stays.
        return dataclasses.replace(video, labels=self._new_labels[video.labels])

    @property
    def digests(self) -> dict[str, str]:
        """By name of each video, a digest of what it holds (`VideoIndex.digests`)."""
        return dict(zip(self.video_ids, self.index.digests, strict=True))

    @property
    def num_videos(self) -> int:
        """Number of videos."""
        return len(self)

    @property
    def num_classes(self) -> int:
        """Number of classes of the data set, seen in this split or not."""
        return len(self.label_names)

    def select(self, indices: Sequence[int] | np.ndarray, name: str | None = None) -> VideoSource:
        """The videos at `indices`, in that order; no copy, the cache is shared."""
        indices = np.asarray(indices, np.int64)
        if not len(indices):
            raise InputError(f"The part {name!r} of {self.name} would hold no videos.")
        part = copy.copy(self)
        part.name = name or self.name
        part._indices = self._indices[indices]
        part.index = self.index.select(indices)
        return part

    def with_classes(self, names: Sequence[str]) -> VideoSource:
        """The same videos with labels that count in the order of `names`; the cache is shared.

        Raises:
          InputError: a class of these videos is not among `names`.
        """
        names = tuple(names)
        if names == self.label_names:
            return self
        strange = [name for name in self.label_names if name not in names]
        if strange:
            raise InputError(
                f"{self.name} has {len(strange)} classes that are not known here, "
                f"{', '.join(map(repr, strange[:8]))}{' …' if len(strange) > 8 else ''}; known are "
                f"{', '.join(map(repr, names))}: give data with these classes, under these names."
            )
        order = [names.index(name) for name in self.label_names]
        new = copy.copy(self)
        new.label_names = names
        labels = np.array([*order, -1], np.int32)
        new._new_labels = labels if self._new_labels is None else labels[self._new_labels]
        present = np.zeros((len(self), len(names)), bool)
        present[:, order] = self.index.present
        new.index = dataclasses.replace(self.index, present=present)
        return new


class _VideoStore:
    """Decodes records and keeps the recently used, up to a number of bytes."""

    def __init__(self, records: Records, name: str, limit: int):
        self._records = records
        self._name = name
        self.label_fields: set[str] = set()
        self._limit = limit
        self._held = 0
        self._cache: collections.OrderedDict[int, Video] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: int) -> Video:
        with self._lock:
            video = self._cache.get(index)
            if video is not None:
                self._cache.move_to_end(index)
                return video
        # Decoding happens outside the lock: threads may read the same video twice, never wait.
        video = self._decode(self._records[index])
        size = _size(video)
        with self._lock:
            if index not in self._cache and size <= self._limit:
                self._cache[index] = video
                self._held += size
                while self._held > self._limit:
                    _, old = self._cache.popitem(last=False)
                    self._held -= _size(old)
        return video

    def _decode(self, record: Mapping[str, Any]) -> Video:
        field = next((f for f in map(label_field, get_args(Kind)) if f in record), None)
        if field is None:
            raise InputError(
                f"The videos of {self._name} carry no labels, neither of clips, frames nor points."
            )
        self.label_fields.add(field)
        sizes = np.asarray(record["frame_sizes"], np.int64)
        return Video(
            points=as_float32(np.asarray(record["points"]), f"A video of {self._name}"),
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            labels=np.asarray(record[field], np.int32),
            video_id=_text(record["video_id"]),
            subject=_text(record["subject"]),
        )


def _kind(fields: set[str], name: str) -> Kind:
    if len(fields) > 1:
        raise InputError(f"The videos of {name} carry labels of different kinds: {fields}.")
    return next(kind for kind in get_args(Kind) if label_field(kind) in fields)


def _digest(video: Video) -> str:
    def hexadecimal(size: int, *arrays: np.ndarray) -> str:
        state = hashlib.blake2b(digest_size=size)
        for array in arrays:
            state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()

    return hexadecimal(8, video.points, video.offsets) + hexadecimal(4, video.labels)


def _size(video: Video) -> int:
    return video.points.nbytes + video.offsets.nbytes + video.labels.nbytes


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def channel_statistics(
    videos: VideoSource, *, max_points: int = 2_000_000, seed: int = 0
) -> ChannelStatistics:
    """Robust mean and spread of the extra columns, over training videos.

    Args:
      videos: the *training* videos; held-out ones must not be among them.
      max_points: when there are more points, each video gives its share of this many, at random.
      seed: of that draw.
    """
    channels = videos.columns[3:]
    if not channels:
        return ChannelStatistics((), (), ())
    share = max(1, max_points // len(videos))
    rng = np.random.default_rng(seed)
    values = []
    for index in range(len(videos)):
        extra = videos[index].points[:, 3:]
        if len(extra) > share:
            extra = extra[rng.choice(len(extra), share, replace=False)]
        values.append(extra)
    return robust_statistics(np.concatenate(values), channels)

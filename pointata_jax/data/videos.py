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
    """Random access to examples in the form of `schema.video_features`: a tfds source or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Mapping[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class Video:
    """One decoded video.

    Attributes:
      points: float32 `[ΣN, C]`, the frames one after another.
      offsets: int64 `[F+1]`, index of the first point of each frame, then the number of points.
      labels: int32, class of the video `[]`, of each frame `[F]` or of each point `[ΣN]`. Training
        and evaluation ignore -1.
      video_id: name of the video.
      subject: the person who performs it.
    """

    points: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    video_id: str
    subject: str


@dataclasses.dataclass(frozen=True)
class VideoIndex:
    """Metadata of all videos, read before the first clip is cut.

    Attributes:
      kind: what carries a label: "clip", "frame" or "point".
      present: bool `[V, K]`, which classes occur in each video.
      subjects: subject of each video.
      video_ids: name of each video.
      num_frames: int32 `[V]`, number of sensor frames of each video.
      num_points: int64 `[V]`, number of points of all frames of each video.
      digests: hash of each video: 16 hexadecimal digits for points and frames, 8 for labels.
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
        """The metadata of the videos at `indices`, in that order."""
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
        """Writes the metadata to the npz file `path`, atomically."""
        partial = path.with_name(f".{os.getpid()}-{path.name}")
        np.savez(partial, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> VideoIndex | None:
        """Reads what `save` wrote; None if the file is missing, damaged or of another version."""
        try:
            with open(path, "rb") as stored, np.load(stored, allow_pickle=False) as file:
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

    Decoded videos are kept in a least-recently-used cache, which the subsets made by `select`
    share. Several threads may read at the same time.

    Attributes:
      name: name of the split for messages, such as "radhar (train)".
      columns: names of the columns of `Video.points`.
      label_names: class names in the order of the labels.
      index: metadata of the videos.
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
        """Reads the metadata of the videos, from `index_path` or from the videos themselves.

        Args:
          records: examples in the form of `schema.video_features`.
          columns: names of the columns of the points.
          label_names: class names in the order of the labels.
          name: name of the split for messages.
          cache_bytes: largest size of the cache of decoded videos.
          index_path: file that stores the metadata. If it is missing or damaged, every video is
            read once and the file is written.

        Raises:
          InputError: no videos, a label outside the classes, or videos with different kinds of
            labels.
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
                # The file only saves time, so a folder without write access is not an error.
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
        """Class of each video, int32 `[V]`; None if `kind` is "frame" or "point"."""
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
        """Number of sensor frames of each video, int32 `[V]`."""
        return self.index.num_frames

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Video:
        video = self._store.get(int(self._indices[index]))
        if self._new_labels is None:
            return video
        # The label -1 selects the last entry, which is -1.
        return dataclasses.replace(video, labels=self._new_labels[video.labels])

    @property
    def digests(self) -> dict[str, str]:
        """Hash of each video (`VideoIndex.digests`) by its name."""
        return dict(zip(self.video_ids, self.index.digests, strict=True))

    @property
    def num_videos(self) -> int:
        """Number of videos."""
        return len(self)

    @property
    def num_classes(self) -> int:
        """Number of classes of the data set, including those without videos in this split."""
        return len(self.label_names)

    def select(self, indices: Sequence[int] | np.ndarray, name: str | None = None) -> VideoSource:
        """The videos at `indices`, in that order.

        Nothing is copied; the cache is shared.

        Args:
          indices: numbers of the videos.
          name: name of the subset for messages, None for the present name.

        Raises:
          InputError: there are no indices.
        """
        indices = np.asarray(indices, np.int64)
        if not len(indices):
            raise InputError(f"The part {name!r} of {self.name} would hold no videos.")
        part = copy.copy(self)
        part.name = name or self.name
        part._indices = self._indices[indices]
        part.index = self.index.select(indices)
        return part

    def with_classes(self, names: Sequence[str]) -> VideoSource:
        """The same videos, with labels that are indices into `names`; the cache is shared.

        Args:
          names: class names, which must contain those of these videos.

        Raises:
          InputError: a class of these videos is not among `names`.
        """
        names = tuple(names)
        if names == self.label_names:
            return self
        unknown = [name for name in self.label_names if name not in names]
        if unknown:
            raise InputError(
                f"{self.name} has {len(unknown)} classes that are not known here, "
                f"{', '.join(map(repr, unknown[:8]))}{' …' if len(unknown) > 8 else ''}; give data "
                f"with the known classes, {', '.join(map(repr, names))}."
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
    """Decodes records and caches those used last, up to `max_bytes`."""

    def __init__(self, records: Records, name: str, max_bytes: int):
        self._records = records
        self._name = name
        self.label_fields: set[str] = set()
        self._max_bytes = max_bytes
        self._used_bytes = 0
        self._cache: collections.OrderedDict[int, Video] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: int) -> Video:
        with self._lock:
            video = self._cache.get(index)
            if video is not None:
                self._cache.move_to_end(index)
                return video
        # Decoded outside the lock: two threads may decode the same video, but none waits.
        video = self._decode(self._records[index])
        size = _size(video)
        with self._lock:
            if index not in self._cache and size <= self._max_bytes:
                self._cache[index] = video
                self._used_bytes += size
                while self._used_bytes > self._max_bytes:
                    _, oldest = self._cache.popitem(last=False)
                    self._used_bytes -= _size(oldest)
        return video

    def _decode(self, record: Mapping[str, Any]) -> Video:
        field = next((f for f in map(label_field, get_args(Kind)) if f in record), None)
        if field is None:
            raise InputError(
                f"The videos of {self._name} have no labels, neither of clips, frames nor points."
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
        raise InputError(
            f"The videos of {name} have labels of different kinds, {', '.join(sorted(fields))}; "
            "store the same field in every video."
        )
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
    """Robust mean and spread of the extra columns (`clips.robust_statistics`).

    Args:
      videos: the training videos, without any held-out ones.
      max_points: with more points than this, an equal share of it is sampled from each video.
      seed: seed of the sampling.
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

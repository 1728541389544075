"""Prediction with a finished run: from sensor frames to classes of the video, frames or points."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from scipy.spatial import KDTree

from pointata_jax import hub
from pointata_jax.data.clips import (
    channel_positions,
    clip_frames,
    evaluation_rng,
    make_clip,
    window_starts,
)
from pointata_jax.data.recordings import Recording
from pointata_jax.data.schema import COORDINATES, Kind, make_example
from pointata_jax.data.sensor_frames import read_frames
from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from pointata_jax.metrics.classification import softmax
from pointata_jax.models import architectures
from pointata_jax.models.backbone_file import find_backbone, load_backbone
from pointata_jax.models.batches import in_batches
from pointata_jax.models.pointata import PointATAConfig
from pointata_jax.stages.config import TaskConfig
from pointata_jax.training.run_folder import RunFolder, load_adapter

_BATCH = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model that takes sensor frames.

    Attributes:
      folder: the run folder.
      task: the task's configuration, channel statistics filled in.
      model: the architecture.
      variables: of the model.
      class_names: names of the classes.
      columns: names of the columns of a sensor point.
      forward: compiled: variables and clips to logits.
    """

    folder: Path
    task: TaskConfig
    model: architectures.VideoModelConfig
    variables: Mapping[str, Any]
    class_names: tuple[str, ...]
    columns: tuple[str, ...]
    forward: Callable[..., jax.Array]

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits of normalized clips `[B, T, N, 3+C]` (see `data.clips`)."""
        return np.asarray(self.forward(self.variables, clips))

    def predict(self, frames: Iterable[Any], *, seed: int = 0) -> dict[str, Any]:
        """Classes of one video.

        Windows and sampled points are those of an evaluation, so a video of the test split gets the
        same class in both. The memory for clips does not grow with the length of the video.

        Args:
          frames: sensor frames in order, each `[n, len(columns)]` with any number of points, in the
            sensor's own units; any form that `data.sensor_frames.read_frames` takes. At least as
            many frames as a window, unless the task repeats short videos.
          seed: of the sampled points; evaluations use 0.

        Returns:
          `windows`, the number of windows, and by the task's kind of label:
          clip: `label`, and `probabilities` by class name (softmax averaged over the windows);
          frame: `frame_labels`, a name per frame, and `frame_probabilities` `[F, K]`;
          point: `point_labels`, for each frame the classes int `[n]` of its points. A point gets
          the class of the nearest sampled point.
          Probabilities of a frame or point in several windows are averaged.

        Raises:
          InputError: too few frames, an empty frame, wrong columns, NaN or infinite coordinates,
            or frames that are no arrays of numbers.
        """
        (result,) = self.predict_many([frames], seed=seed)
        if isinstance(result, InputError):
            raise result
        return result

    def predict_many(
        self, videos: Iterable[Iterable[Any]], *, seed: int = 0
    ) -> Iterator[dict[str, Any] | InputError]:
        """Classes of videos, one after the other.

        Where a video has one class, windows of several videos share a batch. A video is read when
        it is its turn.

        Args:
          videos: for each the frames, as in `predict`.
          seed: of the sampled points.

        Yields:
          For each video in turn what `predict` returns, or the error that it would raise.
        """
        if self.model.kind != "clip":
            for frames in videos:
                try:
                    result = self._label_parts(*self._read_windows(frames), seed)
                except InputError as error:
                    result = error
                yield result
            return
        waiting: list[np.ndarray] = []  # Clips that are not in a batch yet.
        unfinished: list[_Sum | InputError] = []  # Videos that were not yielded, in order.

        def score(count: int) -> None:
            probabilities = softmax(in_batches(self.logits, np.stack(waiting[:count]), _BATCH))
            del waiting[:count]
            for row in probabilities:
                next(s for s in unfinished if isinstance(s, _Sum) and not s.complete).add(row)

        def finished() -> Iterator[dict[str, Any] | InputError]:
            while unfinished and (isinstance(unfinished[0], InputError) or unfinished[0].complete):
                first = unfinished.pop(0)
                yield first if isinstance(first, InputError) else self._named(first)

        for frames in videos:
            try:
                points, offsets, starts = self._read_windows(frames)
            except InputError as error:
                unfinished.append(error)
            else:
                unfinished.append(_Sum(len(starts)))
                indices = np.arange(len(points), dtype=np.int32)
                for start in starts:
                    waiting.append(self._cut(points, offsets, indices, int(start), seed)[0])
                    if len(waiting) == _BATCH:
                        score(_BATCH)
            yield from finished()
        if waiting:
            score(len(waiting))
        yield from finished()

    def frames_of(self, recording: Recording) -> Iterator[np.ndarray]:
        """The frames of a sensor recording with the columns of this run, for `predict`.

        Columns that the model does not read are zero where the recording lacks them.

        Raises:
          InputError: the recording lacks a column that the model reads.
        """
        have = recording.columns
        used = (*COORDINATES, *self.task.clip.channels)
        missing = [name for name in used if name not in have]
        if missing:
            raise InputError(
                f"{recording.path} has the columns {', '.join(have)} and lacks "
                f"{', '.join(missing)}, which this run reads."
            )
        present = [(place, have.index(n)) for place, n in enumerate(self.columns) if n in have]
        ours, theirs = (list(part) for part in zip(*present, strict=True))
        for values in recording.frames:
            chosen = np.zeros((len(values), len(self.columns)), values.dtype)
            chosen[:, ours] = values[:, theirs]
            yield chosen

    def _read_windows(self, frames: Iterable[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points and offsets of a video (`_read`), and the first frames of its windows."""
        points, offsets = self._read(frames)
        clip, kind = self.task.clip, cast(Kind, self.model.kind)
        starts = window_starts(len(offsets) - 1, clip, clip.eval_stride, kind)
        if not len(starts):
            raise InputError(
                f"the video has {len(offsets) - 1} frames, a window of this task {clip.window}: "
                "give more frames."
            )
        return points, offsets, starts

    def _named(self, total: _Sum) -> dict[str, Any]:
        mean = total.values / total.wanted
        named = dict(zip(self.class_names, mean.tolist(), strict=True))
        label = self.class_names[int(mean.argmax())]
        return {"windows": total.wanted, "label": label, "probabilities": named}

    def _label_parts(
        self, points: np.ndarray, offsets: np.ndarray, starts: np.ndarray, seed: int
    ) -> dict[str, Any]:
        """Labels of the frames or points of one video."""
        result: dict[str, Any] = {"windows": len(starts)}
        batches = self._batches(points, offsets, starts, seed)
        if self.model.kind == "point":
            return result | {"point_labels": self._point_labels(points, offsets, batches)}
        mean = _Mean(len(self.class_names))
        for _, used, _, probabilities in batches:
            mean.add(used, probabilities)
        means = mean.take(len(offsets) - 1)
        labels = [self.class_names[i] for i in means.argmax(1)]
        return result | {"frame_labels": labels, "frame_probabilities": means}

    def _cut(
        self, points: np.ndarray, offsets: np.ndarray, indices: np.ndarray, start: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The clip of a window, and the indices `[T, N]` of its points, drawn from `indices`."""
        clip = self.task.clip
        return make_clip(
            points,
            offsets,
            start,
            clip,
            channel_positions(self.columns, clip),
            evaluation_rng(start, seed),
            augment=False,
            # Given as labels of points, indices come back for the points that were sampled.
            labels=indices,
            kind="point",
        )

    def _batches(
        self, points: np.ndarray, offsets: np.ndarray, starts: np.ndarray, seed: int
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Batches of windows: `(next, frames, sampled, probabilities)`.

        `next` is the first frame of the next batch, `frames` `[b, T]` the first sensor frame of
        each frame of the clips, `sampled` `[b, T, N]` the indices of their points.
        """
        clip = self.task.clip
        indices = np.arange(len(points), dtype=np.int32)
        for first in range(0, len(starts), _BATCH):
            batch = [int(start) for start in starts[first : first + _BATCH]]
            cut = [self._cut(points, offsets, indices, start, seed) for start in batch]
            clips, sampled = (np.stack(part) for part in zip(*cut, strict=True))
            frames = np.stack([clip_frames(len(offsets) - 1, s, clip)[:, 0] for s in batch])
            last = first + _BATCH >= len(starts)
            following = len(offsets) - 1 if last else int(starts[first + _BATCH])
            yield following, frames, sampled, softmax(in_batches(self.logits, clips, _BATCH))

    def _point_labels(
        self,
        points: np.ndarray,
        offsets: np.ndarray,
        batches: Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]],
    ) -> list[np.ndarray]:
        """Classes of the points of each frame. A frame is done when no later window holds it."""
        mean = _Mean(len(self.class_names))
        labels: list[np.ndarray] = []
        for following, _, sampled, probabilities in batches:
            mean.add(sampled, probabilities)
            for frame in range(len(labels), following):
                first, last = int(offsets[frame]), int(offsets[frame + 1])
                inside = first + np.flatnonzero(mean.counts(first, last))
                classes = mean.take(last)[inside - first].argmax(1)
                nearest = KDTree(points[inside, :3]).query(points[first:last, :3])[1]
                labels.append(classes[nearest])
        return labels

    def _read(self, frames: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """All points `[ΣN, C]` and the first of each frame `[F+1]`."""
        needed = (*COORDINATES, *self.task.clip.channels)
        arrays = read_frames(frames, self.columns, needed)
        video = make_example(
            arrays, video_id="given", subject="", labels=0, num_classes=len(self.class_names)
        )
        return video["points"], np.concatenate([[0], np.cumsum(video["frame_sizes"])])


class _Sum:
    """Sum of the probabilities of a known number of windows.

    Args:
      wanted: how many windows the video has.
    """

    def __init__(self, wanted: int):
        self.wanted = wanted
        self.values: Any = 0.0
        self._count = 0

    @property
    def complete(self) -> bool:
        """Whether all windows were added."""
        return self._count == self.wanted

    def add(self, probabilities: np.ndarray) -> None:
        """Adds the probabilities `[K]` of the next window."""
        self.values = self.values + probabilities
        self._count += 1


class _Mean:
    """Running means of values `[K]` at positions 0, 1, …, taken out from the front.

    Args:
      width: K.
    """

    def __init__(self, width: int):
        self._first = 0
        self._total = np.zeros((0, width))
        self._count = np.zeros(0, np.int64)

    def add(self, positions: np.ndarray, values: np.ndarray) -> None:
        """Adds `values` `[..., K]` at `positions` `[...]` that have not been taken out."""
        positions = positions.reshape(-1) - self._first
        grown = max(int(positions.max()) + 1 - len(self._count), 0)
        self._total = np.pad(self._total, ((0, grown), (0, 0)))
        self._count = np.pad(self._count, (0, grown))
        np.add.at(self._total, positions, values.reshape(-1, values.shape[-1]))
        self._count += np.bincount(positions, minlength=len(self._count))

    def counts(self, first: int, last: int) -> np.ndarray:
        """Number of values at each of the positions `first` to `last - 1`."""
        return self._count[first - self._first : last - self._first]

    def take(self, last: int) -> np.ndarray:
        """Takes out the means of the positions up to `last - 1`; a mean of no values is 0."""
        size = last - self._first
        means = self._total[:size] / np.maximum(self._count[:size], 1)[:, None]
        self._total, self._count = self._total[size:], self._count[size:]
        self._first = last
        return means


def load_run(path: str | os.PathLike) -> Predictor:
    """Loads a finished run of `experiments.adapt`.

    Args:
      path: the run folder, one that `experiments.publish` wrote, or a name on the hub such as
        `hf:owner/name` (`pointata_jax.hub`).

    Raises:
      InputError: there is no run, it is not finished, or its backbone file is missing or changed.
    """
    if hub.is_reference(path):
        path = hub.fetch_run(str(path))
    run = RunFolder.open(path)
    settings = run.settings
    if "model" not in settings:
        raise InputError(
            f"{Path(path)} is a run of {run.task!r}, which has no model to predict with."
        )
    params, model_state, _ = load_adapter(run.adapter_path)
    model = architectures.from_dict(settings["model"])
    if isinstance(model, PointATAConfig) and "backbone" not in params:
        params = {**params, "backbone": _frozen_backbone(settings["backbone"], model, run)}
    task = TaskConfig.from_dict(settings["task"])
    return Predictor(
        folder=run.path,
        task=task,
        model=model,
        variables={"params": params, **model_state},
        class_names=tuple(settings["class_names"]),
        columns=tuple(settings["columns"]),
        forward=jax.jit(architectures.build(model).apply),
    )


def _frozen_backbone(
    reference: Mapping[str, str], model: PointATAConfig, run: RunFolder
) -> dict[str, Any]:
    """The blocks, position MLP and norm of the backbone that a run was trained around."""
    name = reference["name"]
    # A published run brings its backbone along.
    path = run.path / name if name == hub.BACKBONE else find_backbone(name)
    config, variables = load_backbone(path)
    if file_sha256(path) != reference["sha256"] or config != model.backbone:
        raise InputError(
            f"backbone {path} is not the one that the run was trained around (its hash differs): "
            "put the original file back, or train again."
        )
    return {name: tree for name, tree in variables["params"].items() if name != "embedder"}

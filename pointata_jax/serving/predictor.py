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

from pointata_jax.data.clips import (
    channel_positions,
    clip_frames,
    evaluation_rng,
    make_clip,
    window_starts,
)
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
        clip, kind = self.task.clip, cast(Kind, self.model.kind)
        points, offsets = self._read(frames)
        num_frames = len(offsets) - 1
        starts = window_starts(num_frames, clip, clip.eval_stride, kind)
        if not len(starts):
            raise InputError(
                f"the video has {num_frames} frames, a window of this task {clip.window}: give "
                "more frames."
            )
        result: dict[str, Any] = {"windows": len(starts)}
        batches = self._batches(points, offsets, starts, seed)
        if kind == "clip":
            mean = np.concatenate([probabilities for *_, probabilities in batches]).mean(0)
            named = dict(zip(self.class_names, mean.tolist(), strict=True))
            return result | {"label": self.class_names[int(mean.argmax())], "probabilities": named}
        if kind == "frame":
            mean = _Mean(len(self.class_names))
            for _, used, _, probabilities in batches:
                mean.add(used, probabilities)
            means = mean.take(num_frames)
            labels = [self.class_names[i] for i in means.argmax(1)]
            return result | {"frame_labels": labels, "frame_probabilities": means}
        return result | {"point_labels": self._point_labels(points, offsets, batches)}

    def _batches(
        self, points: np.ndarray, offsets: np.ndarray, starts: np.ndarray, seed: int
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Batches of windows: `(next, frames, sampled, probabilities)`.

        `next` is the first frame of the next batch, `frames` `[b, T]` the first sensor frame of
        each frame of the clips, `sampled` `[b, T, N]` the indices of their points.
        """
        clip = self.task.clip
        columns = channel_positions(self.columns, clip)
        # Given as labels of points, indices come back for the points that were sampled.
        indices = np.arange(len(points), dtype=np.int32)
        for first in range(0, len(starts), _BATCH):
            batch = [int(start) for start in starts[first : first + _BATCH]]
            cut = [
                make_clip(
                    points,
                    offsets,
                    start,
                    clip,
                    columns,
                    evaluation_rng(start, seed),
                    augment=False,
                    labels=indices,
                    kind="point",
                )
                for start in batch
            ]
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

    Raises:
      InputError: there is no run, it is not finished, or its backbone file is missing or changed.
    """
    run = RunFolder.open(path)
    settings = run.settings
    if "model" not in settings:
        raise InputError(
            f"{Path(path)} is a run of {run.task!r}, which has no model to predict with."
        )
    params, model_state, _ = load_adapter(run.adapter_path)
    model = architectures.from_dict(settings["model"])
    if isinstance(model, PointATAConfig) and "backbone" not in params:
        params = {**params, "backbone": _frozen_backbone(settings["backbone"], model)}
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


def _frozen_backbone(reference: Mapping[str, str], model: PointATAConfig) -> dict[str, Any]:
    """The blocks, position MLP and norm of the backbone that a run was trained around."""
    path = find_backbone(reference["name"])
    config, variables = load_backbone(path)
    if file_sha256(path) != reference["sha256"] or config != model.backbone:
        raise InputError(
            f"backbone {path} is not the one that the run was trained around (its hash differs): "
            "put the original file back, or train again."
        )
    return {name: tree for name, tree in variables["params"].items() if name != "embedder"}

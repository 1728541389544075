"""A finished run as a function: sensor frames in, classes of the video, frames or points out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pointata_jax import ops
from pointata_jax.data.clips import channel_positions, clip_frames, make_clip, window_starts
from pointata_jax.data.schema import make_example
from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from pointata_jax.metrics.classification import softmax
from pointata_jax.models.backbone_file import find_backbone, load_backbone
from pointata_jax.models.batches import in_batches
from pointata_jax.models.pointata import PointATA, PointATAConfig
from pointata_jax.training.config import TaskConfig
from pointata_jax.training.run_folder import RunFolder, load_adapter

_BATCH = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model with everything that it needs to read sensor frames.

    Attributes:
      folder: the run folder that it was read from.
      task: the task's configuration, channel statistics filled in.
      model: the architecture.
      variables: of the model.
      class_names: names of the classes.
      columns: what the columns of a sensor point are.
    """

    folder: Path
    task: TaskConfig
    model: PointATAConfig
    variables: Mapping[str, Any]
    class_names: tuple[str, ...]
    columns: tuple[str, ...]
    forward: Callable[..., jax.Array]

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits of normalised clips `[B, T, N, 3+C]` (see `data.clips`), as `PointATA` gives."""
        return np.asarray(self.forward(self.variables, clips))

    def predict(self, frames: Sequence[np.ndarray], *, seed: int = 0) -> dict[str, Any]:
        """Classes of one video.

        Args:
          frames: sensor frames in order, each `[n, len(columns)]` in the sensor's own units; any
            number of points. At least as many frames as a window, unless the task repeats short
            videos.
          seed: of the points drawn.

        Returns:
          `windows`, their number, and, by the task's kind of label,
          clip: `label` and `probabilities` by class name (softmax averaged over the windows);
          frame: `frame_labels`, a name per frame, and `frame_probabilities` `[F, K]`;
          point: `point_labels`, for each frame the classes int `[n]` of its points, each that of
          the nearest point that was drawn. Frames in several windows are averaged.

        Raises:
          InputError: too few frames, an empty frame, wrong columns, NaN or infinite coordinates.
        """
        clip, kind = self.task.clip, self.model.kind
        points, offsets = self._checked(frames)
        starts = window_starts(len(frames), clip, clip.eval_hop, cover=kind != "clip")
        if not len(starts):
            raise InputError(
                f"the video has {len(frames)} frames, a window of this task {clip.window}: give "
                "more frames."
            )
        columns = channel_positions(self.columns, clip)
        # Points instead of labels, so that it is known which points were drawn.
        cut = [
            make_clip(
                points,
                offsets,
                int(start),
                clip,
                columns,
                np.random.default_rng((seed, int(start))),
                augment=False,
                labels=np.arange(len(points)),
                kind="point",
            )
            for start in starts
        ]
        clips, drawn = (np.stack(part) for part in zip(*cut, strict=True))
        probabilities = softmax(in_batches(self.logits, clips, _BATCH))
        result: dict[str, Any] = {"windows": len(clips)}
        if kind == "clip":
            mean = probabilities.mean(0)
            named = dict(zip(self.class_names, mean.tolist(), strict=True))
            return result | {"label": self.class_names[int(mean.argmax())], "probabilities": named}
        used = np.stack([clip_frames(len(frames), int(start), clip)[:, 0] for start in starts])
        if kind == "frame":
            mean = _mean_by(used, probabilities, len(frames))
            labels = [self.class_names[i] for i in mean.argmax(1)]
            return result | {"frame_labels": labels, "frame_probabilities": mean}
        mean = _mean_by(drawn, probabilities, len(points))
        known = np.unique(drawn)
        labels = []
        for first, last in zip(offsets[:-1], offsets[1:], strict=True):
            inside = known[(known >= first) & (known < last)]
            nearest = ops.knn(points[first:last, :3], points[inside, :3], 1)[:, 0]
            labels.append(mean[inside].argmax(1)[np.asarray(nearest)])
        return result | {"point_labels": labels}

    def _checked(self, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """All points `[ΣN, C]` and the first of each frame `[F+1]`."""
        arrays = [np.asarray(frame, np.float32) for frame in frames]
        wrong = [i for i, a in enumerate(arrays) if a.ndim != 2 or a.shape[1] != len(self.columns)]
        if wrong or not arrays:
            raise InputError(
                f"predict needs frames [n, {len(self.columns)}] with the columns "
                f"{', '.join(self.columns)}; frame {wrong[0] if wrong else 0} is "
                f"{arrays[wrong[0]].shape if wrong else 'missing'}."
            )
        video = make_example(
            arrays, video_id="given", subject="", labels=0, num_classes=len(self.class_names)
        )
        return video["points"], np.concatenate([[0], np.cumsum([len(a) for a in arrays])])


def _mean_by(places: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Mean of the `values` `[..., K]` at each of `count` places, which `places` `[...]` names."""
    places, values = places.reshape(-1), values.reshape(-1, values.shape[-1])
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, places, values)
    return total / np.maximum(np.bincount(places, minlength=count), 1)[:, None]


def load_run(path: str | os.PathLike) -> Predictor:
    """Loads a finished run of `experiments.adapt`.

    Raises:
      InputError: no run, not finished, or its backbone file is gone or has changed.
    """
    run = RunFolder.open(path)
    settings = run.settings
    if "model" not in settings:
        raise InputError(
            f"{Path(path)} is a run of {run.task!r}, which has no model to predict with."
        )
    params, model_state, _ = load_adapter(run.adapter_path)
    model = PointATAConfig.from_dict(settings["model"])
    if "backbone" not in params:
        params = {**params, "backbone": _frozen_backbone(settings["backbone"], model)}
    task = TaskConfig.from_dict(settings["task"])
    return Predictor(
        folder=run.path,
        task=task,
        model=model,
        variables={"params": params, **model_state},
        class_names=tuple(settings["class_names"]),
        columns=tuple(settings["columns"]),
        forward=jax.jit(PointATA(model).apply),
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

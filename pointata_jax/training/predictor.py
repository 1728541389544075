"""A finished run as a function: frames in, class out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pointata_jax.data.clips import channel_positions, make_clip, window_starts
from pointata_jax.data.schema import make_example
from pointata_jax.errors import InputError
from pointata_jax.metrics.classification import softmax
from pointata_jax.models.backbone_file import file_sha256, find_backbone, load_backbone
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
        """Logits `[B, K]` of normalised clips `[B, T, N, 3+C]` (see `data.clips`)."""
        return np.asarray(self.forward(self.variables, clips))

    def predict(self, frames: Sequence[np.ndarray], *, seed: int = 0) -> dict[str, Any]:
        """Class of one video.

        Args:
          frames: sensor frames in order, each `[n, len(columns)]` in the sensor's own units; any
            number of points. At least as many frames as a window, unless the task repeats short
            videos.
          seed: of the points drawn.

        Returns:
          `label`, `probabilities` by class name (softmax averaged over the windows), `windows`.

        Raises:
          InputError: too few frames, an empty frame, wrong columns, NaN or infinite coordinates.
        """
        clip = self.task.clip
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
        offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])])
        starts = window_starts(len(arrays), clip, clip.eval_hop)
        if not len(starts):
            raise InputError(
                f"the video has {len(arrays)} frames, a window of this task {clip.window}: give "
                "more frames."
            )
        columns = channel_positions(self.columns, clip)
        clips = [
            make_clip(
                video["points"],
                offsets,
                int(start),
                clip,
                columns,
                np.random.default_rng((seed, int(start))),
                augment=False,
            )[0]
            for start in starts
        ]
        mean = softmax(in_batches(self.logits, np.stack(clips), _BATCH)).mean(0)
        return {
            "label": self.class_names[int(mean.argmax())],
            "probabilities": dict(zip(self.class_names, mean.tolist(), strict=True)),
            "windows": len(clips),
        }


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

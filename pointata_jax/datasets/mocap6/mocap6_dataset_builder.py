"""tfds builder of `mocap6`: real exercise routines, dressed with capsules, a label per frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.mocap6 import folds, trials
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class Mocap6Config(tfds.core.BuilderConfig):
    """One fold of leave-one-trial-out.

    Attributes:
      held_out: the trial of the test split; all others are the train split.
      step: one frame of this many (30 a second) goes into a video. A trial gives as many videos,
        each beginning a frame later, so that all frames are used and tested.
      views: cameras and builds in which a training trial is seen (`trials.camera`); a test trial is
        seen from the front only.
      num_points: points per frame.
      partial: accept other trials than the published ones.
    """

    held_out: str
    step: int = 2
    views: int = 4
    num_points: int = 512
    partial: bool = False

    def __post_init__(self) -> None:
        for name in ("step", "views", "num_points"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"mocap6 config {self.name!r}: {name} is {getattr(self, name)}; give at "
                    "least 1."
                )


class Builder(tfds.core.GeneratorBasedBuilder):
    """Five exercise routines by two people, 15 frames/s, meters; thirteen class names, nine occur.

    The configuration names the trial that is left out for testing. The subject of a video is the
    name of its trial, such as "13_30", so a training trial can be held out for validation.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Five trials, dressed."}
    BUILDER_CONFIGS = [
        Mocap6Config(
            name=f"{name}{'_partial' * partial}",
            description=f"trial {name} is left out{', any trials accepted' * partial}",
            held_out=name,
            partial=partial,
        )
        for partial in (False, True)
        for name in trials.NUM_FRAMES
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = trials.WHERE
    builder_config: Mocap6Config
    COLUMNS = schema.COORDINATES
    LABEL_NAMES = trials.CLASSES

    def __init__(
        self,
        *,
        config: str | Mocap6Config | None = None,
        partial: bool = False,
        file_format: str = "array_record",
        **kwargs: Any,
    ) -> None:
        """Declares the data set.

        Args:
          config: the trial to leave out, or a configuration with a name of its own.
          partial: use a file with other trials; chooses the configuration "<trial>_partial".
          file_format: of the prepared records; the default needs no TensorFlow.
          **kwargs: `data_dir` and others of tfds.
        """
        if partial and not isinstance(config, Mocap6Config):
            first = next(iter(trials.NUM_FRAMES))
            config = f"{(config or first).removesuffix('_partial')}_partial"
        super().__init__(config=config, file_format=file_format, **kwargs)

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The file that would be read from a data folder."""
        return [trials.find_source(data_dir)]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Exercise routines of CMU motion capture, dressed with capsules.",
            homepage="https://github.com/michaelchughes/mocap6dataset",
            license="labels BSD-2-Clause; motion by mocap.cs.cmu.edu, NSF EIA-0196217",
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "frame"),
            disable_shuffling=True,
            citation=(
                "Fox, Hughes, Sudderth, Jordan: Joint Modeling of Multiple Time Series via the "
                "Beta Process with Application to Motion Capture Segmentation. Annals of Applied "
                "Statistics 8(3), 2014."
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config = self.builder_config
        folder = streaming.manual_folder(dl_manager, trials.WHERE)
        found = trials.read_trials(folder, partial=config.partial)
        folds.fold(found, config.held_out)  # Names the trials if this one is not among them.
        return {
            "train": self._generate_examples(
                [trial for trial in found if trial.name != config.held_out], config.views
            ),
            "test": self._generate_examples(
                [trial for trial in found if trial.name == config.held_out], 1
            ),
        }

    def _generate_examples(
        self, some: Sequence[trials.Trial], views: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        for trial in some:
            for view in range(views):
                for phase in range(min(config.step, len(trial.labels))):
                    frames = np.arange(phase, len(trial.labels), config.step)
                    video_id = f"{trial.name}/view{view}/from{phase}"
                    yield (
                        video_id,
                        schema.make_example(
                            trials.dress(trial, view, frames, config.num_points),
                            video_id=video_id,
                            subject=trial.name,
                            labels=trial.labels[frames],
                            num_classes=len(trials.CLASSES),
                            kind="frame",
                        ),
                    )

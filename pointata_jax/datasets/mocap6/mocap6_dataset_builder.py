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
from pointata_jax.datasets.archive_builder import PartialConfigBuilder, with_partial
from pointata_jax.datasets.mocap6 import folds, trials
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class Mocap6Config(tfds.core.BuilderConfig):
    """One fold of leave-one-trial-out.

    Attributes:
      held_out: the trial of the test split; all others are the train split.
      step: a video takes every `step`-th frame of a trial (30 a second). A trial gives `step`
        videos, each starting one frame later, so that every frame is used and tested.
      views: number of cameras and body builds for each training trial (`trials.camera`). A test
        trial is seen from the front only.
      num_points: points per frame.
      partial: accept trials other than the published ones.
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


class Builder(PartialConfigBuilder, tfds.core.GeneratorBasedBuilder):
    """Five exercise routines by two people, 15 frames/s, meters; thirteen class names, nine occur.

    The configuration names the trial that is left out for testing. The subject of a video is the
    name of its trial, such as "13_30", so a training trial can be held out for validation.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = with_partial(
        [
            Mocap6Config(name=name, description=f"trial {name} is left out", held_out=name)
            for name in trials.NUM_FRAMES
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = trials.WHERE
    builder_config: Mocap6Config
    DESCRIPTION = "Exercise routines of CMU motion capture, dressed with capsules."
    CITATION = (
        "Fox, Hughes, Sudderth, Jordan: Joint Modeling of Multiple Time Series via the Beta "
        "Process with Application to Motion Capture Segmentation. Annals of Applied Statistics "
        "8(3), 2014."
    )
    HOMEPAGE = "https://github.com/michaelchughes/mocap6dataset"
    LICENSE = "labels BSD-2-Clause; motion by mocap.cs.cmu.edu, NSF EIA-0196217"
    LABEL_NAMES = trials.CLASSES
    KIND = "frame"
    DISABLE_SHUFFLING = True

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The file that would be read from a data folder."""
        return [trials.find_source(data_dir)]

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config = self.builder_config
        folder = streaming.manual_folder(dl_manager, trials.WHERE)
        found = trials.read_trials(folder, partial=config.partial)
        folds.fold(found, config.held_out)  # Raises if there is no such trial.
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
    ) -> Iterator[tuple[str, streaming.Example]]:
        config = self.builder_config
        for trial in some:
            for view in range(views):
                for phase in range(min(config.step, len(trial.labels))):
                    frames = np.arange(phase, len(trial.labels), config.step)
                    video_id = f"{trial.name}/view{view}/from{phase}"
                    example = schema.make_example(
                        trials.dress(trial, view, frames, config.num_points),
                        video_id=video_id,
                        subject=trial.name,
                        labels=trial.labels[frames],
                        num_classes=len(trials.CLASSES),
                        kind=self.KIND,
                    )
                    yield video_id, example

"""tfds builder of `synthetic_timelines`: procedural figures that perform several motions in a row.

Nothing is downloaded or read. Each video is one take of ten seconds at 15 frames/s, seen by one
depth camera. A figure performs several motions with smooth transitions between them, and every
frame has a label (`choreography`). The data set is for trying and testing; results on it say
nothing about real data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets.synthetic_timelines import choreography
from pointata_jax.procedural import capsules, figures
from pointata_jax.procedural.performer_builder import PerformerBuilder, PerformerConfig, render

_KEY = 0x71  # Random streams differ from those of `synthetic_actions`.


@dataclasses.dataclass(kw_only=True)
class SyntheticTimelinesConfig(PerformerConfig):
    """How much is generated.

    Attributes:
      takes: videos of each of the sixteen subjects.
      num_frames: frames per video.
      num_points: points per frame.
    """

    takes: int = 20
    num_frames: int = 150
    num_points: int = 256

    def __post_init__(self) -> None:
        self.check_at_least(takes=1, num_points=1, num_frames=2 * choreography.SHORTEST)


class Builder(PerformerBuilder):
    """Takes of one figure, meters, a label of `choreography.LABEL_NAMES` per frame, by subject."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        SyntheticTimelinesConfig(
            name="standard",
            description="320 videos (240 train, 80 test), 150 frames x 256 points",
        ),
        SyntheticTimelinesConfig(
            name="tiny",
            description="16 videos (12 train, 4 test), 60 frames x 32 points, for tests",
            takes=1,
            num_frames=60,
            num_points=32,
        ),
    ]
    builder_config: SyntheticTimelinesConfig
    DESCRIPTION = __doc__ or ""
    LABEL_NAMES = choreography.LABEL_NAMES
    KIND = "frame"

    def performer_examples(self, number: int) -> Iterator[dict[str, Any]]:
        """All takes of one subject."""
        for take in range(self.builder_config.takes):
            yield make_video(self.builder_config, number, take)


def make_video(config: SyntheticTimelinesConfig, subject: int, take: int) -> dict[str, Any]:
    """One take as an example of the schema (`schema.video_features`, kind "frame").

    Args:
      config: sizes, noise and seed.
      subject: number of the performer.
      take: number of the take.
    """
    who = figures.subject(subject)
    key = (_KEY, config.seed, subject, take)
    rng = capsules.frame_rng(*key)
    segments = choreography.plan(config.num_frames, rng)
    joints = figures.animate_sequence(segments, who, rng)
    return schema.make_example(
        [points for points, _ in render(config, who, joints, key)],
        video_id=f"timeline_s{subject:02d}_t{take:02d}",
        subject=str(subject),
        labels=choreography.frame_labels(segments),
        num_classes=len(choreography.LABEL_NAMES),
        kind="frame",
    )

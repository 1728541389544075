"""tfds builder of `synthetic_actions`: procedural figures that perform twelve motions.

Nothing is downloaded or read: every video comes from `pointata_jax.procedural.figures`, seen by
one depth camera (`pointata_jax.procedural.capsules`). Generation is repeatable to the bit on one
machine. Eight of the twelve classes are four motions and the same four played backwards, so only
the order of the frames tells them apart. The data set is for trying and testing; results on it say
nothing about real data.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.procedural import capsules, figures
from pointata_jax.procedural.performer_builder import MotionBuilder, MotionConfig, render


@dataclasses.dataclass(kw_only=True)
class SyntheticActionsConfig(MotionConfig):
    """How much is generated: `repeats` performances of each motion by each subject."""


class Builder(MotionBuilder):
    """Videos of one figure, meters, labels `figures.MOTIONS`, split by subject."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        SyntheticActionsConfig(
            name="standard",
            description="576 videos (432 train, 144 test), 24 frames x 1,024 points",
        ),
        SyntheticActionsConfig(
            name="tiny",
            description="192 videos (144 train, 48 test), 8 frames x 128 points, for tests",
            repeats=1,
            num_frames=8,
            num_points=128,
        ),
    ]
    builder_config: SyntheticActionsConfig
    DESCRIPTION = __doc__ or ""
    LABEL_NAMES = figures.MOTIONS

    def motion_example(self, number: int, motion: str, repeat: int) -> dict[str, Any]:
        """One performance, see `make_video`."""
        return make_video(self.builder_config, number, figures.MOTIONS.index(motion), repeat)


def make_video(
    config: SyntheticActionsConfig, subject: int, label: int, repeat: int
) -> dict[str, Any]:
    """One performance as an example of the schema (`schema.video_features`).

    Args:
      config: sizes, noise and seed.
      subject: number of the performer.
      label: index into `figures.MOTIONS`.
      repeat: number of the performance.
    """
    motion, who = figures.MOTIONS[label], figures.subject(subject)
    key = (config.seed, subject, label, repeat)
    joints = figures.animate(motion, who, capsules.frame_rng(*key), config.num_frames)
    return schema.make_example(
        [points for points, _ in render(config, who, joints, key)],
        video_id=f"{motion}_s{subject:02d}_e{repeat:02d}",
        subject=str(subject),
        labels=label,
        num_classes=len(figures.MOTIONS),
    )

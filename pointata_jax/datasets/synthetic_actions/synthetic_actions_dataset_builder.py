"""tfds builder of `synthetic_actions`: procedural figures that perform twelve motions.

Nothing is downloaded or read: every video comes from `pointata_jax.procedural.figures`, seen by
one depth camera (`pointata_jax.procedural.capsules`), so generation is repeatable to the bit on one
machine. Eight of the twelve classes are four motions and the same four played backwards; only time
tells them apart. It is for trying and testing: it says nothing about real data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.procedural import capsules, figures
from pointata_jax.procedural.performer_builder import PerformerBuilder, PerformerConfig


@dataclasses.dataclass(kw_only=True)
class SyntheticActionsConfig(PerformerConfig):
    """How much is generated.

    Attributes:
      repeats: performances of each motion by each of the sixteen subjects.
    """

    repeats: int = 3

    def __post_init__(self) -> None:
        self.check_at_least(repeats=1, num_frames=1, num_points=1)


class Builder(PerformerBuilder):
    """Videos of one figure, meters, labels `figures.MOTIONS`, split by subject."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Twelve motions by sixteen procedural subjects."}
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

    def performer_examples(self, number: int) -> Iterator[dict[str, Any]]:
        for label in range(len(figures.MOTIONS)):
            for repeat in range(self.builder_config.repeats):
                yield make_video(self.builder_config, number, label, repeat)


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
    frames = [
        capsules.depth_view(
            pose,
            figures.PARENTS,
            who.radii,
            config.num_points,
            capsules.frame_rng(*key, frame),
            noise=config.noise,
        )[0]
        for frame, pose in enumerate(joints)
    ]
    return schema.make_example(
        frames,
        video_id=f"{motion}_s{subject:02d}_e{repeat:02d}",
        subject=str(subject),
        labels=label,
        num_classes=len(figures.MOTIONS),
    )

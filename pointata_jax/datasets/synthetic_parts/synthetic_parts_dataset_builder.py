"""tfds builder of `synthetic_parts`: procedural figures in furnished rooms, a label per point.

Nothing is downloaded or read. Each video is three neighboring frames (15 frames/s) of a figure of
`procedural.figures` that moves among furniture (`procedural.scenes`), seen by one depth camera, so
figure, furniture and floor hide parts of each other. Left and right are one part.
It is for trying and testing: it says nothing about real data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.errors import InputError
from pointata_jax.procedural import bodies, capsules, figures, scenes
from pointata_jax.procedural.performer_builder import PerformerBuilder, PerformerConfig

LABEL_NAMES: tuple[str, ...] = (
    "head",
    "torso",
    "upper arm",
    "forearm",
    "thigh",
    "lower leg",
    "floor",
    "furniture",
)
"""Six parts of the body (hands go with forearms, feet with lower legs), then the room."""

# The part of the capsule that ends at each kind of joint.
_PARTS = {
    "head": "head",
    "chin": "head",
    "elbow": "upper arm",
    "wrist": "forearm",
    "hand": "forearm",
    "knee": "thigh",
    "ankle": "lower leg",
    "foot": "lower leg",
}
_KEY = 0x9A  # Sets these clips apart from those of other generators.
_PERFORMANCE = 24


def _label_table() -> np.ndarray:
    """Label by source of a point: joints from 0, furniture and floor counted from the end."""
    parts = [_PARTS.get(name.partition("_")[0], "torso") for name in figures.JOINTS]
    table = [LABEL_NAMES.index(part) for part in (*parts, "furniture", "floor")]
    return np.array(table, np.int32)


_LABELS = _label_table()


@dataclasses.dataclass(kw_only=True)
class SyntheticPartsConfig(PerformerConfig):
    """How much is generated.

    Attributes:
      repeats: clips of each motion by each of the sixteen subjects.
      num_frames: frames per clip, at most 24.
    """

    repeats: int = 3
    num_frames: int = 3
    num_points: int = 2048

    def __post_init__(self) -> None:
        self.check_at_least(repeats=1, num_frames=1, num_points=1)
        if self.num_frames > _PERFORMANCE:
            raise InputError(
                f"synthetic_parts config {self.name!r}: num_frames is {self.num_frames}; a "
                f"performance has {_PERFORMANCE}."
            )


class Builder(PerformerBuilder):
    """Clips of one figure in a room, meters, a label of `LABEL_NAMES` per point, by subject."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Sixteen procedural subjects in furnished rooms."}
    BUILDER_CONFIGS = [
        SyntheticPartsConfig(
            name="standard",
            description="576 clips (432 train, 144 test), 3 frames x 2,048 points",
        ),
        SyntheticPartsConfig(
            name="tiny",
            description="192 clips (144 train, 48 test), 3 frames x 64 points, for tests",
            repeats=1,
            num_points=64,
        ),
    ]
    builder_config: SyntheticPartsConfig
    DESCRIPTION = __doc__ or ""
    LABEL_NAMES = LABEL_NAMES
    KIND = "point"

    def performer_examples(self, number: int) -> Iterator[dict[str, Any]]:
        for motion in figures.MOTIONS:
            for repeat in range(self.builder_config.repeats):
                yield make_clip(self.builder_config, number, motion, repeat)


def make_clip(
    config: SyntheticPartsConfig, subject: int, motion: str, repeat: int
) -> dict[str, Any]:
    """One clip as an example of the schema (`schema.video_features`, kind "point").

    Args:
      config: sizes, noise and seed.
      subject: number of the performer.
      motion: one of `figures.MOTIONS`.
      repeat: number of the clip.
    """
    who = figures.subject(subject)
    key = (_KEY, config.seed, subject, figures.MOTIONS.index(motion), repeat)
    rng = capsules.frame_rng(*key)
    joints = figures.animate(motion, who, rng, _PERFORMANCE)
    # In some frame of a performance the figure stands on the floor, in all of a jump it does not.
    floor = float(joints[..., 1].min()) - bodies.FOOT_CLEARANCE * who.girth * who.height
    start = int(rng.integers(_PERFORMANCE - config.num_frames + 1))
    joints = joints[start : start + config.num_frames]
    room = scenes.furnish(joints, floor, rng)
    views = [
        scenes.view(
            pose,
            figures.PARENTS,
            who.radii,
            room,
            config.num_points,
            capsules.frame_rng(*key, frame),
            noise=config.noise,
        )
        for frame, pose in enumerate(joints)
    ]
    return schema.make_example(
        [points for points, _ in views],
        video_id=f"{motion}_s{subject:02d}_e{repeat:02d}",
        subject=str(subject),
        labels=_LABELS[np.concatenate([sources for _, sources in views])],
        num_classes=len(LABEL_NAMES),
        kind="point",
    )

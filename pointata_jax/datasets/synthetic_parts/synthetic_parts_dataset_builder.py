"""tfds builder of `synthetic_parts`: procedural figures in furnished rooms, a label per point.

Nothing is downloaded or read. Each video is three neighboring frames (15 frames/s) of a figure of
`procedural.figures` that moves among furniture (`procedural.scenes`), seen by one depth camera, so
figure, furniture and floor hide parts of each other. The left and the right side share a label. The
data set is for trying and testing; results on it say nothing about real data.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.errors import InputError
from pointata_jax.procedural import bodies, capsules, figures, scenes
from pointata_jax.procedural.performer_builder import MotionBuilder, MotionConfig, render

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
"""Six parts of the body (hands belong to forearms, feet to lower legs), then the room."""

# Label of the capsule that ends at each kind of joint; all others belong to the torso.
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
_KEY = 0x9A  # Random streams differ from those of other generators.
_PERFORMANCE = 24  # Frames of the performance from which a clip is cut.


def _label_table() -> np.ndarray:
    """Label by source of a point: joints count from 0, furniture is -2 and floor -1."""
    parts = [_PARTS.get(name.partition("_")[0], "torso") for name in figures.JOINTS]
    table = [LABEL_NAMES.index(part) for part in (*parts, "furniture", "floor")]
    return np.array(table, np.int32)


_LABELS = _label_table()


@dataclasses.dataclass(kw_only=True)
class SyntheticPartsConfig(MotionConfig):
    """How much is generated: `repeats` clips of each motion by each subject.

    Attributes:
      num_frames: frames per clip, at most 24.
      num_points: points per frame.
    """

    num_frames: int = 3
    num_points: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_frames > _PERFORMANCE:
            raise InputError(
                f"synthetic_parts config {self.name!r}: num_frames is {self.num_frames}; a "
                f"performance has {_PERFORMANCE}, so give at most these."
            )


class Builder(MotionBuilder):
    """Clips of one figure in a room, meters, a label of `LABEL_NAMES` per point, by subject."""

    VERSION = tfds.core.Version("1.0.0")
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

    def motion_example(self, number: int, motion: str, repeat: int) -> dict[str, Any]:
        """One clip, see `make_clip`."""
        return make_clip(self.builder_config, number, motion, repeat)


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
    # The floor is below the lowest frame of the performance: the clip itself may be all in a jump.
    floor = float(joints[..., 1].min()) - bodies.FOOT_CLEARANCE * who.girth * who.height
    start = int(rng.integers(_PERFORMANCE - config.num_frames + 1))
    joints = joints[start : start + config.num_frames]
    room = scenes.furnish(joints, floor, rng)
    views = render(config, who, joints, key, functools.partial(scenes.view, room=room))
    return schema.make_example(
        [points for points, _ in views],
        video_id=f"{motion}_s{subject:02d}_e{repeat:02d}",
        subject=str(subject),
        labels=_LABELS[np.concatenate([sources for _, sources in views])],
        num_classes=len(LABEL_NAMES),
        kind="point",
    )

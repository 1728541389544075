"""tfds builder of `synthetic_parts`: procedural figures in furnished rooms, a label per point.

Nothing is downloaded or read. Each video is three neighbouring frames (15 frames/s) of a figure of
`pointata_jax.data.figures` that moves among furniture (`pointata_jax.data.scenes`), seen by one
depth camera, so figure, furniture and floor hide parts of each other. Left and right are one part.
It is for trying and testing: it says nothing about real data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data import bodies, capsules, figures, scenes, schema
from pointata_jax.data.bodies import NUM_SUBJECTS, TEST_SUBJECTS
from pointata_jax.errors import InputError

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
class SyntheticPartsConfig(tfds.core.BuilderConfig):
    """How much is generated.

    Attributes:
      repeats: clips of each motion by each of the sixteen subjects.
      num_frames: frames per clip, at most 24.
      num_points: points per frame.
      noise: depth noise at one metre, metres (`capsules.depth_view`).
      seed: another seed gives another data set of the same kind.
    """

    repeats: int = 3
    num_frames: int = 3
    num_points: int = 2048
    noise: float = 0.0014
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("repeats", "num_frames", "num_points"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"synthetic_parts config {self.name!r}: {name} is {getattr(self, name)}; "
                    "give at least 1."
                )
        if self.num_frames > _PERFORMANCE:
            raise InputError(
                f"synthetic_parts config {self.name!r}: num_frames is {self.num_frames}; a "
                f"performance has {_PERFORMANCE}."
            )


class Builder(tfds.core.GeneratorBasedBuilder):
    """Clips of one figure in a room, metres, a label of `LABEL_NAMES` per point, by subject."""

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
    COLUMNS = schema.COORDINATES
    LABEL_NAMES = LABEL_NAMES

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any) -> None:
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "point"),
            supervised_keys=None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # Nothing to download.
        train = [number for number in range(NUM_SUBJECTS) if number not in TEST_SUBJECTS]
        return {
            "train": self._generate_examples(train),
            "test": self._generate_examples(TEST_SUBJECTS),
        }

    def _generate_examples(self, subjects: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        for number in subjects:
            for motion in figures.MOTIONS:
                for repeat in range(config.repeats):
                    example = make_clip(config, number, motion, repeat)
                    yield example["video_id"], example


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

"""tfds builder of `synthetic_actions`: procedural figures that perform twelve motions.

Nothing is downloaded or read: every video comes from `pointata_jax.data.figures`, seen by one depth
camera (`pointata_jax.data.capsules`), so generation is repeatable to the bit on one machine. Eight
of the twelve classes are four motions and the same four played backwards; only time tells them
apart. It is for trying and testing: it says nothing about real data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import capsules, figures, schema
from pointata_jax.data.bodies import NUM_SUBJECTS, TEST_SUBJECTS
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class SyntheticActionsConfig(tfds.core.BuilderConfig):
    """How much is generated.

    Attributes:
      repeats: performances of each motion by each of the sixteen subjects.
      num_frames: frames per video.
      num_points: points per frame.
      noise: depth noise at one metre, metres (`capsules.depth_view`).
      seed: another seed gives another data set of the same kind.
    """

    repeats: int = 3
    num_frames: int = 24
    num_points: int = 1024
    noise: float = 0.0014
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("repeats", "num_frames", "num_points"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"synthetic_actions config {self.name!r}: {name} is {getattr(self, name)}; "
                    "give at least 1."
                )


class Builder(tfds.core.GeneratorBasedBuilder):
    """Videos of one figure, metres, labels `figures.MOTIONS`, split by subject."""

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
    COLUMNS = schema.COORDINATES
    LABEL_NAMES = figures.MOTIONS

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any) -> None:
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES),
            supervised_keys=None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # Nothing to download.
        train = [number for number in range(NUM_SUBJECTS) if number not in TEST_SUBJECTS]
        return {
            "train": self._generate_examples(train),
            "test": self._generate_examples(list(TEST_SUBJECTS)),
        }

    def _generate_examples(self, subjects: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        for number in subjects:
            for label in range(len(figures.MOTIONS)):
                for repeat in range(config.repeats):
                    example = make_video(config, number, label, repeat)
                    yield example["video_id"], example


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

"""tfds builder of `synthetic_timelines`: procedural figures that do one thing after the other.

Nothing is downloaded or read. Each video is one take of ten seconds at 15 frames/s, seen by one
depth camera, in which a figure performs several motions with natural passages between them, and
every frame has a label (`choreography`). It is for trying and testing: it says nothing about real
data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import capsules, figures, schema
from pointata_jax.data.bodies import NUM_SUBJECTS, TEST_SUBJECTS
from pointata_jax.data.synthetic_timelines import choreography
from pointata_jax.errors import InputError

_KEY = 0x71  # Sets these takes apart from the videos of `synthetic_actions`.


@dataclasses.dataclass(kw_only=True)
class SyntheticTimelinesConfig(tfds.core.BuilderConfig):
    """How much is generated.

    Attributes:
      takes: videos of each of the sixteen subjects.
      num_frames: frames per video.
      num_points: points per frame.
      noise: depth noise at one metre, metres (`capsules.depth_view`).
      seed: another seed gives another data set of the same kind.
    """

    takes: int = 20
    num_frames: int = 150
    num_points: int = 256
    noise: float = 0.0014
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("takes", 1),
            ("num_points", 1),
            ("num_frames", 2 * choreography.SHORTEST),
        ):
            if getattr(self, name) < least:
                raise InputError(
                    f"synthetic_timelines config {self.name!r}: {name} is {getattr(self, name)}; "
                    f"give at least {least}."
                )


class Builder(tfds.core.GeneratorBasedBuilder):
    """Takes of one figure, metres, a label of `choreography.LABEL_NAMES` per frame, by subject."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Takes of twelve motions and rest by sixteen procedural subjects."}
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
    COLUMNS = schema.COORDINATES
    LABEL_NAMES = choreography.LABEL_NAMES

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any) -> None:
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "frame"),
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
        for number in subjects:
            for take in range(self.builder_config.takes):
                example = make_video(self.builder_config, number, take)
                yield example["video_id"], example


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
        video_id=f"timeline_s{subject:02d}_t{take:02d}",
        subject=str(subject),
        labels=choreography.frame_labels(segments),
        num_classes=len(choreography.LABEL_NAMES),
        kind="frame",
    )

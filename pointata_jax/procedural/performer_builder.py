"""What the builders of procedural videos share: sixteen performers, twelve of them for training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.data.video_builder import VideoBuilder
from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules, figures
from pointata_jax.procedural.bodies import NUM_SUBJECTS, TEST_SUBJECTS, Subject


@dataclasses.dataclass(kw_only=True)
class PerformerConfig(tfds.core.BuilderConfig):
    """How much is generated.

    Attributes:
      num_frames: frames per video.
      num_points: points per frame.
      noise: depth noise at one meter, meters (`capsules.depth_view`).
      seed: seed of all videos.
    """

    num_frames: int = 24
    num_points: int = 1024
    noise: float = 0.0014
    seed: int = 0

    def check_at_least(self, **least: int) -> None:
        """Checks lower bounds of fields.

        Args:
          **least: the smallest allowed value, by name of the field.

        Raises:
          InputError: a field is smaller.
        """
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InputError(
                    f"configuration {self.name!r} of procedural videos: {name} is "
                    f"{getattr(self, name)}; give at least {value}."
                )


@dataclasses.dataclass(kw_only=True)
class MotionConfig(PerformerConfig):
    """How much is generated of each motion.

    Attributes:
      repeats: videos of each motion by each of the sixteen subjects.
    """

    repeats: int = 3

    def __post_init__(self) -> None:
        self.check_at_least(repeats=1, num_frames=1, num_points=1)


class PerformerBuilder(VideoBuilder, tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Videos of procedural figures, meters, split by performer; nothing is downloaded or read."""

    def performer_examples(self, number: int) -> Iterator[dict[str, Any]]:
        """The examples of one performer (`schema.make_example`).

        Args:
          number: of the performer, from 0.
        """
        raise NotImplementedError

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # Nothing to download.
        train = [number for number in range(NUM_SUBJECTS) if number not in TEST_SUBJECTS]
        return {
            "train": self._generate_examples(train),
            "test": self._generate_examples(TEST_SUBJECTS),
        }

    def _generate_examples(self, performers: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number in performers:
            for example in self.performer_examples(number):
                yield example["video_id"], example


class MotionBuilder(PerformerBuilder, skip_registration=True):
    """Videos of one motion each: every subject performs every motion of `figures.MOTIONS`."""

    builder_config: MotionConfig

    def motion_example(self, number: int, motion: str, repeat: int) -> dict[str, Any]:
        """One video (`schema.make_example`).

        Args:
          number: of the performer, from 0.
          motion: one of `figures.MOTIONS`.
          repeat: number of the video among those of the same performer and motion.
        """
        raise NotImplementedError

    def performer_examples(self, number: int) -> Iterator[dict[str, Any]]:
        """All videos of one performer."""
        for motion in figures.MOTIONS:
            for repeat in range(self.builder_config.repeats):
                yield self.motion_example(number, motion, repeat)


def render(
    config: PerformerConfig,
    who: Subject,
    joints: np.ndarray,
    key: tuple[int, ...],
    view: Callable[..., tuple[np.ndarray, np.ndarray]] = capsules.depth_view,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What a depth camera at the origin sees in each frame of a performance.

    Args:
      config: number of points and noise.
      who: the performer.
      joints: `[T, J, 3]`, the poses in the camera's frame, meters.
      key: key of the video. Frame t uses the generator of `(*key, t)`.
      view: takes the arguments of `capsules.depth_view`, and returns what it returns.

    Returns:
      T pairs of points float32 `[num_points, 3]`, meters, and the source of each point, int32
      `[num_points]`, as `view` numbers them.
    """
    return [
        view(
            pose,
            figures.PARENTS,
            who.radii,
            num_points=config.num_points,
            rng=capsules.frame_rng(*key, frame),
            noise=config.noise,
        )
        for frame, pose in enumerate(joints)
    ]

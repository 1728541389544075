"""What the builders of procedural videos share: sixteen performers, twelve of them to train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.errors import InputError
from pointata_jax.procedural.bodies import NUM_SUBJECTS, TEST_SUBJECTS


@dataclasses.dataclass(kw_only=True)
class PerformerConfig(tfds.core.BuilderConfig):
    """How much is generated.

    Attributes:
      num_frames: frames per video.
      num_points: points per frame.
      noise: depth noise at one meter, meters (`capsules.depth_view`).
      seed: another seed gives another data set of the same kind.
    """

    num_frames: int = 24
    num_points: int = 1024
    noise: float = 0.0014
    seed: int = 0

    def check_at_least(self, **least: int) -> None:
        """InputError unless each named size is at least so large."""
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InputError(
                    f"configuration {self.name!r} of procedural videos: {name} is "
                    f"{getattr(self, name)}; give at least {value}."
                )


class PerformerBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Videos of procedural figures, meters, split by performer; nothing is downloaded or read.

    A data set says what its labels are and makes the examples of one performer.
    """

    COLUMNS = schema.COORDINATES
    DESCRIPTION: ClassVar[str]
    LABEL_NAMES: ClassVar[tuple[str, ...]]
    KIND: ClassVar[schema.Kind] = "clip"

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any) -> None:
        super().__init__(file_format=file_format, **kwargs)

    def performer_examples(self, number: int) -> Iterator[dict[str, Any]]:
        """The examples of performer `number` (`schema.make_example`)."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, self.KIND),
            supervised_keys=None,
        )

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

"""tfds builder of `radhar_timelines`: RadHAR's recordings, joined end to end.

Everything in a video is real (radar points, motion, labels) but the joins. The recordings of one
video come from one of the authors' splits, so a model that trains on the train split has seen no
part of a test video.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets.radhar import radhar_dataset_builder as radhar_builder
from pointata_jax.datasets.radhar import recordings as radhar
from pointata_jax.datasets.radhar_timelines import joining
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class RadHARTimelinesConfig(tfds.core.BuilderConfig):
    """How recordings are joined.

    Attributes:
      num_frames: frames of a video.
      merge: radar frames (30 a second) in a frame of a video.
      shortest, longest: frames of a piece of one recording.
      train_rounds, test_rounds: how often every recording is used, each time with other cuts.
      groups: train recordings are joined within this many groups.
      seed: of groups, cuts and order.
    """

    num_frames: int = 150
    merge: int = 5
    shortest: int = 15
    longest: int = 45
    train_rounds: int = 4
    test_rounds: int = 1
    groups: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("num_frames", "merge", "train_rounds", "test_rounds", "groups"):
            if getattr(self, field) < 1:
                raise InputError(
                    f"radhar_timelines config {self.name!r}: {field} is {getattr(self, field)}; "
                    "give at least 1."
                )


class Builder(radhar_builder.Builder):
    """Videos of 150 frames of five merged radar frames each (25 s), five activities, five columns.

    The subject of a training video is the group of recordings that it was joined from, "0" to "4":
    hold out one of them for validation, never single videos, since those of a group share
    recordings. The subject of a test video is "test". Reads what the builder of `radhar` reads and
    takes the same options.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "RadHAR's recordings, joined at random cuts."}
    BUILDER_CONFIGS = [
        RadHARTimelinesConfig(
            name="standard",
            description="328 train and 34 test videos from the packed file, 150 frames",
        )
    ]
    builder_config: RadHARTimelinesConfig

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Millimeter-wave radar points of one activity after another.",
            homepage=radhar_builder.REPOSITORY,
            license="BSD-3-Clause",
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES, "frame"),
            disable_shuffling=True,
            citation=radhar_builder.CITATION,
        )

    def _generate_examples(
        self, recordings: Iterable[radhar.Recording]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        recordings = list(recordings)
        split = recordings[0].split if recordings else ""
        is_test, made = split == "test", 0
        count = 1 if is_test else config.groups
        assigned = joining.groups(recordings, count, config.seed)
        for group in range(count):
            members = [r for r, g in zip(recordings, assigned, strict=True) if g == group]
            for turn in range(config.test_rounds if is_test else config.train_rounds):
                videos = joining.plan(
                    members,
                    joining.round_rng(config.seed, is_test, group, turn),
                    num_frames=config.num_frames,
                    merge=config.merge,
                    shortest=config.shortest,
                    longest=config.longest,
                )
                for number, pieces in enumerate(videos):
                    video_id = f"{split}/group{group}/round{turn}/{number:03d}"
                    points, sizes, labels = joining.join(members, pieces, config.merge)
                    made += 1
                    yield (
                        video_id,
                        schema.make_example(
                            points,
                            frame_sizes=sizes,
                            video_id=video_id,
                            subject="test" if is_test else str(group),
                            labels=labels,
                            num_classes=len(radhar.CLASSES),
                            kind="frame",
                        ),
                    )
        if not made:
            raise InputError(
                f"The {len(recordings)} recordings of a split of RadHAR are too few or too short "
                f"to join a video of {config.num_frames} frames ({config.merge} radar frames each) "
                "from; put more of them into the data folder."
            )

"""tfds builder of `radhar_timelines`: RadHAR's recordings, joined end to end.

Radar points, motion and labels of a video are real, the joins are made here. The recordings of one
video come from one of the authors' splits, so no part of a test video is in the train split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.radhar import radhar_dataset_builder as radhar_builder
from pointata_jax.datasets.radhar import recordings as radhar
from pointata_jax.datasets.radhar_timelines import joining
from pointata_jax.errors import InputError


@dataclasses.dataclass(kw_only=True)
class RadHARTimelinesConfig(tfds.core.BuilderConfig):
    """How recordings are joined.

    Attributes:
      num_frames: frames of a video.
      frame_merge: radar frames (30 a second) that are merged to one frame of a video.
      shortest: smallest number of frames of a piece of one recording.
      longest: largest number of frames of a piece of one recording.
      train_rounds: how often every train recording is used, each time with other cuts.
      test_rounds: the same for test recordings.
      groups: number of groups of train recordings; only recordings of one group are joined.
      seed: of groups, cuts and order.
    """

    num_frames: int = 150
    frame_merge: int = 5
    shortest: int = 15
    longest: int = 45
    train_rounds: int = 4
    test_rounds: int = 1
    groups: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("num_frames", "frame_merge", "train_rounds", "test_rounds", "groups"):
            if getattr(self, field) < 1:
                raise InputError(
                    f"radhar_timelines config {self.name!r}: {field} is {getattr(self, field)}; "
                    "give at least 1."
                )


class Builder(radhar_builder.Builder):
    """Videos of 150 frames of five merged radar frames each (25 s), five activities, five columns.

    The subject of a training video is the group of its recordings, "0" to "4". For validation, hold
    out a whole group, never single videos, since the videos of a group share recordings. The
    subject of a test video is "test". Sources and options are those of the builder of `radhar`.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        RadHARTimelinesConfig(
            name="standard",
            description="328 train and 34 test videos from the packed file, 150 frames",
        )
    ]
    builder_config: RadHARTimelinesConfig
    DESCRIPTION = "Millimeter-wave radar points of one activity after another."
    KIND = "frame"

    def _generate_examples(
        self, recordings: Iterable[radhar.Recording]
    ) -> Iterator[tuple[str, streaming.Example]]:
        config = self.builder_config
        recordings = list(recordings)
        split = recordings[0].split if recordings else ""
        is_test, num_videos = split == "test", 0
        count = 1 if is_test else config.groups
        assigned = joining.groups(recordings, count, config.seed)
        for group in range(count):
            members = [r for r, g in zip(recordings, assigned, strict=True) if g == group]
            for turn in range(config.test_rounds if is_test else config.train_rounds):
                videos = joining.plan(
                    members,
                    joining.round_rng(config.seed, is_test, group, turn),
                    num_frames=config.num_frames,
                    frame_merge=config.frame_merge,
                    shortest=config.shortest,
                    longest=config.longest,
                )
                for number, pieces in enumerate(videos):
                    video_id = f"{split}/group{group}/round{turn}/{number:03d}"
                    points, sizes, labels = joining.join(members, pieces, config.frame_merge)
                    num_videos += 1
                    example = schema.make_example(
                        points,
                        frame_sizes=sizes,
                        video_id=video_id,
                        subject="test" if is_test else str(group),
                        labels=labels,
                        num_classes=len(radhar.CLASSES),
                        kind=self.KIND,
                    )
                    yield video_id, example
        if not num_videos:
            raise InputError(
                f"The {len(recordings)} recordings of a split of RadHAR are too few or too short "
                f"for a video of {config.num_frames} frames of {config.frame_merge} radar frames "
                "each; put more of them into the data folder."
            )

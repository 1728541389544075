"""The protocol of MSR-Action3D: names of classes and recordings, split, published counts.

Li, Zhang, Liu: Action Recognition Based on a Bag of 3D Points. CVPR Workshops (CVPR4HB), 2010.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from pointata_jax.data.folder_walk import walk_files
from pointata_jax.errors import InputError

CLASSES: tuple[str, ...] = (
    "high arm wave",
    "horizontal arm wave",
    "hammer",
    "hand catch",
    "forward punch",
    "high throw",
    "draw x",
    "draw tick",
    "draw circle",
    "hand clap",
    "two hand wave",
    "side-boxing",
    "bend",
    "forward kick",
    "side kick",
    "jogging",
    "tennis swing",
    "tennis serve",
    "golf swing",
    "pick up and throw",
)
"""In the data set's order: action number 1 is label 0."""

NUM_SUBJECTS = 10
TRAIN_SUBJECTS: tuple[int, ...] = (1, 2, 3, 4, 5)

COUNTS: dict[str, dict[str, int]] = {
    "depth": {"train": 270, "test": 297},
    # Two recordings of the test half hold no usable skeleton (`skeletons.UNUSABLE`).
    "skeleton": {"train": 270, "test": 295},
}
"""Videos per split of the complete data set, by variant."""

WHERE: dict[str, str] = {
    "depth": (
        "Expected there: the depth maps aXX_sYY_eZZ_sdepth.bin of MSR-Action3D (Li, Zhang and Liu, "
        "CVPR4HB 2010), 567 of them, or the point clouds made of them, aXX_sYY_eZZ_sdepth.npz, "
        "whose archive the MeteorNet and P4Transformer repositories link; where a recording has "
        "both, its npz file is read."
    ),
    "skeleton": (
        "Expected there: the skeleton files aXX_sYY_eZZ_skeleton3D.txt of MSR-Action3D (folder "
        "MSRAction3DSkeletonReal3D of the authors Li, Zhang and Liu, CVPR4HB 2010), 567 of them, "
        "or the same packed as real3d.npz."
    ),
}
"""What a data folder holds and where the public data come from, by variant."""

_NAME = re.compile(r"a(\d+)_s(\d+)_e(\d+)")


@dataclasses.dataclass(frozen=True, order=True)
class Recording:
    """Name of one recording; numbers count from 1 as in the data set.

    Attributes:
      action: 1 to 20.
      subject: 1 to 10.
      trial: repetition by the same subject.
    """

    action: int
    subject: int
    trial: int

    @property
    def video_id(self) -> str:
        """Such as "a01_s02_e03"."""
        return f"a{self.action:02d}_s{self.subject:02d}_e{self.trial:02d}"

    @property
    def label(self) -> int:
        """Index into `CLASSES`."""
        return self.action - 1

    @property
    def split(self) -> str:
        """The cross-subject protocol: "train" for subjects 1 to 5, else "test"."""
        return "train" if self.subject in TRAIN_SUBJECTS else "test"


def recording(action: int, subject: int, trial: int, where: str | Path) -> Recording:
    """The recording with these numbers.

    Args:
      action: number of the action.
      subject: number of the subject.
      trial: number of the repetition.
      where: the file, for the error.

    Raises:
      InputError: the data set has no such action or subject.
    """
    if not 1 <= action <= len(CLASSES) or not 1 <= subject <= NUM_SUBJECTS:
        raise InputError(
            f"{where}: action {action}, subject {subject} is not in MSR-Action3D, which has "
            f"actions 1-{len(CLASSES)} and subjects 1-{NUM_SUBJECTS}; remove it."
        )
    return Recording(int(action), int(subject), int(trial))


def find_files(folder: str | Path, suffix: str) -> dict[Recording, Path]:
    """The files `aXX_sYY_eZZ<suffix>` in a folder and its sub-folders, in order of recording.

    Args:
      folder: where to search.
      suffix: end of the names; capital and small letters are the same.

    Raises:
      InputError: the folder is missing, or holds a recording twice.
    """
    walk = walk_files(folder, (suffix,))
    walk.report(foreign=False)
    found: dict[Recording, Path] = {}
    for path in walk.files:
        numbers = _NAME.fullmatch(path.name[: -len(suffix)].lower())
        if numbers is None:
            continue
        key = recording(*(int(number) for number in numbers.groups()), where=path)
        if key in found:
            raise InputError(f"{found[key]} and {path} are the same recording; remove one.")
        found[key] = path
    return dict(sorted(found.items()))


def check_counts(recordings: Iterable[Recording], variant: str, where: str | Path) -> None:
    """Checks the number of recordings of each split.

    Args:
      recordings: all recordings that were found.
      variant: a key of `COUNTS`.
      where: where they were found, for the error.

    Raises:
      InputError: the complete data set has another number.
    """
    splits = [recording.split for recording in recordings]
    counts = {split: splits.count(split) for split in COUNTS[variant]}
    if counts != COUNTS[variant]:
        expected = COUNTS[variant]
        raise InputError(
            f"{where} holds {counts['train']} training and {counts['test']} test videos of "
            f"MSR-Action3D, the complete data set ({variant}) has {expected['train']} and "
            f"{expected['test']}; complete the copy, or give partial=True to use what is there."
        )

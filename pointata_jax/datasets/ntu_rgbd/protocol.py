"""What is fixed about NTU RGB+D: names of videos and classes, splits, published counts.

Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis. CVPR
2016. Liu, Shahroudy, Perez, Wang, Duan, Kot: NTU RGB+D 120. IEEE TPAMI, 2019.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from pointata_jax.data.folder_walk import Walk, walk_files
from pointata_jax.data.text_files import numbered_lines
from pointata_jax.errors import InputError

CLASSES: tuple[str, ...] = (
    "drink water",
    "eat meal",
    "brush teeth",
    "brush hair",
    "drop",
    "pick up",
    "throw",
    "sit down",
    "stand up",
    "clap",
    "read",
    "write",
    "tear up paper",
    "put on jacket",
    "take off jacket",
    "put on shoe",
    "take off shoe",
    "put on glasses",
    "take off glasses",
    "put on hat",
    "take off hat",
    "cheer up",
    "wave hand",
    "kick something",
    "reach into pocket",
    "hop",
    "jump up",
    "make phone call",
    "play with phone",
    "type on keyboard",
    "point with finger",
    "take selfie",
    "check time",
    "rub hands",
    "nod head",
    "shake head",
    "wipe face",
    "salute",
    "put palms together",
    "cross hands in front",
    "sneeze or cough",
    "stagger",
    "fall",
    "touch head",
    "touch chest",
    "touch back",
    "touch neck",
    "nausea",
    "fan self",
    "punch other",
    "kick other",
    "push other",
    "pat back of other",
    "point at other",
    "hug other",
    "give to other",
    "touch pocket of other",
    "shake hands",
    "walk toward each other",
    "walk apart",
    "put on headphone",
    "take off headphone",
    "shoot at basket",
    "bounce ball",
    "tennis swing",
    "juggle table tennis balls",
    "hush",
    "flick hair",
    "thumb up",
    "thumb down",
    "ok sign",
    "victory sign",
    "staple book",
    "count money",
    "cut nails",
    "cut paper",
    "snap fingers",
    "open bottle",
    "sniff",
    "squat down",
    "toss coin",
    "fold paper",
    "ball up paper",
    "play magic cube",
    "cream on face",
    "cream on hand",
    "put on bag",
    "take off bag",
    "put into bag",
    "take out of bag",
    "open box",
    "move heavy object",
    "shake fist",
    "throw up hat",
    "hands up",
    "cross arms",
    "arm circles",
    "arm swings",
    "run on the spot",
    "butt kicks",
    "cross toe touch",
    "side kick",
    "yawn",
    "stretch",
    "blow nose",
    "hit other with object",
    "wield knife at other",
    "knock over other",
    "grab from other",
    "shoot at other",
    "step on foot of other",
    "high five",
    "cheers and drink",
    "carry with other",
    "take photo of other",
    "follow other",
    "whisper to other",
    "exchange things",
    "support other",
    "rock paper scissors",
)
"""In the data set's order: action A001 is label 0. NTU RGB+D 60 has the first sixty."""

# Performers of the training splits of the cross-subject protocols.
_TRAIN_60 = frozenset((1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38))
_TRAIN_120 = _TRAIN_60 | frozenset(
    (45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96))
    + (97, 98, 100, 103)
)
_TRAIN_CAMERAS = (2, 3)

NUM_CLASSES = {"ntu60": 60, "ntu120": 120}
NUM_VIDEOS = {"ntu60": 56_880, "ntu120": 114_480}
VARIANTS = (
    "ntu60_cross_subject",
    "ntu60_cross_view",
    "ntu120_cross_subject",
    "ntu120_cross_setup",
)
COUNTS: dict[str, dict[str, int]] = {
    "ntu60_cross_subject": {"train": 40_320, "test": 16_560},
    "ntu60_cross_view": {"train": 37_920, "test": 18_960},
}
"""Videos of the two splits as published. For 120 classes the published splits leave out videos with
a damaged skeleton. Point clouds need no skeleton, so only the sum is checked there."""

FILE_SUFFIX = ".npz"
LIST_NAMES = {"ntu60": "ntu60.list", "ntu120": "ntu120.list"}

WHERE = (
    "Expected there: one folder SsssCcccPpppRrrrAaaa of masked depth maps per video (56,880 of NTU "
    "RGB+D, 114,480 of NTU RGB+D 120; rose1.ntu.edu.sg hands them out after registration), or one "
    "SsssCcccPpppRrrrAaaa.npz per video, made of these by the public converter depth2point4ntu.py "
    "of the repository github.com/hehefan/Point-Spatio-Temporal-Convolution. With that "
    "repository's ntu60.list or ntu120.list beside them the frames of each video are counted too."
)

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, order=True)
class Recording:
    """Name of one video; numbers count from 1 as in the data set.

    Attributes:
      setup: place and height of the cameras, 1 to 32.
      camera: 1 to 3.
      performer: 1 to 106.
      replication: 1 or 2.
      action: 1 to 120.
    """

    setup: int
    camera: int
    performer: int
    replication: int
    action: int

    @property
    def video_id(self) -> str:
        """Such as "S001C002P003R002A013"."""
        return (
            f"S{self.setup:03d}C{self.camera:03d}P{self.performer:03d}R{self.replication:03d}"
            f"A{self.action:03d}"
        )

    @property
    def label(self) -> int:
        """Index into `CLASSES`."""
        return self.action - 1

    def split(self, variant: str) -> str:
        """ "train" or "test" in one of `VARIANTS`.

        Cross-subject: half of the people; cross-view: cameras 2 and 3 train; cross-setup: even
        setups train.
        """
        if variant == "ntu60_cross_view":
            train = self.camera in _TRAIN_CAMERAS
        elif variant == "ntu120_cross_setup":
            train = self.setup % 2 == 0
        else:
            train = self.performer in (_TRAIN_60 if variant.startswith("ntu60") else _TRAIN_120)
        return "train" if train else "test"


def parse_name(name: str, where: str | Path) -> Recording:
    """The recording of a name.

    Args:
      name: such as "S001C002P003R002A013"; capital and small letters are the same.
      where: the file or line, for the error.

    Raises:
      InputError: the name has another form, or a number is too large.
    """
    match = _NAME.fullmatch(name)
    numbers = [int(number) for number in match.groups()] if match else []
    limits = (32, 3, 106, 2, 120)
    if not match or any(not 1 <= n <= limit for n, limit in zip(numbers, limits, strict=True)):
        raise InputError(
            f"{where}: {name!r} is no video of NTU RGB+D, named SsssCcccPpppRrrrAaaa with "
            f"setups to {limits[0]}, cameras to {limits[1]}, people to {limits[2]}, replications "
            f"to {limits[3]} and actions to {limits[4]}; remove it."
        )
    return Recording(*numbers)


def dataset_of(variant: str) -> str:
    """ "ntu60" or "ntu120"; InputError for an unknown variant."""
    if variant not in VARIANTS:
        raise InputError(
            f"Unknown variant {variant!r} of ntu_rgbd: use one of {', '.join(VARIANTS)}."
        )
    return variant.split("_")[0]


def find_videos(folder: str | Path) -> dict[Recording, Path]:
    """The video files and folders below a folder, in order of recording.

    Raises:
      InputError: the folder is missing, or holds a video twice.
    """
    walk = _walk(folder, FILE_SUFFIX)
    walk.report(foreign=False)
    found: dict[Recording, Path] = {}
    for path in sorted((*walk.files, *walk.closed)):
        name = _video_name(path.name)
        if not _NAME.fullmatch(name):
            continue
        key = parse_name(name, path)
        if key in found:
            raise InputError(f"{found[key]} and {path} are the same video; remove one.")
        found[key] = path
    return dict(sorted(found.items()))


def _walk(folder: str | Path, suffix: str) -> Walk:
    """Files outside the folders of videos, which are not entered: they hold millions of images."""
    return walk_files(folder, (suffix,), enter=lambda name: not _NAME.fullmatch(name))


def _video_name(name: str) -> str:
    return name[: -len(FILE_SUFFIX)] if name.lower().endswith(FILE_SUFFIX) else name


def find_list(folder: str | Path, dataset: str) -> Path | None:
    """The list of the videos of a data set in a folder and its sub-folders, if there is one.

    Args:
      folder: where to search.
      dataset: "ntu60" or "ntu120".

    Raises:
      InputError: there are several lists, and they differ.
    """
    wanted = LIST_NAMES[dataset]
    found = [path for path in _walk(folder, wanted).files if path.name.lower() == wanted]
    for path in found[1:]:
        if read_list(path, dataset) != read_list(found[0], dataset):
            raise InputError(f"{found[0]} and {path} differ; keep one of them.")
    return found[0] if found else None


def read_list(path: Path, dataset: str) -> dict[Recording, int]:
    """Numbers of frames by video, from a list of lines `SsssCcccPpppRrrrAaaa frames`.

    Args:
      path: the list.
      dataset: "ntu60" or "ntu120".

    Raises:
      InputError: a line has another form, or a video is listed twice or belongs to the other data
        set.
    """
    found: dict[Recording, int] = {}
    for number, line in numbered_lines(path, comments=("#",)):
        where, words = f"{path}, line {number}", line.split()
        if len(words) != 2 or not (words[1].isascii() and words[1].isdigit()):
            raise InputError(
                f"{where} is not of the form 'SsssCcccPpppRrrrAaaa frames'; copy the list again."
            )
        key = parse_name(words[0], where)
        if key in found:
            raise InputError(f"{where} lists {key.video_id} a second time; copy the list again.")
        if key.action > NUM_CLASSES[dataset]:
            raise InputError(
                f"{where}: {key.video_id} does not belong to {dataset}; copy the list again."
            )
        found[key] = int(words[1])
    return found


def select_videos(
    files: Mapping[Recording, Path],
    listed: Mapping[Recording, int] | None,
    dataset: str,
    where: str | Path,
    *,
    partial: bool = False,
) -> list[Recording]:
    """The videos of one data set among those of a folder, which may hold both data sets.

    Args:
      files: videos of the folder.
      listed: videos of the list of the data set, if there is one.
      dataset: "ntu60" or "ntu120".
      where: the folder, for errors.
      partial: use an incomplete copy.

    Raises:
      InputError: videos are missing, unless `partial`.
    """
    keys = [key for key in files if key.action <= NUM_CLASSES[dataset]]
    if listed is not None:
        unlisted = [key for key in keys if key not in listed]
        keys = [key for key in keys if key in listed]
        missing = sorted(set(listed) - set(keys))
        if missing and not partial:
            raise InputError(
                f"{where} lacks {len(missing)} of the {len(listed)} listed videos, the first is "
                f"{missing[0].video_id}; complete the copy, or give partial=True."
            )
        if missing:
            warnings.warn(
                f"{where} lacks {len(missing)} of the {len(listed)} listed videos, such as "
                f"{missing[0].video_id}; they were left out.",
                UserWarning,
                stacklevel=2,
            )
        if unlisted:
            warnings.warn(
                f"{where} holds {len(unlisted)} videos that its list does not name, such as "
                f"{unlisted[0].video_id}; they were left out.",
                UserWarning,
                stacklevel=2,
            )
    if len(keys) != NUM_VIDEOS[dataset] and not partial:
        raise InputError(
            f"{where} holds {len(keys)} videos of {dataset}, the complete data set has "
            f"{NUM_VIDEOS[dataset]}; complete the copy, or give partial=True to use what is there."
        )
    return keys


def check_counts(keys: Iterable[Recording], variant: str, where: str | Path) -> None:
    """Checks the number of videos of the two splits.

    Args:
      keys: the videos.
      variant: one of `VARIANTS`.
      where: the folder, for the error.

    Raises:
      InputError: the published splits have other sizes.
    """
    splits = [key.split(variant) for key in keys]
    expected = COUNTS.get(variant)
    counts = {split: splits.count(split) for split in ("train", "test")}
    if expected is not None and counts != expected:
        raise InputError(
            f"{where} holds {counts['train']} training and {counts['test']} test videos of "
            f"{variant}, the published split has {expected['train']} and {expected['test']}; "
            "complete the copy, or give partial=True to use what is there."
        )

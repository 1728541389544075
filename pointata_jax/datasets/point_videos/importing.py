"""Recordings of sensors become a folder of videos in the layout of a user's own data.

The recordings are found in a tree `class/recording` or `class/subject/recording`, or listed in a
table. Each video is written as soon as it is read, so that memory holds one.
"""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.recordings import Recording, find_recordings, natural_order
from pointata_jax.data.schema import COORDINATES
from pointata_jax.data.text_files import read_text
from pointata_jax.errors import InputError

TABLE_COLUMNS = ("path", "label", "subject", "start", "end", "split")
"""Columns of a table; the first two are needed."""

SPLITS = ("train", "validation", "test")

Open = Callable[[Path, int, int | None], Recording]
"""Opens the frames from a first one to before another of a recording."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A video to import.

    Attributes:
      path: the recording.
      name: of the video, different for all.
      label: its class.
      subject: who is seen; "" where that is unknown.
      start: first frame.
      end: the frame after the last, None for all.
      split: where the table says it.
    """

    path: Path
    name: str
    label: str
    subject: str = ""
    start: int = 0
    end: int | None = None
    split: str = ""


@dataclasses.dataclass(frozen=True)
class Imported:
    """A video that was written.

    Attributes:
      source: where it came from.
      split: where it went.
      points: `[ΣN, 3+C]`.
      sizes: points of each frame `[T]`.
    """

    source: Source
    split: str
    frames: int
    points_per_frame: float


def from_tree(folder: Path) -> list[Source]:
    """The recordings of a tree; the folders right below `folder` are the classes.

    A folder between class and recording names the subject.

    Raises:
      InputError: no folder of a class, or no recordings.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds a folder for each class.")
    classes = sorted(
        (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")),
        key=natural_order,
    )
    found = []
    for label in classes:
        for path in find_recordings([label]):
            if path == label:
                raise InputError(
                    f"{label} holds frames itself: the folders below {folder} must be classes, and "
                    "recordings lie in them."
                )
            inside = path.relative_to(label)
            subject = inside.parts[0] if len(inside.parts) > 1 else ""
            name = (label.name / inside).with_suffix("") if path.is_file() else label.name / inside
            found.append(Source(path, name.as_posix(), label.name, subject))
    if not found:
        raise InputError(f"{folder} holds no folder of a class with recordings.")
    return found


def from_table(path: Path) -> list[Source]:
    """The videos of a CSV table with the columns `TABLE_COLUMNS`.

    Paths are relative to the folder of the table. `start` is the first frame, counted from 0, and
    `end` the frame after the last.

    Raises:
      InputError: a column is missing or unknown, or a value is not valid; the line is named.
    """
    rows = csv.DictReader(read_text(path).splitlines())
    columns = [name.strip() for name in rows.fieldnames or ()]
    missing = [name for name in TABLE_COLUMNS[:2] if name not in columns]
    unknown = [name for name in columns if name not in TABLE_COLUMNS]
    if missing or unknown:
        what = f"lacks the column {missing[0]}" if missing else f"has the column {unknown[0]!r}"
        raise InputError(f"{path} {what}; its columns are {', '.join(TABLE_COLUMNS)}.")
    rows.fieldnames = columns
    found: list[Source] = []
    names: dict[str, int] = {}
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        value = {name: (row.get(name) or "").strip() for name in TABLE_COLUMNS}
        if not value["path"] or not value["label"]:
            raise InputError(f"{where}: path and label must be given.")
        if value["split"] not in ("", *SPLITS):
            raise InputError(f"{where}: split is {value['split']!r}; use {', '.join(SPLITS)}.")
        start, end = _frame(value["start"], where) or 0, _frame(value["end"], where)
        if end is not None and end <= start:
            raise InputError(f"{where}: the frames from {start} to before {end} are none.")
        name = Path(value["path"]).with_suffix("").as_posix()
        if value["start"] or value["end"]:
            name += f"_{start}_{'end' if end is None else end}"
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            raise InputError(f"{where}: these frames are named a second time; remove the line.")
        place = path.parent / value["path"]
        found.append(
            Source(place, name, value["label"], value["subject"], start, end, value["split"])
        )
    if not found:
        raise InputError(f"{path} names no videos.")
    return found


def _frame(text: str, where: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise InputError(f"{where}: start and end are numbers of frames from 0 on, not {text!r}.")
    return int(text)


def split_of(
    sources: Sequence[Source], test_share: float, by_subject: bool | None, seed: int
) -> tuple[list[str], str]:
    """The split of each video, and in words how it was made.

    A split by subject puts all videos of a person in one part. Each class keeps a video in
    training.

    Args:
      sources: the videos. Those of a table with a column `split` keep theirs.
      test_share: share of the videos that go into the test part.
      by_subject: by subject or by video; None: by subject where there are three.
      seed: of the choice.

    Raises:
      InputError: a share that is not between 0 and 1, or no way to keep each class in training.
    """
    if any(source.split for source in sources):
        return [source.split or "train" for source in sources], "as the table says"
    if not 0 <= test_share < 1:
        raise InputError(f"the share of the test part is {test_share}; give one from 0 to below 1.")
    rng = np.random.default_rng(seed)
    subjects = sorted({source.subject for source in sources if source.subject})
    if by_subject is None:
        by_subject = len(subjects) >= 3 and all(source.subject for source in sources)
    if by_subject:
        chosen: set[str] = set()
        for subject in rng.permutation(subjects).tolist():
            rest = [s for s in sources if s.subject not in {*chosen, subject}]
            if {s.label for s in rest} == {s.label for s in sources}:
                tested = len(sources) - len(rest)
                if tested <= max(test_share * len(sources) * 1.25, 1):
                    chosen.add(subject)
        if test_share and not chosen:
            raise InputError(
                "no subject can be left out for the test without losing a class or more videos "
                "than the share: split by recording."
            )
        tested = [source.subject in chosen for source in sources]
        how = f"by subject; the test part has {', '.join(sorted(chosen)) or 'nobody'}"
    else:
        tested = [False] * len(sources)
        for label in sorted({source.label for source in sources}):
            own = [i for i, source in enumerate(sources) if source.label == label]
            count = min(round(test_share * len(own)), len(own) - 1)
            for i in rng.permutation(own)[:count]:
                tested[i] = True
        how = f"by recording, {100 * test_share:.0f} % of each class for the test"
    return ["test" if is_test else "train" for is_test in tested], how


def write_video(source: Source, split: str, folder: Path, columns: Sequence[str], open_: Open):
    """Reads a video and writes it as `<folder>/<split>/<name>.npz`.

    Returns:
      Its points `[ΣN, len(columns)]` and frame sizes `[T]`.

    Raises:
      InputError: the recording cannot be read.
    """
    recording = open_(source.path, source.start, source.end)
    order = [recording.columns.index(name) for name in columns]
    frames = [values[:, order] for values in recording.frames]
    points = np.concatenate(frames)
    sizes = np.array([len(frame) for frame in frames], np.int32)
    path = folder / split / f"{source.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        np.savez(
            file,
            points=points,
            frame_sizes=sizes,
            label=source.label,
            video_id=source.name,
            subject=source.subject or source.name,
        )
    os.replace(partial, path)
    return points, sizes


def common_columns(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The columns that all recordings have, x, y, z first."""
    common = recordings[0].columns
    for recording in recordings[1:]:
        common = tuple(name for name in common if name in recording.columns)
    return (*COORDINATES, *(name for name in common if name not in COORDINATES))

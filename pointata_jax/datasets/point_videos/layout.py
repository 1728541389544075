"""The layout of a folder of a user's own videos; every error names the file at fault.

    my_data/
      dataset.json            {"kind": "clip", "columns": ["x", "y", "z"], "classes": ["wave", …]}
      train/anything.npz      one file per video, in sub-folders of any depth
      test/anything.npz
      validation/…            optional

Instead of the folders train, validation and test there may be list files `train.txt`,
`validation.txt` and `test.txt`: one path of an npz file per line, relative to the folder. The
ending may be left out, and lines that begin with # are comments. A list has precedence over the
folder of its split. Training needs the train split and evaluation the test split; neither needs the
other. Folders and lists may also be called training, valid, val, dev or testing, in capital or
small letters. A file is in one split only. Links are followed and hidden entries left out
(`pointata_jax.data.folder_walk`). npz files elsewhere are not read, and a warning names them.

An npz file holds

    points        numbers [ΣN, C], the points of all frames after each other, or padded [T, N, C]
    frame_sizes   integers [T], points of each frame, at least 1; of padded points, the first
                  frame_sizes[t] of frame t are real, or all where frame_sizes is left out
    label         integer, of the whole video (kind "clip"), or
    frame_labels  integers [T] (kind "frame"), or
    point_labels  integers [ΣN], or padded as the points are [T, N] (kind "point")
    video_id      text, optional: the path of the file without its ending is the default
    subject       text or number, optional: the performer; the video's name is the default

The first three columns are x, y, z, in any unit and axes that are the same for all videos. Further
columns (color, intensity, velocity …) can be used as channels. Numbers may be of any real type.
Where coordinates are far from the origin, as map coordinates are, each video is moved before it is
stored (`pointata_jax.data.precision`). Points may also be an array with fields of the columns'
names.

Labels count from 0 in the order of the classes, or are the classes' names. A frame or point may
also have the label -1: it is neither trained on nor scored. Where there is no `dataset.json`, the
npz files must hold `classes` and, if there are more than three columns, `columns`. The kind then
follows from the name of the labels.
"""

from __future__ import annotations

import dataclasses
import os
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from pointata_jax.data import schema
from pointata_jax.data.folder_walk import sub_folders, walk_files
from pointata_jax.data.text_files import numbered_lines
from pointata_jax.datasets.point_videos import description as descriptions
from pointata_jax.datasets.point_videos import video_files
from pointata_jax.datasets.point_videos.description import KINDS, Description
from pointata_jax.datasets.records import DESCRIPTION as RECORDS_DESCRIPTION
from pointata_jax.errors import InputError

SPLITS = ("train", "validation", "test")
DESCRIPTION = "dataset.json"

WHERE = (
    "Expected there: dataset.json (kind, columns, classes) and npz files, one per video, in the "
    "folders train and test or named in train.txt and test.txt; "
    "pointata_jax/datasets/point_videos/layout.py has the details."
)

_SUFFIX = ".npz"
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_TOP_FILES = frozenset((DESCRIPTION, *(f"{name}.txt" for name in _SPLIT_NAMES)))


@dataclasses.dataclass(frozen=True)
class _Entries:
    """The entries right in a data folder.

    Attributes:
      description: `dataset.json`.
      lists: list files, by split.
      folders: folders of splits, by split.
      loose: npz files.
      others: other folders.
    """

    description: Path | None
    lists: dict[str, Path]
    folders: dict[str, Path]
    loose: tuple[Path, ...]
    others: tuple[Path, ...]


def describe(folder: str | Path) -> Description:
    """Reads `dataset.json`, or else the first file; InputError if neither is complete."""
    folder = Path(folder)
    path = _entries(folder).description
    if path is not None:
        return descriptions.read_description(path)
    path = folder / DESCRIPTION
    first = next(iter(find_files(folder).values()))[0]
    keys = ("points", "columns", "classes")
    arrays, names = video_files.read_arrays(first, keys), video_files.array_names(first)
    kinds = [kind for kind in KINDS if schema.label_field(kind) in names]
    if len(kinds) != 1 or "classes" not in arrays:
        raise InputError(
            f"{first} does not describe the data: write {path} with kind, columns and classes, or "
            "put `classes` and one of `label`, `frame_labels`, `point_labels` into every npz file."
        )
    points = arrays.get("points")
    columns: list[str] | None = list(schema.COORDINATES)
    if "columns" in arrays:
        columns = video_files.names(arrays["columns"], "columns", first)
    elif points is not None and points.dtype.names:
        columns = _coordinates_first(points.dtype.names)
    elif points is not None and points.ndim and points.shape[-1] != 3:
        raise InputError(
            f"{first} has points of {points.shape[-1]} columns and does not name them: write "
            f"{path}, or put `columns` into the npz files."
        )
    classes = video_files.names(arrays["classes"], "classes", first)
    values = {"kind": kinds[0], "columns": columns, "classes": classes}
    return descriptions.checked(values, first, from_file=False)


def find_files(folder: str | Path) -> dict[str, list[Path]]:
    """The files of each split that is there, sorted within folders and in order within lists.

    Raises:
      InputError: no split, an empty split, a file in two splits, or a list that names a
        file twice or one that is not there.
    """
    folder = Path(folder)
    entries = _entries(folder)
    found: dict[str, list[Path]] = {}
    for split in SPLITS:
        if split in entries.lists:
            found[split] = _read_list(entries.lists[split])
        elif split in entries.folders:
            walk = walk_files(entries.folders[split], [_SUFFIX])
            if not walk.files:
                raise InputError(
                    f"The folder {walk.folder} holds no npz file. {walk.sentence()} {WHERE}"
                )
            walk.report(stacklevel=2)
            found[split] = list(walk.files)
    if not found:
        raise InputError(
            f"{folder} has no folder train or test and no such list{_hint(entries)}. {WHERE}"
        )
    _check_apart(found)
    return found


def source_files(folder: str | Path) -> list[Path]:
    """Every file that the records depend on; warns of npz files that are not read."""
    folder = Path(folder)
    entries, found = _entries(folder), find_files(folder)
    texts = [entries.description] if entries.description else []
    videos = [path for files in found.values() for path in files]
    _report_unread(folder, entries, videos)
    return [*texts, *entries.lists.values(), *videos]


def _entries(folder: Path) -> _Entries:
    if not folder.is_dir():
        raise InputError(f"The data folder {folder} does not exist. {WHERE}")
    walk = walk_files(
        folder,
        names=lambda name: name.lower() in _TOP_FILES or name.lower().endswith(_SUFFIX),
        depth=1,
    )
    named: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    loose, others = [], []
    for path in walk.files:
        name = path.name.lower()
        if name.endswith(_SUFFIX):
            loose.append(path)
        else:
            name = _SPLIT_NAMES.get(name.removesuffix(".txt"), name)
            _enter_once(named, name, path)
    for path in sub_folders(folder):
        split = _SPLIT_NAMES.get(path.name.lower())
        others.append(path) if split is None else _enter_once(folders, split, path)
    lists = {name: path for name, path in named.items() if name != DESCRIPTION}
    return _Entries(named.get(DESCRIPTION), lists, folders, tuple(loose), tuple(others))


def _enter_once(found: dict[str, Path], name: str, path: Path) -> None:
    if name in found:
        raise InputError(
            f"{found[name]} and {path.name} are both the {name} split of the data; keep one."
            if name in SPLITS
            else f"{found[name]} and {path.name} both describe the data; keep one."
        )
    found[name] = path


def _hint(entries: _Entries) -> str:
    """Where videos may be, for the error about missing splits."""
    for path in entries.others:
        if any(_SPLIT_NAMES.get(inner.name.lower()) == "train" for inner in _folders_in(path)):
            return f", but {path} has: give that folder"
    if entries.loose:
        count = len(entries.loose)
        return f", but {count} npz files that are in no split: move them into train and test"
    return ""


def _folders_in(path: Path) -> tuple[Path, ...]:
    try:
        return sub_folders(path)
    except (
        InputError
    ):  # The folder is only searched for a hint; that it cannot be read is no error.
        return ()


def _check_apart(found: dict[str, list[Path]]) -> None:
    """InputError if a file is in two splits, also under two names."""
    seen: dict[str, tuple[str, Path]] = {}
    for split, (path, real) in (
        (split, pair) for split, files in found.items() for pair in _with_real(files)
    ):
        other, first = seen.setdefault(real, (split, path))
        if other != split and first == path:
            raise InputError(
                f"{path} is in the {other} and in the {split} split; remove it from one."
            )
        if other != split:
            raise InputError(
                f"{path}, in the {split} split, is the same file as {first} of the {other} split, "
                "by a link; remove one, since a video is in one split only."
            )


def _with_real(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Paths with the real path of each."""
    parents: dict[Path, str] = {}
    for path in paths:
        if path.is_symlink():
            yield path, os.path.realpath(path)
        else:
            if path.parent not in parents:
                parents[path.parent] = os.path.realpath(path.parent)
            yield path, os.path.join(parents[path.parent], path.name)


def _report_unread(folder: Path, entries: _Entries, videos: list[Path]) -> None:
    """Warns of npz files in the folder that belong to no split."""
    read = {real for _, real in _with_real(videos)}
    listed = [path for split, path in entries.folders.items() if split in entries.lists]
    unread = list(entries.loose)
    for place in (*entries.others, *listed):
        try:
            unread += walk_files(place, [_SUFFIX]).files
        except InputError:  # Broken links and closed folders matter only where videos are read.
            continue
    unread = [
        path
        for path, real in _with_real(unread)
        if real not in read and not (path.parent / RECORDS_DESCRIPTION).is_file()
    ]
    if unread:
        warnings.warn(
            f"Not read in {folder}: {len(unread)} npz files, such as "
            f"{unread[0].relative_to(folder)}, since they are in no list and in none of the "
            "folders train, validation and test.",
            UserWarning,
            stacklevel=3,
        )


def _read_list(path: Path) -> list[Path]:
    files: dict[str, Path] = {}
    for number, line in numbered_lines(path):
        file = _listed_file(path, line)
        if file is None and line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        if file is None:
            raise InputError(
                f"{where}: there is no npz file {line!r} in {path.parent}; correct the line."
            )
        inside = _inside(file, path.parent)
        if inside is None:
            raise InputError(
                f"{where}: {line!r} lies outside {path.parent}; move it there, or put a link there "
                "and name that."
            )
        ((_, real),) = _with_real([inside])
        if real in files:
            same = "" if files[real] == inside else f" ({files[real]} is the same file)"
            raise InputError(f"{where} names {line!r} a second time{same}; remove the line.")
        files[real] = inside
    if not files:
        raise InputError(f"{path} names no files: write one path per line, or remove it.")
    return list(files.values())


def _listed_file(path: Path, line: str) -> Path | None:
    """The npz file that a line of a list means, if it is there."""
    # The line as it stands is tried first: names may hold #, backslashes and either Unicode form.
    spellings = [line, line.split(" #")[0].rstrip(), line.split("\t#")[0].rstrip()]
    spellings += [text.replace("\\", "/") for text in spellings]
    spellings += [unicodedata.normalize(form, t) for form in ("NFC", "NFD") for t in spellings]
    for text in dict.fromkeys(spellings):
        for name in (text, f"{text}{_SUFFIX}", f"{text}{_SUFFIX.upper()}"):
            file = path.parent / name
            if name.lower().endswith(_SUFFIX) and file.is_file():
                return file
    return None


def _inside(file: Path, folder: Path) -> Path | None:
    """A path of the file below the folder, or None if the file is outside."""
    # Links are not resolved at first: their targets may be anywhere.
    plain = Path(os.path.normpath(file))
    for root in (Path(os.path.normpath(folder)), Path(os.path.realpath(folder))):
        if plain.is_relative_to(root):
            return folder / plain.relative_to(root)
    real, root = Path(os.path.realpath(file)), Path(os.path.realpath(folder))
    return folder / real.relative_to(root) if real.is_relative_to(root) else None


def _coordinates_first(names: Iterable[str]) -> list[str]:
    """The names of fields with x, y, z in front; a structured array may have them in any order."""
    lower = {name.lower(): name for name in names}
    first = [lower[name] for name in schema.COORDINATES if name in lower]
    return first + [name for name in names if name not in first]

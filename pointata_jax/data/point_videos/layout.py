"""The folder of a user's own videos: what is where, checked, with every fault named by its file.

    my_data/
      dataset.json            {"kind": "clip", "columns": ["x", "y", "z"], "classes": ["wave", …]}
      train/anything.npz      one file per video, in sub-folders of any depth
      test/anything.npz
      validation/…            optional

Instead of the folders train, validation and test there may be list files `train.txt`,
`validation.txt` and `test.txt`: one path of an npz file per line, relative to the folder. Where a
list is, it decides. Only the train split is needed for training.

An npz file holds

    points        numbers [ΣN, C], the points of all frames after each other, or padded [T, N, C]
    frame_sizes   integers [T], points of each frame; may be left out for padded points that are all
                  real, else the first frame_sizes[t] points of frame t count
    label         integer, of the whole video (kind "clip"), or
    frame_labels  integers [T] (kind "frame"), or
    point_labels  integers [ΣN], or padded as the points are [T, N] (kind "point")
    video_id      text, optional: the path of the file without its ending is the default
    subject       text or number, optional: who performs; the video's name is the default

The first three columns are x, y, z, with a fixed unit and axes of the user's choice; further ones
(colour, intensity, velocity …) can be used as channels. Labels count from 0 in the order of the
classes; a frame or point may also have -1: neither trained on nor scored. Where there is no
`dataset.json`, the npz files must carry `classes` and, if there are more than three columns,
`columns`; the kind follows from the name of the labels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.data import schema
from pointata_jax.errors import InputError

SPLITS = ("train", "validation", "test")
DESCRIPTION = "dataset.json"

WHERE = (
    "Expected there: dataset.json (kind, columns, classes) and npz files, one per video, in the "
    "folders train and test or named in train.txt and test.txt; "
    "pointata_jax/data/point_videos/layout.py has the details."
)

_KINDS = ("clip", "frame", "point")


@dataclasses.dataclass(frozen=True)
class Description:
    """What all videos of a folder share.

    Attributes:
      kind: what carries a label, "clip", "frame" or "point".
      columns: names of the values of a point, x, y, z first.
      classes: class names in label order.
    """

    kind: schema.Kind
    columns: tuple[str, ...]
    classes: tuple[str, ...]


def describe(folder: str | Path) -> Description:
    """Reads `dataset.json`, or else the first training file; InputError if neither tells enough."""
    folder = Path(folder)
    path = folder / DESCRIPTION
    if path.is_file():
        return _described(_read_json(path), path)
    first = find_files(folder)["train"][0]
    with _opened(first) as file:
        kinds = [kind for kind in _KINDS if schema.label_field(kind) in file.files]
        if len(kinds) != 1 or "classes" not in file.files:
            raise InputError(
                f"{first} does not say what the data are: write {path} with kind, columns and "
                "classes, or put `classes` and one of `label`, `frame_labels`, `point_labels` into "
                "every npz file."
            )
        width = file["points"].shape[-1] if "points" in file.files else 3
        default = schema.COORDINATES if width == 3 else None
        values = {"kind": kinds[0], "columns": default, "classes": file["classes"].tolist()}
        if "columns" in file.files:
            values["columns"] = file["columns"].tolist()
    if values["columns"] is None:
        raise InputError(
            f"{first} has points of {width} columns and does not name them: write {path}, or put "
            "`columns` into the npz files."
        )
    return _described(values, first)


def find_files(folder: str | Path) -> dict[str, list[Path]]:
    """The files of each split that is there, sorted within folders and in order within lists.

    Raises:
      InputError: no training files, an empty split, or a list that names a file twice or one that
        is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"The data folder {folder} does not exist. {WHERE}")
    found: dict[str, list[Path]] = {}
    for split in SPLITS:
        listed = folder / f"{split}.txt"
        if listed.is_file():
            found[split] = _read_list(listed)
        elif (folder / split).is_dir():
            found[split] = sorted((folder / split).rglob("*.npz"))
            if not found[split]:
                raise InputError(f"The folder {folder / split} holds no npz file. {WHERE}")
    if "train" not in found:
        raise InputError(f"{folder} has neither a folder train nor a list train.txt. {WHERE}")
    seen: dict[Path, str] = {}
    for split, files in found.items():
        for path in files:
            if path in seen:
                raise InputError(f"{path} is in the {seen[path]} and in the {split} split.")
            seen[path] = split
    return found


def source_files(folder: str | Path) -> list[Path]:
    """Every file that decides what the data are."""
    folder = Path(folder)
    texts = [folder / DESCRIPTION, *(folder / f"{split}.txt" for split in SPLITS)]
    videos = [path for files in find_files(folder).values() for path in files]
    return [path for path in texts if path.is_file()] + videos


def check_names(folder: str | Path, files: dict[str, list[Path]]) -> None:
    """InputError if two files, of whatever splits, are the same video by their `video_id`."""
    seen: dict[str, Path] = {}
    for path in (path for part in files.values() for path in part):
        with _opened(path) as file:
            name = _name(file, path, Path(folder))
        if name in seen:
            raise InputError(
                f"{seen[name]} and {path} are both the video {name!r}; give each its own video_id."
            )
        seen[name] = path


def read_video(path: Path, folder: str | Path, description: Description) -> dict[str, Any]:
    """One file as an example of the schema (`schema.video_features`).

    Raises:
      InputError: anything wrong with it, in one sentence that names the file.
    """
    field = schema.label_field(description.kind)
    with _opened(path) as file:
        for key in ("points", field):
            if key not in file.files:
                raise InputError(
                    f"{path} lacks {key!r}, which videos with a label per {description.kind} need; "
                    f"it holds {', '.join(file.files) or 'nothing'}."
                )
        for key, wanted in (("columns", description.columns), ("classes", description.classes)):
            if key in file.files and tuple(str(name) for name in file[key]) != wanted:
                raise InputError(
                    f"{path}: its {key} {file[key].tolist()} differ from those of the data set, "
                    f"{list(wanted)}."
                )
        points, labels = file["points"], file[field]
        sizes = file["frame_sizes"] if "frame_sizes" in file.files else None
        name = _name(file, path, Path(folder))
        subject = _text(file, "subject", path) if "subject" in file.files else name
    _check_numbers(points, np.number, "points", path)
    _check_numbers(labels, np.integer, field, path)
    if sizes is not None:
        _check_numbers(sizes, np.integer, "frame_sizes", path)
    points, sizes, labels = _flat(points, sizes, labels, description, path)
    try:
        return schema.make_example(
            points,
            frame_sizes=sizes,
            video_id=name,
            subject=subject,
            labels=labels,
            num_classes=len(description.classes),
            kind=description.kind,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _flat(
    points: np.ndarray,
    sizes: np.ndarray | None,
    labels: np.ndarray,
    description: Description,
    path: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [ΣN, C], frame sizes [T] and labels without padding."""
    width = len(description.columns)
    if points.ndim not in (2, 3) or points.shape[-1] != width:
        raise InputError(
            f"{path}: points have shape {points.shape}, expected [points, {width}] or [frames, "
            f"points, {width}] for the columns {', '.join(description.columns)}."
        )
    if points.ndim == 2:
        if sizes is None:
            raise InputError(
                f"{path}: points [ΣN, C] of all frames need frame_sizes [T] to be told apart."
            )
        return points, sizes, labels
    frames, padded = points.shape[:2]
    counts = np.full(frames, padded, np.int32) if sizes is None else sizes
    if counts.shape != (frames,) or ((counts < 1) | (counts > padded)).any():
        raise InputError(
            f"{path}: frame_sizes must be {frames} numbers from 1 to {padded} for padded points of "
            f"shape {points.shape}; drop frames without points."
        )
    real = np.arange(padded) < counts[:, None]
    if description.kind == "point":
        if labels.shape == (frames, padded):
            labels = labels[real]
        elif labels.shape != (int(counts.sum()),):
            raise InputError(
                f"{path}: point_labels have shape {labels.shape}, expected {(frames, padded)} as "
                f"the points or {(int(counts.sum()),)} without padding."
            )
    return points[real], counts, labels


def _check_numbers(array: np.ndarray, wanted: type, key: str, path: Path) -> None:
    if not np.issubdtype(array.dtype, wanted) or np.iscomplexobj(array):
        kind = "integers" if wanted is np.integer else "real numbers"
        raise InputError(f"{path}: {key} is {array.dtype}, expected {kind}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An npz file; what goes wrong while it is read is an InputError that names it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path} is a single array, expected an npz file of several.")
            yield file
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); it is cut off, damaged, or holds Python objects: "
            "write it again with numpy.savez."
        ) from None


def _name(file: Any, path: Path, folder: Path) -> str:
    if "video_id" in file.files:
        return _text(file, "video_id", path)
    return path.relative_to(folder).with_suffix("").as_posix()


def _text(file: Any, key: str, path: Path) -> str:
    value = file[key]
    if value.size != 1 or value.dtype.kind not in "UiS":
        raise InputError(f"{path}: {key} must be one text or integer, it is {value!r}.")
    return value.item().decode() if value.dtype.kind == "S" else str(value.item())


def _read_list(path: Path) -> list[Path]:
    files: list[Path] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        file = path.parent / line.strip()
        if not file.is_file() and file.suffix != ".npz":
            file = file.with_name(f"{file.name}.npz")
        if not file.is_file() or path.parent.resolve() not in file.resolve().parents:
            raise InputError(
                f"{path}, line {number}: there is no npz file {line.strip()!r} in {path.parent}."
            )
        if file in files:
            raise InputError(f"{path}, line {number} names {line.strip()!r} a second time.")
        files.append(file)
    if not files:
        raise InputError(f"{path} names no files: write one path per line, or remove it.")
    return files


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is no valid JSON ({error}).") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold one object with kind, columns and classes.")
    return {"columns": list(schema.COORDINATES)} | values


def _described(values: dict[str, Any], path: Path) -> Description:
    unknown = sorted(set(values) - {"kind", "columns", "classes"})
    missing = sorted({"kind", "columns", "classes"} - set(values))
    if unknown or missing:
        what = f"has the unknown entry {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise InputError(f"{path} {what}; its entries are kind, columns and classes.")
    if values["kind"] not in _KINDS:
        raise InputError(f"{path}: kind is {values['kind']!r}, use one of {', '.join(_KINDS)}.")
    for key in ("columns", "classes"):
        names = values[key]
        if (
            not isinstance(names, list | tuple)
            or not names
            or not all(isinstance(name, str) and name and "," not in name for name in names)
            or len(set(names)) != len(names)
        ):
            raise InputError(
                f"{path}: {key} must be a list of different names without commas, it is {names!r}."
            )
    try:
        columns = schema.check_columns(values["columns"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Description(values["kind"], columns, tuple(values["classes"]))

"""Data sets by name: prepares one once with its tfds builder, then reads its records."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointata_jax.data.schema import column_names, label_names
from pointata_jax.data.videos import DEFAULT_CACHE_BYTES, VideoSource
from pointata_jax.errors import InputError

DATASETS = (
    "synthetic_actions",
    "synthetic_timelines",
    "synthetic_parts",
    "point_videos",
    "radhar",
    "radhar_timelines",
    "mocap6",
    "msr_action3d",
    "ntu_rgbd",
    "shrec17",
    "hoi4d",
    "hoi4d_semantic",
    "synthia",
)
"""Names of the data sets; each is a package of this one with a tfds builder."""

GENERATED = frozenset({"synthetic_actions", "synthetic_timelines", "synthetic_parts"})
"""Data sets that are made by the program and need no data folder."""


def builder_class(name: str) -> Any:
    """The tfds builder class of a data set, imported on first use."""
    if name not in DATASETS:
        raise InputError(f"Unknown data set {name!r}: use one of {', '.join(DATASETS)}.")
    return importlib.import_module(f"pointata_jax.data.{name}.{name}_dataset_builder").Builder


def prepare(
    name: str,
    data_dir: str | Path | None,
    *,
    cache_dir: str | Path,
    download: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Prepares a data set unless that was done before, and returns the folder of its records.

    Each combination of data set, options and source files has a folder of its own under
    `cache_dir`, so records of a partial copy are never taken for those of the whole.

    Args:
      name: one of `DATASETS`.
      data_dir: folder with the public data in its own layout; None for generated data sets or with
        `download`.
      cache_dir: folder for prepared records; made if missing.
      download: let the builder fetch the public archive (only builders that can).
      options: keyword arguments of the builder.

    Raises:
      InputError: unknown data set, missing or empty data folder, or bad data, with what to do.
    """
    import tensorflow_datasets as tfds

    cls = builder_class(name)
    options = dict(options or {})
    if download:
        options["download"] = True
        data_dir = None
    elif name in GENERATED:
        data_dir = None
    else:
        data_dir = _check_folder(name, data_dir, getattr(cls, "MANUAL_DOWNLOAD_INSTRUCTIONS", ""))
        # A builder whose features depend on the folder says how.
        options_for = getattr(cls, "options_for", None)
        options = {**(options_for(data_dir) if options_for else {}), **options}
    folder = Path(cache_dir).expanduser().resolve() / f"{name}-{_digest(cls, data_dir, options)}"
    try:
        builder = cls(data_dir=folder, **options)
    except TypeError as error:
        # The keywords came from the caller; the builder's own message names the wrong one.
        raise InputError(f"The data set {name} does not take these options: {error}.") from None
    records = Path(builder.data_dir)
    if (records / "dataset_info.json").is_file():
        return records
    config = tfds.download.DownloadConfig(
        manual_dir=None if data_dir is None else str(data_dir), try_download_gcs=False
    )
    try:
        builder.download_and_prepare(
            download_dir=Path(cache_dir).expanduser().resolve() / "downloads",
            download_config=config,
        )
    except OSError:
        # Another process may have finished the same folder first; its records are as good as ours.
        if not (records / "dataset_info.json").is_file():
            raise
    return records


def load_source(
    name: str,
    data_dir: str | Path | None,
    *,
    split: str,
    cache_dir: str | Path,
    download: bool = False,
    options: Mapping[str, Any] | None = None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> VideoSource:
    """The videos of one split of a data set, prepared if need be.

    Args:
      name, data_dir, cache_dir, download, options: see `prepare`.
      split: name of a split, such as "train" or "test"; tfds slices such as "train[:10]" work too.
      cache_bytes: memory for decoded videos.
    """
    import tensorflow_datasets as tfds

    records = prepare(name, data_dir, cache_dir=cache_dir, download=download, options=options)
    builder: Any = tfds.builder_from_directory(str(records))
    known = tuple(builder.info.splits)
    if split.split("[")[0] not in known:
        raise InputError(f"{name} has no split {split!r}; its splits are {', '.join(known)}.")
    features = builder.info.features
    return VideoSource(
        builder.as_data_source(split),
        columns=column_names(features),
        label_names=label_names(features),
        name=f"{name} ({split})",
        cache_bytes=cache_bytes,
        index_path=None if "[" in split else records / f"index_{split}.npz",
    )


def _check_folder(name: str, data_dir: str | Path | None, instructions: str) -> Path:
    if data_dir is None:
        raise InputError(f"The data set {name} needs a data folder (--data_dir). {instructions}")
    folder = Path(data_dir).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"The data folder {folder} does not exist. {instructions}")
    if not any(folder.iterdir()):
        raise InputError(f"The data folder {folder} is empty. {instructions}")
    return folder


def _digest(cls: Any, data_dir: Path | None, options: Mapping[str, Any]) -> str:
    """Short digest of what decides the records: options, folder, and the files read from it."""
    parts: list[Any] = [sorted((key, repr(value)) for key, value in options.items())]
    if data_dir is not None:
        parts.append(str(data_dir))
        # A builder that can name its files notices when they change.
        list_files = getattr(cls, "source_files", None)
        for path in list_files(data_dir) if list_files else ():
            status = Path(path).stat()
            parts.append((str(path), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

"""Data sets by name: each is prepared once by its tfds builder, then read from its records."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import io
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointata_jax.data.file_faults import one_line
from pointata_jax.data.schema import column_names, label_names
from pointata_jax.data.videos import DEFAULT_CACHE_BYTES, VideoSource
from pointata_jax.datasets.records import (
    DESCRIPTION,
    StoredVideos,
    is_whole,
    open_records,
    remove_abandoned,
    remove_records,
)
from pointata_jax.errors import InputError
from pointata_jax.progress import show

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
"""Names of the data sets; each is a sub-package with a tfds builder."""

GENERATED = frozenset({"synthetic_actions", "synthetic_timelines", "synthetic_parts"})
"""Data sets that are generated and need no data folder."""

_CACHED = re.compile(rf"({'|'.join(DATASETS)})-[0-9a-f]{{12}}/|downloads/")
_END_BYTES = 4096
_DISK_FULL = ("No space left on device", "Disk quota exceeded")


def builder_class(name: str) -> Any:
    """The tfds builder class of a data set, imported on first use."""
    if name not in DATASETS:
        raise InputError(f"Unknown data set {name!r}: use one of {', '.join(DATASETS)}.")
    return importlib.import_module(f"pointata_jax.datasets.{name}.{name}_dataset_builder").Builder


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
    `cache_dir`, so records of a partial copy are never used as those of the complete data set.

    Args:
      name: one of `DATASETS`.
      data_dir: folder with the public data in its published layout; None for generated data sets
        and with `download`.
      cache_dir: folder for prepared records; made if missing.
      download: let the builder download the public archive, if it can.
      options: keyword arguments of the builder.

    Raises:
      InputError: the data set is unknown, the data folder missing or empty, or the data are not
        valid.
    """
    cls = builder_class(name)
    options = dict(options or {})
    if download:
        options["download"] = True
        data_dir = None
    elif name in GENERATED:
        data_dir = None
    else:
        data_dir = _check_folder(name, data_dir, getattr(cls, "MANUAL_DOWNLOAD_INSTRUCTIONS", ""))
    cache = _absolute(cache_dir, "cache folder (--cache_dir)")
    with _faults(name, data_dir, cache):
        if data_dir is not None:
            # A builder whose features depend on the folder takes options from it.
            options_for = getattr(cls, "options_for", None)
            options = {**(options_for(data_dir) if options_for else {}), **options}
        digest = _digest(cls, data_dir, options, cache)
        builder = _builder(cls, name, cache / f"{name}-{digest}", options)
        records = Path(builder.data_dir)
        if is_whole(records):
            return records
        _prepare(builder, data_dir, cache)
        if _digest(cls, data_dir, options, cache) != digest:
            remove_records(records)
            raise InputError(
                f"The files in {data_dir} changed while they were read: wait until nothing writes "
                "there, and start again."
            )
    return records


def splits(
    name: str,
    data_dir: str | Path | None,
    *,
    cache_dir: str | Path,
    download: bool = False,
    options: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Names of the splits of a data set. It is prepared if needed; no video is read.

    The arguments are those of `prepare`.
    """
    records = prepare(name, data_dir, cache_dir=cache_dir, download=download, options=options)
    return tuple(open_records(records).info.splits)


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
    """The videos of one split of a data set, which is prepared if needed.

    Args:
      name: see `prepare`.
      data_dir: see `prepare`.
      split: name of a split, such as "train" or "test"; tfds slices such as "train[:10]" work too.
      cache_dir: see `prepare`.
      download: see `prepare`.
      options: see `prepare`.
      cache_bytes: memory for decoded videos, in bytes.

    Raises:
      InputError: as of `prepare`, or there is no such split.
    """
    records = prepare(name, data_dir, cache_dir=cache_dir, download=download, options=options)
    builder = open_records(records)
    known = tuple(builder.info.splits)
    if split.split("[")[0] not in known:
        raise InputError(f"{name} has no split {split!r}; its splits are {', '.join(known)}.")
    features = builder.info.features
    return VideoSource(
        StoredVideos(builder, split),
        columns=column_names(features),
        label_names=label_names(features),
        name=f"{name} ({split})",
        cache_bytes=cache_bytes,
        index_path=None if "[" in split else records / f"index_{split}.npz",
    )


def _builder(cls: Any, name: str, folder: Path, options: Mapping[str, Any]) -> Any:
    known, config = list(cls.builder_configs), options.get("config")
    if isinstance(config, str) and known and config not in known:
        raise InputError(
            f"The data set {name} has no variant {config!r}; its variants are {', '.join(known)}."
        )
    try:
        try:
            return cls(data_dir=folder, **options)
        except Exception:
            # A builder reads the description of existing records, which may be damaged.
            damaged = [path.parent for path in folder.rglob(DESCRIPTION)]
            damaged = [path for path in damaged if not is_whole(path)]
            if not damaged:
                raise
            for path in damaged:
                remove_records(path)
            return cls(data_dir=folder, **options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        # The options are the caller's; the builder's own message names the wrong one.
        raise InputError(
            f"The data set {name} does not take these options: {one_line(error, 300)}."
        ) from None


def _prepare(builder: Any, data_dir: Path | None, cache: Path) -> None:
    """Writes the records of a builder; incomplete records are removed first."""
    import tensorflow_datasets as tfds

    records = Path(builder.data_dir)
    if not is_whole(records):
        remove_records(records)
    remove_abandoned(records)
    config = tfds.download.DownloadConfig(
        manual_dir=None if data_dir is None else str(data_dir), try_download_gcs=False
    )
    show(f"preparing {builder.name} in {records} (only once)")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # In a file, each of its states is a line.
    try:
        # tfds announces sizes that it does not know on standard output, which is for results.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=cache / "downloads", download_config=config)
    except OSError:
        # Another process may have finished the same folder first; its records are the same.
        if not is_whole(records):
            raise


@contextlib.contextmanager
def _faults(name: str, data_dir: Path | None, cache: Path) -> Iterator[None]:
    """Converts any error of a preparation to an InputError that names the folder at fault."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise _folder_fault(error, name, data_dir, cache) from error
    except Exception as error:
        if any(words in str(error) for words in _DISK_FULL):
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cache))
            raise _folder_fault(full, name, data_dir, cache) from error
        raise _not_prepared(name, data_dir, cache, error) from error


def _folder_fault(error: OSError, name: str, data_dir: Path | None, cache: Path) -> InputError:
    """The InputError for an OSError: it names the data folder or the cache folder."""
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    why = error.strerror or one_line(error, 300)
    in_cache = path is not None and (path.is_relative_to(cache) or cache.is_relative_to(path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"There is no space left for prepared records in {cache}: make room, or give another "
            "folder (--cache_dir)."
        )
    if in_cache:
        place = f"{cache} ({why})" if path == cache else f"{cache} ({path}: {why})"
        return InputError(
            f"Prepared records cannot be kept in the folder {place}: give one that can be written "
            "to (--cache_dir)."
        )
    if path is not None and data_dir is not None and path.is_relative_to(data_dir):
        return InputError(
            f"{path} cannot be read ({why}): check that it exists and its access rights, or give "
            "another folder (--data_dir)."
        )
    return _not_prepared(name, data_dir, cache, error)


def _not_prepared(name: str, data_dir: Path | None, cache: Path, error: Exception) -> InputError:
    source = "" if data_dir is None else f" from {data_dir}"
    return InputError(
        f"The data set {name} could not be prepared{source} in {cache} ({type(error).__name__}: "
        f"{one_line(error, 300)}): check that the data are complete and in their published layout."
    )


def _absolute(folder: str | Path, what: str) -> Path:
    try:
        return Path(folder).expanduser().resolve()
    # Raised by a loop of links, an unknown ~name, and a NUL character.
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"The {what} {str(folder)!r} cannot be found ({one_line(error, 300)}); give another."
        ) from None


def _check_folder(name: str, data_dir: str | Path | None, instructions: str) -> Path:
    if data_dir is None:
        raise InputError(f"The data set {name} needs a data folder (--data_dir). {instructions}")
    folder = _absolute(data_dir, "data folder (--data_dir)")
    try:
        if not folder.exists():
            raise InputError(f"The data folder {folder} does not exist. {instructions}")
        if not folder.is_dir():
            raise InputError(
                f"{folder} is a file; the data folder (--data_dir) is the folder that holds the "
                f"data. {instructions}"
            )
        if not any(folder.iterdir()):
            raise InputError(f"The data folder {folder} is empty. {instructions}")
    except OSError as error:
        raise InputError(
            f"The data folder {folder} cannot be read ({error.strerror}): check its access rights, "
            "or give another (--data_dir)."
        ) from None
    return folder


def _digest(cls: Any, data_dir: Path | None, options: Mapping[str, Any], cache: Path) -> str:
    """Short digest of what the records depend on: options, data folder, and the files read from it.

    The version of the builder is part of the path below the folder that is named by the digest.
    Prepared records do not count, even where the cache folder is inside the data folder.
    """
    parts: list[Any] = [sorted((key, repr(value)) for key, value in options.items())]
    if data_dir is not None:
        parts.append(str(data_dir))
        # Of a builder that lists its source files, a changed file changes the digest.
        list_files = getattr(cls, "source_files", None)
        for path in map(Path, list_files(data_dir) if list_files else ()):
            if not (path.is_relative_to(cache) and _CACHED.match(str(path.relative_to(cache)))):
                parts.append((str(path), *_fingerprint(path)))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _fingerprint(path: Path) -> tuple[int, int, str]:
    """Size, time of change and a digest of the last bytes of a file.

    Time and size alone miss a file that was replaced by another of the same size and time, as
    archives, backups and version control may do. A zip archive, and so an npz file, ends with the
    checksums of all its members. Most lists and descriptions are shorter than these bytes.
    """
    status = path.stat()
    end = b""
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            file.seek(max(0, status.st_size - _END_BYTES))
            end = file.read(_END_BYTES)
    return status.st_size, status.st_mtime_ns, hashlib.sha256(end).hexdigest()[:16]

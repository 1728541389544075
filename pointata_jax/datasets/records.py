"""Folders of prepared records: checking that they are complete, and reading them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pointata_jax.data.file_faults import one_line
from pointata_jax.data.schema import label_names
from pointata_jax.errors import InputError

DESCRIPTION = "dataset_info.json"
"""File in which tfds describes a folder of records."""

_INCOMPLETE = "incomplete."
_ABANDONED_SECONDS = 24 * 3600


def is_whole(folder: Path) -> bool:
    """Whether a folder holds all record files of a data set and their description.

    Records are written to a temporary folder beside it, which is renamed at the end, so an
    interrupted preparation leaves no such folder. But a copy may be incomplete, and clusters delete
    old files.
    """
    try:
        info = open_records(folder).info
        files = [path for split in info.splits.values() for path in split.filepaths]
        stored = json.loads((folder / "features.json").read_text())["featuresDict"]["features"]
        if "label" in stored:
            # Without this file tfds raises no error, but names classes by their numbers.
            files.append(folder / "label.labels.txt")
            count = int(stored["label"]["classLabel"]["numClasses"])
            if len(label_names(info.features)) != count:
                return False
        return bool(files) and all(os.path.getsize(path) for path in files)
    except Exception:  # tfds raises many types where a file is missing or damaged.
        return False


def open_records(folder: Path) -> Any:
    """The tfds builder that reads a folder of records."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(str(folder))


def remove_records(folder: Path) -> None:
    """Removes a folder of records, if it exists."""
    if folder.is_dir():
        shutil.rmtree(folder)


def remove_abandoned(records: Path) -> None:
    """Removes the temporary folders of interrupted preparations beside a folder of records.

    Folders that were written to within a day stay, since another process may still be writing.
    """
    for folder in records.parent.glob(f"{_INCOMPLETE}*"):
        with contextlib.suppress(OSError):  # Another process may remove it at the same time.
            last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if time.time() - last > _ABANDONED_SECONDS:
                shutil.rmtree(folder)


class StoredVideos:
    """Random access to the examples of one split.

    Raises InputError, naming the folder, where records are damaged.
    """

    def __init__(self, builder: Any, split: str):
        """Opens the records.

        Args:
          builder: what `open_records` returns.
          split: name of a split, or a slice in the notation of tfds.

        Raises:
          InputError: there is no such slice, or the records are damaged.
        """
        self._folder = Path(builder.data_dir)
        try:
            self._source = builder.as_data_source(split)
            self._length = len(self._source)
        except Exception as error:
            if "[" in split:
                raise InputError(
                    f"{split!r} is no part of a split ({one_line(error)}); write it as train[:10] "
                    "or train[:20%]."
                ) from error
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        if not -self._length <= index < self._length:
            raise IndexError(index)
        try:
            return self._source[index]
        except Exception as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"The prepared records in {self._folder} are damaged or missing ({one_line(error)}): "
            "remove this folder, and they are prepared again."
        )

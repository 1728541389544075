"""Small archives for tests, and the records that builders make of them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pointata_jax.datasets.radhar import recordings as radhar


def build(builder_class: Any, tmp_path: pathlib.Path, folder: pathlib.Path, **options: Any) -> Any:
    """The builder of an archive, with its records prepared in `tmp_path`."""
    builder = builder_class(data_dir=tmp_path / "tfds", **options)
    builder.download_and_prepare(
        download_dir=tmp_path / "downloads",
        download_config=tfds.download.DownloadConfig(
            manual_dir=str(folder), try_download_gcs=False
        ),
    )
    return builder


def build_tiny(builder_class: Any, folder: pathlib.Path) -> Any:
    """The builder of a generated data set, with the records of its configuration "tiny"."""
    builder = builder_class(data_dir=folder, config="tiny")
    builder.download_and_prepare()
    return builder


def videos(builder: Any, split: str) -> dict[str, Any]:
    """The records of a split by video id."""
    return {video["video_id"].decode(): video for video in builder.as_data_source(split)}


def subjects_apart(builder: Any) -> dict[str, list]:
    """The records of "train" and "test" of a generated data set.

    Asserts that ids are unique and that twelve subjects train and four others test.
    """
    found = {split: list(builder.as_data_source(split)) for split in ("train", "test")}
    for records in found.values():
        assert len({record["video_id"] for record in records}) == len(records)
    subjects = {split: {r["subject"] for r in records} for split, records in found.items()}
    assert {split: len(names) for split, names in subjects.items()} == {"train": 12, "test": 4}
    assert not subjects["train"] & subjects["test"]
    return found


def cut_off(path: pathlib.Path, *sizes: int) -> Iterator[int]:
    """Cuts a file to no bytes, to each of these sizes and to half, then restores it."""
    content = path.read_bytes()
    for size in (0, *sizes, len(content) // 2):
        path.write_bytes(content[:size])
        yield size
    path.write_bytes(content)


def object_array(frames: list) -> np.ndarray:
    """The object array in which the published converters store frames."""
    array = np.empty(len(frames), object)
    array[:] = frames
    return array


def write_radhar(
    folder: pathlib.Path, recordings: list[radhar.Recording], **changes: Any
) -> pathlib.Path:
    """The packed file of RadHAR recordings; `changes` replace arrays. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = np.concatenate([r.frame_sizes for r in recordings])
    arrays = dict(
        points=np.concatenate([r.points for r in recordings]),
        frame_start=np.r_[0, np.cumsum(sizes)[:-1]].astype(np.int32),
        seq_frames=np.array([len(r.frame_sizes) for r in recordings], np.int32),
        seq_label=np.array([r.label for r in recordings], np.int8),
        seq_split=np.array([r.split == "test" for r in recordings]),
        seq_name=np.array([f"Data/{r.video_id}.txt" for r in recordings]),
        classes=np.array(radhar.CLASSES),
    )
    np.savez(folder / "radhar.npz", **(arrays | changes))
    return folder

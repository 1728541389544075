"""Preparing data sets: reused records, records that are made again, and errors for bad folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import records, registry
from pointata_jax.datasets.point_videos import video_files
from pointata_jax.datasets.point_videos.point_videos_dataset_builder import Builder
from pointata_jax.errors import InputError


def write(folder, videos=3, seed=0):
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(videos):
            np.savez(
                folder / split / f"{number}.npz",
                points=rng.normal(size=(8, 3)).astype(np.float32),
                frame_sizes=[4, 4],
                label=number % 2,
            )
    (folder / "dataset.json").write_text(json.dumps({"kind": "clip", "classes": ["a", "b"]}))
    return folder


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "raw")


def prepare(data, cache, **options):
    return registry.prepare("point_videos", data, cache_dir=cache, **options)


def load(data, cache, split="train"):
    return registry.load_source("point_videos", data, split=split, cache_dir=cache)


def stamp(folder):
    return (folder / "dataset_info.json").stat().st_mtime_ns


def test_records_are_made_once(data, tmp_path, monkeypatch):
    first = prepare(data, tmp_path / "cache")
    monkeypatch.setattr(Builder, "download_and_prepare", None)
    assert prepare(data, tmp_path / "cache") == first
    assert registry.splits("point_videos", data, cache_dir=tmp_path / "cache") == ("train", "test")


def test_records_of_another_version_of_the_reader_are_not_used(data, tmp_path, monkeypatch):
    first = prepare(data, tmp_path / "cache")
    assert first.name == str(Builder.VERSION)
    monkeypatch.setattr(Builder, "VERSION", tfds.core.Version("9.0.0"))
    assert prepare(data, tmp_path / "cache") not in (first, first.parent)


def test_a_replaced_file_is_noticed_though_its_size_and_time_are_kept(data, tmp_path):
    path = data / "train" / "1.npz"
    before, status = load(data, tmp_path / "cache")[1].points, path.stat()
    np.savez(path, points=before + 1, frame_sizes=[4, 4], label=1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    np.testing.assert_array_equal(load(data, tmp_path / "cache")[1].points, before + 1)


def test_files_that_change_while_they_are_read(data, tmp_path, monkeypatch):
    read = video_files.read_video

    def read_and_write(path, *arguments):
        if path.name == "2.npz":
            os.utime(data / "train" / "0.npz")
        return read(path, *arguments)

    monkeypatch.setattr(video_files, "read_video", read_and_write)
    with pytest.raises(InputError, match="changed while they were read"):
        prepare(data, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("dataset_info.json"))


@pytest.mark.parametrize("where", ["", "cache"])
def test_a_cache_in_the_data_folder_is_no_data(data, where):
    first = prepare(data, data / where)
    load(data, data / where)
    assert prepare(data, data / where) == first


def test_a_killed_preparation_leaves_nothing_that_is_taken_for_records(data, tmp_path):
    program = f"""
        import os
        from pointata_jax.datasets import registry
        from pointata_jax.datasets.point_videos import video_files
        read = video_files.read_video
        def kill(path, *arguments):
            if path.parent.name == "test":
                os.kill(os.getpid(), 9)
            return read(path, *arguments)
        video_files.read_video = kill
        registry.prepare("point_videos", {str(data)!r}, cache_dir={str(tmp_path / "cache")!r})
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True)
    assert run.returncode == -9
    (left,) = (tmp_path / "cache").rglob("incomplete.*")
    assert list(left.glob("*train*"))
    assert len(load(data, tmp_path / "cache")) == 3
    # Another process could still write there; after a day the folder is removed.
    assert left.is_dir()
    for path in (*left.iterdir(), left):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    records.remove_abandoned(left.parent / "any")
    assert not left.exists()


@pytest.mark.parametrize(
    "name", ["dataset_info.json", "features.json", "label.labels.txt", "*-train.array_record-*"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_records_that_lack_a_part_are_made_again(name, damage, data, tmp_path):
    folder = prepare(data, tmp_path / "cache")
    expected = [load(data, tmp_path / "cache")[index].points for index in range(3)]
    shutil.rmtree(folder)
    folder = prepare(data, tmp_path / "cache")
    (path,) = folder.glob(name)
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    sentence = ""
    try:
        videos = load(data, tmp_path / "cache")
        found = [videos[index].points for index in range(3)]
    except InputError as error:
        sentence = str(error)
    if sentence:
        assert damage == "cut"
        assert str(folder) in sentence
        assert "damaged or missing" in sentence
        assert "remove this folder" in sentence
    else:
        np.testing.assert_array_equal(found, expected)
        assert load(data, tmp_path / "cache").label_names == ("a", "b")


def test_a_damaged_record_is_named_by_its_folder(data, tmp_path):
    folder = prepare(data, tmp_path / "cache")
    (path,) = folder.glob("*-train.array_record-*")
    content = bytearray(path.read_bytes())
    content[500] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{folder} are damaged or missing .*hash mismatch"):
        load(data, tmp_path / "cache")


def test_slices_of_splits(data, tmp_path):
    assert len(load(data, tmp_path / "cache", "train[1:]")) == 2
    for split, sentence in (
        ("train[x]", "is no part of a split"),
        ("train[9:3]", "is no part of a split"),
        ("train[3:]", "is no part of a split"),
    ):
        with pytest.raises(InputError, match=sentence):
            load(data, tmp_path / "cache", split)
    with pytest.raises(InputError, match="no split 'val'; its splits are train, test"):
        load(data, tmp_path / "cache", "val")


@pytest.mark.parametrize(
    ("cache", "sentence"),
    [
        ("raw/dataset.json", r"raw/dataset\.json .*Not a directory.*--cache_dir"),
        ("raw/dataset.json/deep/cache", r"deep/cache .*Not a directory.*--cache_dir"),
        ("x" * 300, "File name too long.*--cache_dir"),
        ("nul\0", "cache folder .* cannot be found .*null"),
        ("loop", "loop"),
    ],
)
def test_bad_cache_folders(cache, sentence, data, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=sentence):
        prepare(data, f"{tmp_path}/{cache}")


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        (None, "point_videos needs a data folder"),
        ("none", "none does not exist. Expected there"),
        ("raw/dataset.json", r"dataset\.json is a file; the data folder"),
        ("empty", "empty is empty"),
        ("nul\0", "data folder .* cannot be found"),
    ],
)
def test_bad_data_folders(folder, sentence, data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=sentence):
        prepare(None if folder is None else f"{tmp_path}/{folder}", tmp_path / "cache")


def raising(error):
    def fail(*arguments, **keywords):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left .*cache: make room"),
        (OSError(errno.EDQUOT, "Quota", "{cache}/x"), "no space left .*cache: make room"),
        (RuntimeError("UNAVAILABLE: No space left on device; writing"), "no space left .*cache"),
        (PermissionError(errno.EACCES, "Permission denied", "{cache}/x"), "be kept in .*cache_dir"),
        (PermissionError(errno.EACCES, "Permission denied", "{cache}"), r"cache \(Permission den"),
        (OSError(errno.EROFS, "Read-only file system", "{tmp}"), "Read-only.*--cache_dir"),
        (FileNotFoundError(errno.ENOENT, "No such file", "{data}/train/0.npz"), r"0\.npz .*data_d"),
        (OSError(errno.EIO, "Input/output error"), r"from .*raw in .*cache \(OSError: .*Input/out"),
        (AssertionError("Manual directory\ndoes not exist"), "AssertionError: Manual directory do"),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'"),
        (KeyError("label"), "KeyError: 'label'"),
    ],
)
@pytest.mark.parametrize("place", ["read", "prepare", "files"])
def test_all_exceptions_become_input_errors(error, sentence, place, data, tmp_path, monkeypatch):
    if isinstance(error, OSError) and error.filename:
        places = {"cache": tmp_path / "cache", "data": data, "tmp": tmp_path}
        error = OSError(error.errno, error.strerror, error.filename.format(**places))
    owner, name = {
        "read": (video_files, "read_video"),
        "prepare": (Builder, "download_and_prepare"),
        "files": (Builder, "source_files"),
    }[place]
    monkeypatch.setattr(owner, name, raising(error))
    with pytest.raises(InputError, match=sentence) as caught:
        prepare(data, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    with contextlib.suppress(AttributeError):
        assert not list((tmp_path / "cache").rglob("dataset_info.json"))


@pytest.mark.parametrize("base", [tfds.core.ShardBasedBuilder, tfds.core.GeneratorBasedBuilder])
def test_an_error_of_a_builder_is_not_changed(base, data, tmp_path, monkeypatch):
    error = InputError("radhar.npz, line 3: this and that; do so.")

    class Failing(base, skip_registration=True):  # pyright: ignore[reportCallIssue]
        VERSION = Builder.VERSION
        name = "point_videos"
        options_for = Builder.options_for

        def __init__(self, source, **keywords):
            super().__init__(file_format="array_record", **keywords)

        def _info(self):
            features = schema.video_features(("x", "y", "z"), ("a",))
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _examples(self):
            raise error
            yield

        def _shard_iterators_per_split(self, dl_manager):
            return {"train": [self._examples]}

        def _split_generators(self, dl_manager):
            return {"train": self._examples()}

        _generate_examples = _examples

    monkeypatch.setattr(registry, "builder_class", lambda name: Failing)
    with pytest.raises(InputError) as caught:
        prepare(data, tmp_path / "cache")
    assert str(caught.value) == str(error)


def test_options_that_a_builder_does_not_have(data, tmp_path):
    with pytest.raises(InputError, match="no variant 'x'; its variants are ntu60_cross_subject, "):
        registry.prepare("ntu_rgbd", data, cache_dir=tmp_path, options={"config": "x"})
    for options in ({"size": 1}, {"config": "x"}):
        with pytest.raises(InputError, match="does not take these options"):
            prepare(data, tmp_path, options=options)
    with pytest.raises(InputError, match="does not take these options: .*download"):
        registry.prepare("hoi4d", data, cache_dir=tmp_path, download=True)


def test_a_loop_of_reading_ends(data, tmp_path):
    builder = records.open_records(prepare(data, tmp_path / "cache"))
    stored = records.StoredVideos(builder, "train")
    assert [example["video_id"] for example in stored] == [b"train/0", b"train/1", b"train/2"]
    assert Path(builder.data_dir).is_dir()
    assert len(stored) == 3

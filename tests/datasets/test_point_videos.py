"""A user's own folder: all kinds and layouts, and errors that name the file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from pointata_jax.data import schema
from pointata_jax.datasets.point_videos import layout
from pointata_jax.datasets.point_videos.point_videos_dataset_builder import Builder
from pointata_jax.errors import InputError
from tests.datasets.archives import cut_off

SIZES = np.array([4, 2, 3], np.int32)
LABELS = {
    "clip": np.int64(1),
    "frame": np.array([0, 1, 1]),
    "point": np.array([0, 1, 1, 0, 1, 1, 0, 0, 1]),
}


def video(kind="clip", seed=0, width=4, **changes):
    points = np.random.default_rng(seed).normal(size=(9, width)).astype(np.float32)
    made = {"points": points, "frame_sizes": SIZES, schema.label_field(kind): LABELS[kind]}
    return {key: value for key, value in (made | changes).items() if value is not None}


def save(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def write(folder, kind="clip", describe=True, **changes):
    """Two training videos, the second with `changes`, and a test video."""
    save(folder / "train" / "a.npz", video(kind, 0))
    save(folder / "train" / "deep" / "b.npz", video(kind, 1) | changes)
    save(folder / "test" / "c.npz", video(kind, 2))
    if describe:
        values = {"kind": kind, "columns": ["x", "y", "z", "gray"], "classes": ["wave", "clap"]}
        (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def prepare(folder, tmp_path):
    builder = Builder(data_dir=tmp_path / "tfds", **Builder.options_for(folder))
    builder.download_and_prepare(download_dir=tmp_path / "downloads")
    return builder


def by_name(builder, split):
    return {record["video_id"].decode(): record for record in builder.as_data_source(split)}


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
def test_every_kind_comes_through_as_it_is(kind, tmp_path):
    builder = prepare(write(tmp_path / "raw", kind), tmp_path)
    assert schema.column_names(builder.info.features) == ("x", "y", "z", "gray")
    assert schema.label_names(builder.info.features) == ("wave", "clap")
    train, test = by_name(builder, "train"), by_name(builder, "test")
    assert sorted(train) == ["train/a", "train/deep/b"]
    assert sorted(test) == ["test/c"]
    record = train["train/deep/b"]
    np.testing.assert_array_equal(record["points"], video(kind, 1)["points"])
    np.testing.assert_array_equal(record["frame_sizes"], SIZES)
    np.testing.assert_array_equal(record[schema.label_field(kind)], LABELS[kind])
    assert record["subject"] == b"train/deep/b"


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
def test_padded_points_equal_flat_ones(kind, tmp_path):
    flat = video(kind, 1)
    padded = np.full((3, 5, 4), 77.0)
    labels = np.full((3, 5), 9)
    real = np.arange(5) < SIZES[:, None]
    padded[real] = flat["points"]
    changes = {"points": padded}
    if kind == "point":
        labels[real] = LABELS["point"]
        changes["point_labels"] = labels
    record = by_name(prepare(write(tmp_path / "raw", kind, **changes), tmp_path), "train")
    np.testing.assert_array_equal(record["train/deep/b"]["points"], flat["points"])
    np.testing.assert_array_equal(
        record["train/deep/b"][schema.label_field(kind)], flat[schema.label_field(kind)]
    )


def test_full_frames_need_no_sizes_and_names_may_be_given(tmp_path):
    folder = write(tmp_path / "raw")
    whole = np.random.default_rng(0).integers(-900, 900, (3, 5, 4))
    arrays = {"points": whole, "label": 0, "video_id": "take 1", "subject": 7}
    save(folder / "train" / "whole.npz", arrays)
    record = by_name(prepare(folder, tmp_path), "train")["take 1"]
    np.testing.assert_array_equal(record["points"], whole.reshape(-1, 4))
    assert record["subject"] == b"7"
    assert record["frame_sizes"].tolist() == [5, 5, 5]


def test_list_files_decide_where_they_are(tmp_path):
    folder = write(tmp_path / "raw")
    (folder / "train.txt").write_text("test/c.npz\n\ntrain/a\n")
    (folder / "test.txt").write_text("train/deep/b.npz\n")
    builder = prepare(folder, tmp_path)
    assert list(by_name(builder, "train")) == ["test/c", "train/a"]
    assert list(by_name(builder, "test")) == ["train/deep/b"]
    assert len(Builder.source_files(folder)) == 6


def test_files_can_describe_themselves(tmp_path):
    own = {"classes": np.array(["wave", "clap"]), "columns": np.array(["x", "y", "z", "gray"])}
    for split in ("train", "test"):
        save(tmp_path / "raw" / split / "v.npz", video("frame", **own))
    assert layout.describe(tmp_path / "raw") == layout.Description(
        "frame", ("x", "y", "z", "gray"), ("wave", "clap")
    )
    save(tmp_path / "raw" / "train" / "v.npz", video("frame", classes=own["classes"]))
    with pytest.raises(InputError, match=r"v\.npz has points of 4 columns and does not name them"):
        layout.describe(tmp_path / "raw")
    save(tmp_path / "raw" / "train" / "v.npz", video("frame"))
    with pytest.raises(InputError, match=r"v\.npz does not describe the data: write"):
        layout.describe(tmp_path / "raw")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": np.float32(1)}, "label is float32, expected integers"),
        ({"label": np.int64(2)}, r"label 2 is outside 0\.\.1"),
        ({"label": np.int64(-1)}, r"label -1 is outside 0\.\.1"),
        ({"label": np.array([1, 0])}, r"labels have shape \(2,\), expected \(\)"),
        ({"points": np.full((9, 4), "1.0")}, "points is <U3, expected real numbers"),
        ({"points": np.zeros((9, 3))}, r"points have shape \(9, 3\), expected \[points, 4\]"),
        ({"points": np.full((9, 4), np.nan)}, "frame 0 holds NaN or infinite"),
        ({"points": np.zeros((8, 4))}, "sizes add up to 9, but there are 8 points"),
        ({"points": np.array([{}] * 9)}, "cannot be read .* write it again with numpy.savez"),
        ({"frame_sizes": np.array([4.0, 5.0])}, "frame_sizes is float64, expected integers"),
        ({"frame_sizes": np.array([9, 0])}, "frame 1 has no points"),
        ({"points": np.zeros((3, 3, 4))}, "frame_sizes must be 3 numbers from 1 to 3"),
        ({"classes": np.array(["clap", "wave"])}, r"its classes \['clap', 'wave'\] differ"),
        ({"video_id": np.array(["a", "b"])}, "video_id must be one text"),
        ({"video_id": "train/a"}, r"a\.npz and .* are both the video 'train/a'"),
    ],
)
def test_bad_files_are_named(changes, sentence, tmp_path):
    folder = write(tmp_path / "raw", **changes)
    with pytest.raises(InputError, match=sentence) as caught:
        prepare(folder, tmp_path)
    assert "deep/b.npz" in str(caught.value)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


@pytest.mark.parametrize("missing", ["points", "label", "frame_sizes"])
def test_missing_arrays_are_named(missing, tmp_path):
    folder = write(tmp_path / "raw")
    save(folder / "train" / "deep" / "b.npz", video(**{missing: None}))
    with pytest.raises(InputError, match=rf"deep/b\.npz.*{missing}"):
        prepare(folder, tmp_path)


def test_a_truncated_file(tmp_path):
    folder = write(tmp_path / "raw")
    for _ in cut_off(folder / "test" / "c.npz", 20):
        with pytest.raises(InputError, match=r"test/c\.npz cannot be read"):
            prepare(folder, tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"dataset\.json is no valid JSON"),
        ("[1]", "must hold one object"),
        ('{"kind": "clip"}', "lacks 'classes'"),
        ('{"kind": "video", "classes": ["a"]}', "kind is 'video', use one of clip, frame, point"),
        ('{"kind": "clip", "classes": ["a", "a"]}', "classes must be a list of different names"),
        ('{"kind": "clip", "classes": ["a"], "columns": ["x", "z", "y"]}', "begin with x, y, z"),
        ('{"kind": "clip", "classes": ["a"], "names": []}', "unknown entry 'names'"),
    ],
)
def test_bad_descriptions(text, sentence, tmp_path):
    folder = write(tmp_path)
    (folder / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        layout.describe(folder)


def test_bad_folders_and_lists(tmp_path):
    with pytest.raises(InputError, match="needs a data folder"):
        Builder(data_dir=tmp_path)
    with pytest.raises(InputError, match="none does not exist"):
        layout.find_files(tmp_path / "none")
    with pytest.raises(InputError, match="no folder train or test and no such list"):
        layout.find_files(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="train holds no npz file"):
        layout.find_files(tmp_path)
    write(tmp_path)
    for text, sentence in (
        ("train/x.npz\n", r"train\.txt, line 1: there is no npz file 'train/x\.npz'"),
        ("train/a\ntrain/a.npz\n", r"train\.txt, line 2 names 'train/a\.npz' a second time"),
        ("\n", r"train\.txt names no files"),
        ("test/c\n", r"c\.npz is in the train and in the test split"),
        ("../train/a\n", "there is no npz file"),
    ):
        (tmp_path / "train.txt").write_text(text)
        with pytest.raises(InputError, match=sentence):
            layout.find_files(tmp_path)


def test_a_folder_with_a_test_split_alone_can_be_evaluated(tmp_path):
    folder = write(tmp_path / "data")
    shutil.rmtree(folder / "train")
    found = prepare(folder, tmp_path)
    assert list(by_name(found, "test")) == ["test/c"]
    assert set(found.info.splits) == {"test"}

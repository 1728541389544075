"""HOI4D: both benchmarks from small HDF5 files in the public layout, hold-out, and damage."""

from __future__ import annotations

import collections
import dataclasses
import tracemalloc

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import registry
from pointata_jax.datasets.hoi4d import sequences
from pointata_jax.datasets.hoi4d.hoi4d_dataset_builder import Builder as ActionBuilder
from pointata_jax.datasets.hoi4d.submission import write_submission
from pointata_jax.datasets.hoi4d_semantic.hoi4d_semantic_dataset_builder import (
    Builder as SemanticBuilder,
)
from pointata_jax.errors import InputError
from tests.datasets import archives
from tests.datasets.archives import cut_off, videos

ACTION, SEMANTIC = sequences.ACTION_SEGMENTATION, sequences.SEMANTIC_SEGMENTATION
ROWS = {"train1.h5": 30, "train2.h5": 30, "train3.h5": 30, "train4.h5": 15, "test_wolabel.h5": 4}


def contents(name, rows, frames=4, points=3, classes=19, per_point=False):
    rng = np.random.default_rng([*name.encode()])
    shape = (rows, frames, points) if per_point else (rows, frames)
    return {
        "pcd": rng.normal(size=(rows, frames, points, 3)).astype(np.float32),
        "center": rng.normal(size=(rows, frames, 3)).astype(np.float32),
        "semantic" if per_point else "label": rng.integers(0, classes, shape),
    }


def write(folder, rows=ROWS, **form):
    """Writes the archive; returns the arrays of each file. Files named "wolabel" get no labels."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, count in rows.items():
        arrays = contents(name, count, **form)
        if "wolabel" in name:
            arrays = {key: arrays[key] for key in ("pcd", "center")}
        with h5py.File(folder / name, "w") as file:
            for key, array in arrays.items():
                file[key] = array
        written[name] = arrays
    return written


def change(path, key, array):
    with h5py.File(path, "a") as file:
        del file[key]
        file[key] = array


def build(tmp_path, folder, cls=ActionBuilder, **options):
    return archives.build(cls, tmp_path, folder, **({"partial": True} | options))


def test_the_hold_out_is_fixed_by_the_number_of_the_sequence():
    parts = [sequences.held_out(number) for number in range(2971)]
    assert collections.Counter(parts) == {"train": 1846, "validation": 375, "test": 750}
    changes = np.flatnonzero(np.array(parts[1:]) != np.array(parts[:-1])) + 1
    assert (changes % 25 == 0).all(), "neighbors stay together"
    assert [parts[number] for number in (0, 24, 25, 49, 50, 75, 100)] == [
        *("train", "train", "test", "test", "train", "validation", "train")
    ]


def test_action_segmentation_keeps_points_labels_and_order(tmp_path):
    files = write(tmp_path / "raw" / "AS_data")
    builder = build(tmp_path, tmp_path / "raw")
    points = np.concatenate([files[f"train{i}.h5"]["pcd"] for i in (1, 2, 3, 4)])
    labels = np.concatenate([files[f"train{i}.h5"]["label"] for i in (1, 2, 3, 4)])
    seen = {}
    for split in ("train", "validation", "test"):
        part = videos(builder, split)
        assert {sequences.held_out(int(name[-5:])) for name in part} == {split}
        seen |= part
    assert sorted(seen) == [f"train-{number:05d}" for number in range(105)]
    for name, video in seen.items():
        number = int(name[-5:])
        np.testing.assert_array_equal(video["points"], points[number].reshape(-1, 3))
        np.testing.assert_array_equal(video["frame_labels"], labels[number])
        assert video["frame_sizes"].tolist() == [3] * 4
    benchmark = videos(builder, "benchmark")
    assert sorted(benchmark) == [f"test-{number:05d}" for number in range(4)]
    assert all((video["frame_labels"] == -1).all() for video in benchmark.values())
    assert len(schema.label_names(builder.info.features)) == 19


def test_the_published_protocol_needs_labels_of_the_test_files(tmp_path):
    write(tmp_path / "raw")
    with pytest.raises(InputError, match="test_wolabel.h5 has no labels .* are not public"):
        build(tmp_path, tmp_path / "raw", protocol="published")
    write(tmp_path / "private", {**dict(list(ROWS.items())[:4]), "test1.h5": 3, "test2.h5": 2})
    builder = build(tmp_path, tmp_path / "private", protocol="published")
    assert {name: info.num_examples for name, info in builder.info.splits.items()} == {
        "train": 105,
        "test": 5,
    }
    assert min(video["frame_labels"].min() for video in videos(builder, "test").values()) >= 0
    with pytest.raises(InputError, match="Unknown protocol 'official'"):
        build(tmp_path, tmp_path / "private", protocol="official")


def test_the_semantic_benchmark_is_cut_into_clips_of_three(tmp_path):
    rows = {"train1.h5": 2, "train2.h5": 26, "test1_right.h5": 2}
    files = write(tmp_path / "raw", rows, frames=7, classes=49, per_point=True)
    builder = build(tmp_path, tmp_path / "raw", SemanticBuilder)
    train = videos(builder, "train")
    assert len(train) == 2 * 25
    assert "train-00024-f003" in train
    video = train["train-00001-f003"]
    array, labels = files["train1.h5"]["pcd"][1, 3:6], files["train1.h5"]["semantic"][1, 3:6]
    np.testing.assert_array_equal(video["points"], array.reshape(-1, 3))
    expected = np.where(labels < 2, -1, labels).reshape(-1)
    np.testing.assert_array_equal(video["point_labels"], expected)
    assert (video["subject"], len(video["frame_sizes"])) == (b"train-00001", 3)
    published = build(tmp_path / "p", tmp_path / "raw", SemanticBuilder, protocol="published")
    everything = [v["point_labels"] for v in videos(published, "train").values()]
    assert set(np.unique(everything)) >= {0, 1}
    assert np.min(everything) == 0
    assert len(videos(published, "test")) == 2 * 2


def test_counts_and_forms_are_asserted(tmp_path, monkeypatch):
    folder = tmp_path / "raw"
    write(folder)
    with pytest.raises(InputError, match=r"pcd has shape \(30, 4, 3, 3\), expected .*150, 2048"):
        build(tmp_path, folder, partial=False)
    small = dataclasses.replace(ACTION, frames=4, points=3)
    with pytest.raises(InputError, match="holds 105 train and 4 test .* has 2971 and 892"):
        sequences.find_sequences(folder, small)
    monkeypatch.setattr(sequences, "COUNTS", {"train": 105, "test": 4})
    assert len(sequences.find_sequences(folder, small)) == 109
    (folder / "train3.h5").unlink()
    with pytest.raises(InputError, match="lacks train3.h5; complete the copy, or give partial"):
        sequences.find_sequences(folder, small)


def test_a_cut_off_file_is_named(tmp_path):
    folder = tmp_path / "raw"
    write(folder)
    path = folder / "train2.h5"
    for _ in cut_off(path, 100, path.stat().st_size - 1):
        with pytest.raises(InputError, match="train2.h5 is cut off or not an HDF5 file .* again"):
            build(tmp_path, folder)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


@pytest.mark.parametrize(
    ("key", "array", "sentence"),
    [
        (
            "pcd",
            np.zeros((30, 4, 3, 3), np.int16),
            r"coordinates \(pcd\) are int16, expected float",
        ),
        ("pcd", np.zeros((30, 4, 3, 2), np.float32), r"shape \(30, 4, 3, 2\), expected"),
        ("pcd", np.full((30, 4, 3, 3), np.nan), r"'train-00000', frame 0 holds NaN"),
        ("label", np.full((30, 4), 19), r"train1.h5, sequence 0: label 19 is none of 0\.\.18"),
        ("label", np.full((30, 4), -1), r"sequence 0: label -1 is none of"),
        ("label", np.full((30, 4), 0.5), r"sequence 0: label 0.5 is none of"),
        ("label", np.full((30, 4), b"a"), r"labels \(label\) are \|S1, expected"),
        ("label", np.zeros((30, 5), int), r"label has shape \(30, 5\), expected \(30, 4\)"),
    ],
)
def test_wrong_contents_are_named(key, array, sentence, tmp_path):
    write(tmp_path / "raw")
    change(tmp_path / "raw" / "train1.h5", key, array)
    with pytest.raises(InputError, match=sentence):
        build(tmp_path, tmp_path / "raw")


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    files = write(tmp_path / "raw")
    labels = files["train1.h5"]["label"]
    change(tmp_path / "raw" / "train1.h5", "label", labels.astype(np.float64))
    video = videos(build(tmp_path, tmp_path / "raw"), "train")["train-00007"]
    np.testing.assert_array_equal(video["frame_labels"], labels[7])


def test_missing_and_doubled_files_are_named(tmp_path):
    folder = tmp_path / "raw"
    write(folder)
    (folder / "train3.h5").write_bytes((folder / "train2.h5").read_bytes())
    with pytest.raises(InputError, match="train2.h5 and .*train3.h5 hold the same sequences"):
        build(tmp_path, folder)
    (folder / "copy").mkdir()
    (folder / "copy" / "train1.h5").write_bytes((folder / "train1.h5").read_bytes())
    with pytest.raises(InputError, match="train1.h5 and .*train1.h5 have the same name"):
        build(tmp_path, folder)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["points"] = np.zeros(3)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "x.h5").rename(other / "x.h5")
    with pytest.raises(InputError, match="holds no HOI4D files. Expected there: train1.h5"):
        build(tmp_path, other)
    (other / "x.h5").rename(other / "train1.h5")
    with pytest.raises(InputError, match="lacks the data set pcd; it holds points"):
        build(tmp_path, other)
    with pytest.raises(InputError, match="no data folder. Expected there: train1.h5"):
        build(tmp_path, tmp_path / "nowhere")


def test_memory_stays_far_below_the_size_of_the_archive(tmp_path):
    # 96 sequences of 480 kB: 46 MB in two record files.
    write(tmp_path / "raw", {"train1.h5": 96}, frames=4, points=10_000)
    tracemalloc.start()
    build(tmp_path, tmp_path / "raw")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6, f"{peak / 1e6:.0f} MB"


def test_a_submission_has_the_rows_of_the_test_files(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 19, (892, 150))
    named = {f"test-{number:05d}": rows[number] for number in rng.permutation(892)}
    path = write_submission(tmp_path / "out" / "pred", named)
    assert path.name == "pred.npy"
    back = np.load(path)
    np.testing.assert_array_equal(back, rows)
    assert back.dtype == np.int64
    with pytest.raises(InputError, match="lack video 'test-00003'"):
        write_submission(path, {k: v for k, v in named.items() if k != "test-00003"})
    with pytest.raises(InputError, match="unknown video 'train-00001'"):
        write_submission(path, named | {"train-00001": rows[0]})
    with pytest.raises(InputError, match=r"'test-00005': predictions are int64 \(149,\)"):
        write_submission(path, named | {"test-00005": rows[0, 1:]})
    with pytest.raises(InputError, match="'test-00006': predicted classes reach from 0 to 19"):
        write_submission(path, named | {"test-00006": np.arange(150) % 20})


def test_records_are_found_through_the_registry(tmp_path):
    write(tmp_path / "raw")
    options = {"partial": True}
    records = registry.prepare("hoi4d", tmp_path / "raw", cache_dir=tmp_path, options=options)
    assert records == registry.prepare(
        "hoi4d", tmp_path / "raw", cache_dir=tmp_path, options=options
    )
    builder = tfds.builder_from_directory(str(records))
    source = builder.as_data_source("train[:5]")  # pyright: ignore[reportCallIssue]
    assert len(source) == 5
    with pytest.raises(InputError, match="'hoi4d'|does not take these options"):
        registry.prepare("hoi4d", tmp_path / "raw", cache_dir=tmp_path, options={"size": 1})


@pytest.mark.filterwarnings("ignore:Left out below:UserWarning")
def test_columns_of_labels_large_names_links_and_wide_coordinates(tmp_path):
    files = write(tmp_path / "store")
    pcd = files["train1.h5"]["pcd"].astype(np.float64) * 0.3
    change(tmp_path / "store" / "train1.h5", "label", files["train1.h5"]["label"][..., None])
    change(tmp_path / "store" / "train1.h5", "pcd", pcd + [388096.0, 3948996.0, 40.0])
    (tmp_path / "store" / "train2.h5").rename(tmp_path / "store" / "Train2.H5")
    (tmp_path / "store" / "._train2.h5").write_bytes(b"\0")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "store")
    hidden = "hidden entries: 1, such as linked/._train2.h5"
    with pytest.warns(UserWarning, match=hidden):
        refs = sequences.find_sequences(tmp_path / "raw", ACTION, partial=True)
    assert [ref.path.name for ref in refs[::30]][:2] == ["train1.h5", "Train2.H5"]
    points, labels = sequences.read_sequence(refs[7], ACTION)
    np.testing.assert_array_equal(labels, files["train1.h5"]["label"][7])
    np.testing.assert_array_equal(points, pcd[7] + [388096.0, 3948996.0, 40.0])
    with pytest.warns(UserWarning, match=hidden):
        train = videos(build(tmp_path, tmp_path / "raw"), "train")
    stored = train["train-00007"]["points"].astype(np.float64)
    wanted = pcd[7].reshape(-1, 3)
    np.testing.assert_allclose(stored - stored.mean(0), wanted - wanted.mean(0), atol=1e-6)


def test_groups_folders_and_foreign_files_in_place_of_arrays(tmp_path):
    write(tmp_path / "raw")
    path = tmp_path / "raw" / "train1.h5"
    with h5py.File(path, "a") as file:
        del file["pcd"]
        file.create_group("pcd")
    with pytest.raises(InputError, match="train1.h5 lacks the data set pcd"):
        build(tmp_path, tmp_path / "raw")
    with h5py.File(path, "a") as file:
        del file["pcd"]
        file["pcd"] = 3.0
    with pytest.raises(InputError, match=r"train1.h5: pcd has shape \(\), expected"):
        build(tmp_path, tmp_path / "raw")
    np.savez(path, pcd=np.zeros((3, 4, 3, 3)))
    (tmp_path / "raw" / "train1.h5.npz").rename(path)
    with pytest.raises(InputError, match="train1.h5 is cut off or not an HDF5 file"):
        build(tmp_path, tmp_path / "raw")


def test_a_submission_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="submission .*pred.npy cannot be written"):
        write_submission(
            tmp_path / "file" / "pred", {"test-00000": np.zeros(2, int)}, num_videos=1, num_frames=2
        )

"""The rules of `point_videos.layout`, one by one, and unusual files of users."""

from __future__ import annotations

import codecs
import json
import os
import warnings

import numpy as np
import pytest
from tensorflow_datasets.core import shuffle

from pointata_jax.data import schema
from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.pipeline import ClipSource
from pointata_jax.datasets import registry
from pointata_jax.datasets.point_videos import layout, point_videos_dataset_builder, video_files
from pointata_jax.errors import InputError

SIZES = np.array([4, 2, 3], np.int32)
CLASSES = ["wave", "clap", "jump"]
LABELS = {
    "clip": np.int64(1),
    "frame": np.array([0, 2, 1]),
    "point": np.array([0, 1, 1, 2, 1, 1, 0, 0, 1]),
}
FIELDS = {"clip": "label", "frame": "frame_labels", "point": "point_labels"}


def video(kind="clip", seed=0, **changes):
    points = np.random.default_rng(seed).normal(size=(9, 3)).astype(np.float32)
    made = {"points": points, "frame_sizes": SIZES, FIELDS[kind]: LABELS[kind]}
    return {key: value for key, value in (made | changes).items() if value is not None}


def save(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def folder_of(tmp_path, files=("train/a.npz", "test/c.npz"), kind="clip", **description):
    folder = tmp_path / "raw"
    for number, name in enumerate(files):
        save(folder / name, video(kind, number))
    values = {"kind": kind, "classes": CLASSES} | description
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def load(folder, tmp_path, split="train"):
    return registry.load_source("point_videos", folder, split=split, cache_dir=tmp_path / "cache")


def read(tmp_path, arrays, kind="clip", **description):
    """The example that a single file makes."""
    folder = folder_of(tmp_path, kind=kind, **description)
    save(folder / "train" / "a.npz", arrays)
    return video_files.read_video(folder / "train" / "a.npz", folder, layout.describe(folder))


@pytest.mark.parametrize("name", ["validation", "Validation", "valid", "val", "dev"])
@pytest.mark.parametrize("form", ["folder", "list"])
def test_a_validation_split_is_a_split(name, form, tmp_path):
    files = ["train/a.npz", "test/c.npz", f"{name}/b.npz" if form == "folder" else "more/b.npz"]
    folder = folder_of(tmp_path, files)
    if form == "list":
        (folder / f"{name}.txt").write_text("more/b.npz\n")
    cache = tmp_path / "cache"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = registry.splits("point_videos", folder, cache_dir=cache)
    assert splits == ("train", "validation", "test")
    assert load(folder, tmp_path, "validation").video_ids == (files[2][:-4],)


def test_only_training_videos_are_needed(tmp_path):
    folder = folder_of(tmp_path, ["Train/deep/er/a.npz"])
    assert registry.splits("point_videos", folder, cache_dir=tmp_path / "cache") == ("train",)
    assert load(folder, tmp_path).video_ids == ("Train/deep/er/a",)
    with pytest.raises(InputError, match="no split 'test'; its splits are train"):
        load(folder, tmp_path, "test")


def test_a_split_has_one_place(tmp_path):
    folder = folder_of(tmp_path, ["train/a.npz", "val/b.npz", "valid/c.npz"])
    with pytest.raises(InputError, match="val.* both the validation split of the data; keep one"):
        layout.find_files(folder)
    (tmp_path / "above").mkdir()
    os.rename(folder, tmp_path / "above" / "mine")
    with pytest.raises(InputError, match="but .*above/mine has: give that folder"):
        layout.find_files(tmp_path / "above")
    save(tmp_path / "loose" / "a.npz", video())
    with pytest.raises(InputError, match="1 npz files that are in no split"):
        layout.find_files(tmp_path / "loose")


def test_npz_files_that_are_not_read_are_named(tmp_path):
    files = ["train/a.npz", "train/b.npz", "loose.npz", "extra/deep/d.npz", "runs/r.npz"]
    folder = folder_of(tmp_path, files)
    (folder / "runs" / "dataset_info.json").write_text("{}")
    (folder / "train.txt").write_text("train/a\n")
    with pytest.warns(UserWarning, match=r"3 npz files, such as loose\.npz"):
        layout.source_files(folder)
    (folder / "train.txt").write_text("train/a\ntrain/b\nextra/deep/d\nloose\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layout.source_files(folder)


@pytest.mark.filterwarnings("ignore:Left out below:UserWarning")
def test_links_hidden_folders_and_capital_endings(tmp_path):
    files = ["train/a.npz", "train/.ipynb_checkpoints/a.npz", "train/B.NPZ", "train/deep/c.Npz"]
    folder = folder_of(tmp_path, files)
    save(tmp_path / "store" / "d.npz", video("clip", 7))
    (folder / "train" / "linked").symlink_to(tmp_path / "store")
    (folder / "train" / "e.npz").symlink_to(tmp_path / "store" / "d.npz")
    with pytest.warns(UserWarning, match="hidden entries: 1"):
        videos = load(folder, tmp_path)
    wanted = ("train/B", "train/a", "train/deep/c", "train/e", "train/linked/d")
    assert videos.video_ids == wanted
    (folder / "test").symlink_to(tmp_path / "store")
    same = r"test/d\.npz, in the test split, is the same file as"
    with pytest.warns(UserWarning, match="hidden entries"), pytest.raises(InputError, match=same):
        layout.find_files(folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_lists_as_people_save_them(encoding, tmp_path):
    names = ["train/a", "train/b", "train/café #1", "train/d", "train/e", "train/f"]
    folder = folder_of(tmp_path, [f"{name}.npz" for name in names])
    lines = [
        "# the good ones",
        "train/a.npz   ",
        "train\\b.npz",
        "train/café #1.npz",
        f"{folder}/train/d.npz\t# the best",
        "./train/../train/e",
        "",
        " #train/f",
    ]
    (folder / "train.txt").write_bytes("\r\n".join(lines).encode(encoding))
    found = layout.find_files(folder)["train"]
    assert [str(path.relative_to(folder)) for path in found] == [f"{n}.npz" for n in names[:5]]


def test_lists_follow_links_and_stay_in_the_folder(tmp_path):
    folder = folder_of(tmp_path, ["train/a.npz"])
    save(tmp_path / "store" / "s.npz", video("clip", 5))
    (folder / "linked").symlink_to(tmp_path / "store")
    (folder / "again").symlink_to(folder / "train")
    (tmp_path / "door").symlink_to(folder)
    (folder / "train.txt").write_text(f"linked/s\n{tmp_path}/door/train/a.npz\n")
    found = layout.find_files(folder)["train"]
    assert found == [folder / "linked" / "s.npz", folder / "train" / "a.npz"]
    assert load(folder, tmp_path).video_ids == ("linked/s", "train/a")
    for text, sentence in (
        (
            "train/a\nagain/a\n",
            r"line 2 names 'again/a' a second time \(.*train/a\.npz is the same",
        ),
        (f"{tmp_path}/store/s.npz\n", "line 1: .*s.npz' lies outside .*put a link there"),
        ("../store/s\n", "lies outside"),
        ("train\n", "no npz file 'train'"),
    ):
        (folder / "train.txt").write_text(text)
        with pytest.raises(InputError, match=sentence):
            layout.find_files(folder)
    (folder / "train.txt").write_text("train/a\n")
    (folder / "test.txt").write_text("again/a\n")
    with pytest.raises(InputError, match="again/a.npz, in the test split, is the same file"):
        layout.find_files(folder)


def test_a_list_that_is_a_broken_link_is_no_missing_list(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "train.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"train\.txt is a link that leads nowhere"):
        layout.find_files(folder)


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_description_in_any_encoding(mark, tmp_path):
    folder = folder_of(tmp_path)
    values = {"kind": "clip", "classes": [" wérk ", "b"], "columns": ["X", "Y", "Z", "Gray"]}
    (folder / "dataset.json").rename(folder / "Dataset.JSON")
    (folder / "Dataset.JSON").write_bytes(json.dumps(values, ensure_ascii=False).encode(mark))
    assert layout.describe(folder) == layout.Description(
        "clip", ("x", "y", "z", "Gray"), ("wérk", "b")
    )
    (folder / "Dataset.JSON").write_bytes(codecs.BOM_UTF16_LE + b"x")
    with pytest.raises(InputError, match=r"Dataset\.JSON begins as UTF-16"):
        layout.describe(folder)
    (folder / "Dataset.JSON").write_text("[" * 100_000)
    with pytest.raises(InputError, match="no valid JSON"):
        layout.describe(folder)


def test_columns_in_another_order_are_refused_with_the_order(tmp_path):
    folder = folder_of(tmp_path, columns=["gray", "z", "x", "time", "y"])
    with pytest.raises(InputError) as caught:
        layout.describe(folder)
    assert "save points[..., [2, 4, 1, 0, 3]]" in str(caught.value).lower()
    assert "['x', 'y', 'z', 'gray', 'time']" in str(caught.value)


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
@pytest.mark.parametrize(
    "form", ["bool", "uint64", "int8", ">i4", "names", "bytes", "column", "row"]
)
def test_labels_of_every_unambiguous_form(form, kind, tmp_path):
    plain = np.minimum(LABELS[kind], 1) if form == "bool" else LABELS[kind]
    given = np.asarray(plain)
    if form in ("names", "bytes"):
        given = np.array(CLASSES)[given].astype("S" if form == "bytes" else "U")
    elif form in ("column", "row"):
        given = given.reshape((-1, 1) if form == "column" else (1, -1))
    else:
        given = given.astype(form)
    sizes = SIZES[:, None] if form == "column" else SIZES.astype(np.uint64)
    example = read(tmp_path, video(kind, frame_sizes=sizes, **{FIELDS[kind]: given}), kind)
    np.testing.assert_array_equal(example[FIELDS[kind]], plain)
    np.testing.assert_array_equal(example["frame_sizes"], SIZES)


@pytest.mark.parametrize("kind", ["frame", "point"])
def test_frames_and_points_may_be_ignored(kind, tmp_path):
    labels = np.full_like(LABELS[kind], -1)
    example = read(tmp_path, video(kind, **{FIELDS[kind]: labels}), kind)
    assert (example[FIELDS[kind]] == -1).all()


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("clip", {"label": np.array([1, 1, 1])}, "one value for each of the 3 frames"),
        ("clip", {"label": "hop"}, "label holds 'hop', .* of the classes 'wave', 'clap', 'jump'"),
        ("clip", {"label": np.uint64(2**63)}, f"label {2**63} is outside 0..2; .* 'jump'"),
        ("clip", {"label": np.float64(1)}, r"label is float64, .* save label\.astype\(int\)"),
        ("frame", {"frame_labels": np.array([1, 2, 3])}, "label 3 is outside .*'wave'.* -1 is for"),
        ("frame", {"frame_labels": np.array([0, 1])}, r"shape \(2,\), expected \(3,\)"),
        ("clip", {"frame_sizes": np.int64(3)}, r"frame sizes are int64 of shape \(\)"),
        ("clip", {"columns": np.array("x")}, "columns must be a list of names"),
        ("clip", {"subject": np.array([1, 2])}, "subject must be one text or number"),
        ("clip", {"subject": np.nan}, "subject must be one text or number"),
        ("clip", {"points": np.zeros((9, 3), bool)}, "points is bool, expected real numbers"),
        ("clip", {"points": np.zeros((9, 4))}, "name all columns in dataset.json"),
        (
            "clip",
            {"points": np.full((9, 3), 1e39)},
            r"frame 0 holds 1e\+39, beyond the range of float32",
        ),
        (
            "clip",
            {"points": np.full((3, 4, 3), np.nan), "frame_sizes": None},
            "if NaN fills up frames, save how many points",
        ),
    ],
)
def test_what_is_not_unambiguous_is_refused(kind, changes, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path, video(kind, **changes), kind)
    assert "train/a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("P1 ", "P1"),
        (np.uint8(7), "7"),
        (7.0, "7"),
        (b"\xe9va", "éva"),
        (None, "train/a"),
        ("", "train/a"),
    ],
)
def test_subjects_are_text_numbers_or_the_name_of_the_video(subject, expected, tmp_path):
    assert read(tmp_path, video(subject=subject))["subject"] == expected


def test_a_file_name_that_is_no_text_becomes_one(tmp_path):
    folder = folder_of(tmp_path)
    os.rename(folder / "train" / "a.npz", os.fsencode(folder / "train") + b"/caf\xe9.npz")
    assert load(folder, tmp_path).video_ids == ("train/caf\\xe9",)


def test_points_with_fields(tmp_path):
    plain = video()["points"]
    fields = np.zeros(9, [("i", "u1"), ("Z", "f8"), ("y", "f4"), ("x", "f4")])
    fields["i"], fields["x"], fields["y"], fields["Z"] = np.arange(9), *plain.T
    example = read(tmp_path, video(points=fields), columns=["x", "y", "z", "i"])
    np.testing.assert_array_equal(example["points"], np.c_[plain, np.arange(9)])
    folder = tmp_path / "raw"
    save(folder / "train" / "a.npz", video(points=fields, classes=np.array(CLASSES)))
    (folder / "dataset.json").unlink()
    assert layout.describe(folder).columns == ("x", "y", "z", "i")
    with pytest.raises(InputError, match="no 'w', which is a column"):
        read(tmp_path, video(points=fields), columns=["x", "y", "z", "w"])


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
def test_without_a_description_every_file_needs_its_own(kind, tmp_path):
    folder = folder_of(tmp_path, kind=kind)
    (folder / "dataset.json").unlink()
    own = {"classes": np.array(CLASSES).astype("S")}
    save(folder / "train" / "a.npz", video(kind, **own))
    with pytest.raises(InputError, match=r"test/c\.npz lacks 'classes', which every npz file"):
        load(folder, tmp_path)
    save(folder / "test" / "c.npz", video(kind, **own))
    videos = load(folder, tmp_path)
    assert (videos.kind, videos.label_names) == (kind, tuple(CLASSES))
    save(folder / "test" / "c.npz", video("frame" if kind == "clip" else "clip", **own))
    with pytest.raises(InputError, match=rf"test/c\.npz lacks '{FIELDS[kind]}'"):
        load(folder, tmp_path)


def test_pointers_encrypted_and_missing_files_are_called_by_name(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=r"a\.npz cannot be read: it is a pointer of Git LFS"):
        video_files.read_arrays(path, ("points",))
    save(path, video())
    content = bytearray(path.read_bytes())
    for marker, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(marker)
        content[start + place] |= 1  # The flag of an encrypted member.
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz cannot be read \(.*encrypted"):
        video_files.read_arrays(path, ("points",))
    with pytest.raises(InputError, match=r"b\.npz does not exist"):
        video_files.read_arrays(tmp_path / "b.npz", ("points",))


def test_a_data_set_larger_than_the_memory_of_tfds(tmp_path, monkeypatch):
    # Above this size, builders that sort need TensorFlow, which is not installed.
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
    files = [f"train/{number:02d}.npz" for number in range(7)]
    folder = folder_of(tmp_path, [*files, "test/c.npz"])
    size = (folder / files[0]).stat().st_size
    monkeypatch.setattr(point_videos_dataset_builder, "SHARD_BYTES", 3 * size)
    save(folder / "train" / "03.npz", video(subject="long", points=np.zeros((9, 3), np.float64)))
    videos = load(folder, tmp_path)
    assert videos.video_ids == tuple(name[:-4] for name in files)
    shards = sorted((tmp_path / "cache").rglob("*-train.array_record-*"))
    assert len(shards) == 3
    monkeypatch.setattr(video_files, "LARGEST_RECORD", 100)
    with pytest.raises(InputError, match=r"train/00\.npz is a video of .* cut it into several"):
        load(folder, tmp_path / "other")


def test_files_share_shards_by_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(point_videos_dataset_builder, "SHARD_BYTES", 10)
    paths = []
    for number, size in enumerate((4, 6, 1, 25, 3, 0, 7)):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(bytes(size))
    groups = point_videos_dataset_builder.shards(paths)
    assert [len(group) for group in groups] == [2, 1, 1, 3]
    assert [path for group in groups for path in group] == paths


def test_a_body_at_map_coordinates_makes_the_same_clip(tmp_path):
    body = np.random.default_rng(1).normal(size=(8 * 64, 3)) * 0.3
    clips = []
    for name, offset in (("local", [0, 0, 0]), ("utm", [388096.0, 3948996.0, 40.0])):
        folder = folder_of(tmp_path / name)
        arrays = {"points": body + offset, "frame_sizes": [64] * 8, "label": 0}
        save(folder / "train" / "a.npz", arrays)
        source = ClipSource(load(folder, tmp_path), ClipConfig(frames=8, points=64), training=False)
        clips.append(source.clip(0)["points"])
    np.testing.assert_allclose(clips[0], clips[1], atol=1e-5)


def test_channels_keep_their_names(tmp_path):
    folder = folder_of(tmp_path, columns=["x", "y", "z", "intensity"])
    for name in ("train/a.npz", "test/c.npz"):
        save(folder / name, video(points=np.zeros((9, 4))))
    assert load(folder, tmp_path).columns == ("x", "y", "z", "intensity")
    assert schema.check_columns(load(folder, tmp_path).columns)

"""NTU RGB+D from small archives in both public layouts: splits, thinning, depth maps, damage."""

from __future__ import annotations

import collections
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointata_jax.data import schema
from pointata_jax.data.clips import ClipConfig, window_starts
from pointata_jax.datasets.ntu_rgbd import protocol as ntu
from pointata_jax.datasets.ntu_rgbd import videos as ntu_videos
from pointata_jax.datasets.ntu_rgbd.ntu_rgbd_dataset_builder import Builder
from pointata_jax.errors import InputError
from tests.datasets import archives
from tests.datasets.archives import cut_off, object_array, videos

NAMES = (
    "S001C001P001R001A001",  # person 1 trains, camera 1 tests, odd setup
    "S002C002P003R002A060",  # person 3 tests, camera 2 trains, even setup
    "S003C003P002R001A007",
    "S018C001P045R001A061",  # only in NTU RGB+D 120, person 45 trains there
    "S021C002P044R002A120",
)
SIZES = (5, 9, 40, 3, 7)


def clouds(name):
    rng = np.random.default_rng([*name.encode()])
    return [rng.normal(size=(size, 3)) for size in SIZES]


def write(folder, names=NAMES, lists=()):
    (folder / "video").mkdir(parents=True, exist_ok=True)
    for name in names:
        array = object_array(clouds(name))
        np.savez_compressed(folder / "video" / f"{name}.npz", data=array)
    for dataset in lists:
        kept = [name for name in names if dataset == "ntu120" or int(name[-3:]) <= 60]
        (folder / f"{dataset}.list").write_text("".join(f"{n} {len(SIZES)}\n" for n in kept))
    return folder


def build(tmp_path, folder, config: Any = "ntu60_cross_subject", **options):
    options = {"partial": True, "config": config} | options
    return archives.build(Builder, tmp_path, folder, **options)


@pytest.mark.parametrize(
    ("variant", "train", "test"),
    [
        ("ntu60_cross_subject", (0, 2), (1,)),
        ("ntu60_cross_view", (1, 2), (0,)),
        ("ntu120_cross_subject", (0, 2, 3), (1, 4)),
        ("ntu120_cross_setup", (1, 3), (0, 2, 4)),
    ],
)
@pytest.mark.parametrize("lists", [(), ("ntu60", "ntu120")])
def test_splits_labels_and_points(tmp_path, variant, train, test, lists):
    builder = build(tmp_path, write(tmp_path / "raw", lists=lists), variant)
    for split, numbers in (("train", train), ("test", test)):
        part = videos(builder, split)
        assert set(part) == {NAMES[number] for number in numbers}
        for name, video in part.items():
            kept = np.concatenate(clouds(name)[::2]).astype(np.float32)
            np.testing.assert_array_equal(video["points"], kept)
            assert video["frame_sizes"].tolist() == [5, 40, 7]
            assert int(video["label"]) == int(name[-3:]) - 1
            assert video["subject"].decode() == str(int(name[9:12]))
    assert len(schema.label_names(builder.info.features)) == int(variant[3:].split("_")[0])


def test_points_are_drawn_by_the_name_of_the_video_or_all_kept(tmp_path):
    folder = write(tmp_path / "raw")
    first = videos(build(tmp_path / "a", folder, points_per_frame=8), "train")[NAMES[0]]
    again = videos(build(tmp_path / "b", folder, points_per_frame=8), "train")[NAMES[0]]
    np.testing.assert_array_equal(first["points"], again["points"])
    assert first["frame_sizes"].tolist() == [5, 8, 7]
    whole = {tuple(point) for point in clouds(NAMES[0])[2].astype(np.float32)}
    drawn = [tuple(point) for point in first["points"][5:13]]
    assert len(set(drawn)) == 8
    assert set(drawn) <= whole
    published = build(tmp_path / "c", folder, points_per_frame=8, protocol="published")
    assert videos(published, "train")[NAMES[0]]["frame_sizes"].tolist() == [5, 40, 7]


@pytest.mark.parametrize("frames", range(40, 61))
def test_thinned_videos_give_the_published_windows(frames):
    config = ClipConfig(frames=24, stride=1)
    published = list(range(0, frames - 2 * 23, 2))
    ours = window_starts(len(range(0, frames, 2)), config, config.stride)
    assert [2 * start for start in ours] == published


def write_depth_maps(folder, name, frames=5):
    image = pytest.importorskip("PIL.Image", reason="depth maps are read with Pillow")
    rng = np.random.default_rng(0)
    maps = rng.integers(800, 4000, (frames, 24, 32)) * (rng.random((frames, 24, 32)) < 0.1)
    path = folder / "nturgb+d_depth_masked" / name
    path.mkdir(parents=True)
    for number, depth in enumerate(maps.astype(np.uint16), 1):
        image.fromarray(depth).save(path / f"MDepth-{number:08d}.png")
    return maps, path


@pytest.mark.parametrize(("protocol", "focal"), [("corrected", 365.456), ("published", 280.0)])
def test_depth_maps_become_points_in_meters(tmp_path, protocol, focal):
    maps, _ = write_depth_maps(tmp_path / "raw", NAMES[0])
    video = videos(build(tmp_path, tmp_path / "raw", protocol=protocol), "train")[NAMES[0]]
    assert video["frame_sizes"].tolist() == [np.count_nonzero(depth) for depth in maps[::2]]
    # Projected into the image, every point is at the center of a pixel with its depth.
    ends = np.cumsum(video["frame_sizes"])
    for depth, end, size in zip(maps[::2], ends, video["frame_sizes"], strict=True):
        x, y, z = video["points"][end - size : end].astype(np.float64).T
        columns, rows = np.rint(x / z * focal + 16).astype(int), np.rint(y / z * focal + 12)
        np.testing.assert_allclose(depth[rows.astype(int), columns] / 1000, z, atol=1e-6)
        np.testing.assert_allclose(x / z * focal + 16, columns, atol=1e-3)


def test_bad_depth_maps_are_named(tmp_path):
    _, path = write_depth_maps(tmp_path / "raw", NAMES[0])
    image = pytest.importorskip("PIL.Image", reason="depth maps are read with Pillow")
    (tmp_path / "raw" / "ntu60.list").write_text(f"{NAMES[0]} 6\n")
    with pytest.raises(InputError, match="A001 has 5 frames, its list says 6; the video is cut"):
        build(tmp_path, tmp_path / "raw")
    (tmp_path / "raw" / "ntu60.list").unlink()
    third = path / "MDepth-00000003.png"
    for _ in cut_off(third, 40):
        with pytest.raises(InputError, match="MDepth-00000003.png is cut off or damaged"):
            build(tmp_path, tmp_path / "raw")
    image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(third)
    with pytest.raises(InputError, match="MDepth-00000003.png is of mode RGB, expected 16 bits"):
        build(tmp_path, tmp_path / "raw")
    image.fromarray(np.zeros((4, 4), np.uint16)).save(third)
    with pytest.raises(InputError, match="'S001C001P001R001A001', frame 1 has no points"):
        build(tmp_path, tmp_path / "raw")
    for png in path.iterdir():
        png.unlink()
    with pytest.raises(InputError, match=r"A001 holds no MDepth-\*.png"):
        build(tmp_path, tmp_path / "raw")


def made_up_recordings(per_half):
    """A full NTU RGB+D 60 of 158 pairs of setup and person, as many in each half as published."""
    people = [1 if n < per_half else 3 for n in range(158)]
    found = {}
    for number, person in enumerate(people):
        setup, camera_free = 1 + number % 17, number // 17
        other = [p for p in range(1, 41) if (p in ntu._TRAIN_60) == (person == 1)][camera_free]
        for camera, again, action in itertools.product((1, 2, 3), (1, 2), range(1, 61)):
            found[ntu.Recording(setup, camera, other, again, action)] = Path("x")
    return found


def test_the_published_counts_are_asserted(tmp_path):
    files = made_up_recordings(112)
    assert len(files) == 56_880
    keys = ntu.select_videos(files, None, "ntu60", "The folder")
    for variant in ("ntu60_cross_subject", "ntu60_cross_view"):
        ntu.check_counts(keys, variant, "The folder")
        assert collections.Counter(key.split(variant) for key in keys) == ntu.COUNTS[variant]
    with pytest.raises(InputError, match="holds 39960 training and 16920 test .* 40320 and 16560"):
        ntu.check_counts(made_up_recordings(111), "ntu60_cross_subject", "The folder")
    with pytest.raises(InputError, match="holds 3 videos of ntu60, the complete .* 56880"):
        build(tmp_path, write(tmp_path / "raw"), partial=False)
    with pytest.raises(InputError, match="holds 5 videos of ntu120, .* 114480"):
        build(tmp_path, tmp_path / "raw", "ntu120_cross_setup", partial=False)


@pytest.mark.filterwarnings("ignore:.* lacks 1 of the 3 listed videos:UserWarning")
def test_videos_missing_from_a_listed_archive_are_named(tmp_path):
    folder = write(tmp_path / "raw", lists=("ntu60",))
    (folder / "video" / f"{NAMES[1]}.npz").unlink()
    with pytest.raises(InputError, match=f"lacks 1 of the 3 listed videos, .* is {NAMES[1]};"):
        build(tmp_path, folder, partial=False)
    with pytest.warns(UserWarning, match=f"lacks 1 of the 3 listed videos, such as {NAMES[1]}"):
        builder = build(tmp_path, folder)
    assert "test" not in builder.info.splits


@pytest.mark.filterwarnings("ignore:.* videos that its list does not name:UserWarning")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{NAMES[0]} 5\n{NAMES[0]} 5\n", "line 2 lists S001C001P001R001A001 a second time"),
        (f"{NAMES[0]}\n", "line 1 is not of the form"),
        ("S001C004P001R001A001 5\n", "line 1: 'S001C004P001R001A001' is no video .* cameras to 3"),
        ("S001C001P001R001A121 5\n", "is no video .* actions to 120"),
        (f"{NAMES[3]} 5\n", "S018C001P045R001A061 does not belong to ntu60"),
        (
            f"{NAMES[0]} 6\n{NAMES[1]} 5\n{NAMES[2]} 5\n",
            "A001.npz has 5 frames, its list says 6; the video is cut off",
        ),
    ],
)
def test_bad_lists_are_named(tmp_path, text, sentence):
    folder = write(tmp_path / "raw")
    (folder / "ntu60.list").write_text(text)
    with pytest.raises(InputError, match=sentence):
        build(tmp_path, folder)


def test_bad_files_are_named(tmp_path):
    folder = write(tmp_path / "raw")
    path = folder / "video" / f"{NAMES[0]}.npz"
    whole = path.read_bytes()
    for _ in cut_off(path, 60):
        with pytest.raises(InputError, match="A001.npz is cut off or damaged"):
            build(tmp_path, folder)
    np.savez(path, data=np.full((3, 4, 3), "a"))
    with pytest.raises(InputError, match=r"A001.npz.*frame 0 has shape .*expected \(n, 3\)"):
        build(tmp_path, folder)
    np.savez(path, data=np.full((3, 4, 3), np.nan))
    with pytest.raises(InputError, match="'S001C001P001R001A001', frame 0 holds NaN"):
        build(tmp_path, folder)
    np.savez(path, points=np.zeros(3))
    with pytest.raises(InputError, match="A001.npz holds points, expected 'data'"):
        build(tmp_path, folder)
    path.write_bytes(whole)
    (folder / "copy").mkdir()
    (folder / "copy" / path.name).write_bytes(whole)
    with pytest.raises(InputError, match="are the same video; remove one"):
        build(tmp_path, folder)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


def test_missing_archives_and_unknown_variants(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "S1.npz").write_bytes(b"")
    with pytest.raises(
        InputError, match="holds no videos of NTU RGB.D. Expected there: one folder Ssss"
    ):
        build(tmp_path, tmp_path / "other")
    with pytest.raises(InputError, match="no data folder. Expected there"):
        build(tmp_path, tmp_path / "nowhere")
    with pytest.raises(InputError, match="Unknown variant 'ntu60_cross_setup'"):
        ntu.dataset_of("ntu60_cross_setup")
    with pytest.raises(InputError, match="points_per_frame must be at least 1"):
        Builder(data_dir=tmp_path, config="ntu60_cross_view", points_per_frame=0)


@pytest.mark.filterwarnings("ignore:Left out below:UserWarning")
def test_links_hidden_files_small_letters_and_marks_in_lists(tmp_path):
    folder = write(tmp_path / "raw", lists=("ntu60",))
    videos_folder = folder / "video"
    videos_folder.rename(tmp_path / "store")
    videos_folder.symlink_to(tmp_path / "store")
    (tmp_path / "store" / f"{NAMES[0]}.npz").rename(tmp_path / "store" / f"{NAMES[0].lower()}.NPZ")
    (tmp_path / "store" / f"._{NAMES[1]}.npz").write_bytes(b"\0")
    (tmp_path / "store" / "up").symlink_to(folder)
    listed = folder / "ntu60.list"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes().replace(b"\n", b"\r\n\r\n"))
    with pytest.warns(UserWarning, match="hidden entries: 1, such as video/._S002"):
        files = ntu.find_videos(folder)
    assert [key.video_id for key in files] == sorted(NAMES)
    assert ntu.find_list(folder, "ntu60") == listed
    with pytest.warns(UserWarning, match="hidden entries: 1, such as video/._S002"):
        train = videos(build(tmp_path, folder), "train")
    np.testing.assert_array_equal(
        train[NAMES[0]]["points"], np.concatenate(clouds(NAMES[0])[::2]).astype(np.float32)
    )
    (folder / "copy").mkdir()
    (folder / "copy" / "ntu60.list").write_bytes(listed.read_bytes())  # An equal copy is accepted.
    assert len(ntu.read_list(ntu.find_list(folder, "ntu60"), "ntu60")) == 3
    (folder / "copy" / "ntu60.list").write_text(f"{NAMES[0]} 6\n")
    with pytest.raises(InputError, match="ntu60.list differ; keep one of them"):
        ntu.find_list(folder, "ntu60")


def test_the_images_in_the_folders_of_videos_are_not_walked_through(tmp_path, monkeypatch):
    _, path = write_depth_maps(tmp_path / "raw", NAMES[0])
    (path / "._MDepth-00000001.png").write_bytes(b"\0")
    real, seen = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda place: seen.append(str(place)) or real(place))
    assert list(ntu.find_videos(tmp_path / "raw").values()) == [path]
    assert ntu.find_list(tmp_path / "raw", "ntu60") is None
    assert str(path) not in seen
    monkeypatch.undo()
    assert len(ntu_videos.list_images(path)) == 5

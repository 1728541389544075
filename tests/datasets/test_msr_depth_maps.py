"""MSR-Action3D's original depth maps: the converter's points, damage, both forms in a folder."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pointata_jax.data import folder_walk
from pointata_jax.datasets.msr_action3d import depth_files
from pointata_jax.datasets.msr_action3d.msr_action3d_dataset_builder import Builder
from pointata_jax.errors import InputError
from tests.datasets import archives


def maps(seed=0, shape=(3, 24, 32), share=0.2):
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 900, shape) * (rng.random(shape) < share)).astype(np.uint32)


def write(path, depth, head=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames, height, width = depth.shape
    numbers = np.array([frames, width, height] if head is None else head, "<u4")
    path.write_bytes(numbers.tobytes() + depth.astype("<u4").tobytes())
    return path


def pixel_by_pixel(depth):
    """What the published converter computes: x, y, z of each pixel with a depth, by rows."""
    height, width = depth.shape
    return np.array(
        [
            [(u - width / 2) / 280 * int(z), (v - height / 2) / 280 * int(z), int(z)]
            for v, row in enumerate(depth)
            for u, z in enumerate(row)
            if z
        ]
    )


def save_points(folder, name, clouds):
    array = archives.object_array(clouds)
    np.savez_compressed(folder / f"{name}_sdepth.npz", point_clouds=array)


def build(tmp_path, folder, **options):
    return archives.build(Builder, tmp_path, folder, config="depth", partial=True, **options)


@pytest.mark.parametrize("shape", [(3, 24, 32), (2, 240, 320), (1, 5, 3)])
def test_maps_and_converted_points_are_the_same_videos(tmp_path, shape):
    depth = maps(shape=shape)
    write(tmp_path / "maps" / "Depth" / "a03_s02_e01_sdepth.bin", depth)
    (tmp_path / "points").mkdir()
    wanted = [pixel_by_pixel(frame) for frame in depth]
    save_points(tmp_path / "points", "a03_s02_e01", wanted)
    read = depth_files.read_frames(tmp_path / "maps" / "Depth" / "a03_s02_e01_sdepth.bin")
    for found, cloud in zip(read, wanted, strict=True):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, cloud)
    videos = [
        next(iter(build(tmp_path / "made" / form, tmp_path / form).as_data_source("train")))
        for form in ("maps", "points")
    ]
    np.testing.assert_array_equal(videos[0]["points"], videos[1]["points"])
    np.testing.assert_array_equal(videos[0]["points"], np.concatenate(wanted).astype(np.float32))
    assert videos[0]["frame_sizes"].tolist() == [np.count_nonzero(frame) for frame in depth]
    assert (videos[0]["label"], videos[0]["subject"]) == (2, b"2")


def test_frames_without_a_depth_are_left_out_with_a_warning(tmp_path):
    depth = maps(shape=(5, 6, 8))
    depth[[1, 4]] = 0
    path = write(tmp_path / "a01_s01_e01_sdepth.bin", depth)
    with pytest.warns(UserWarning, match="e01_sdepth.bin: 2 of 5 frames have no depth anywhere"):
        frames = depth_files.read_frames(path)
    for found, number in zip(frames, (0, 2, 3), strict=True):
        np.testing.assert_array_equal(found, pixel_by_pixel(depth[number]))
    with pytest.raises(InputError, match="e01_sdepth.bin has no depth in any of its 2 frames"):
        depth_files.read_frames(write(path, depth[[1, 4]]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda whole: b"", "is cut off: it has 0 bytes, its header alone 12"),
        (lambda whole: whole[:11], "is cut off: it has 11 bytes"),
        (
            lambda whole: whole[:12],
            "has 12 bytes, 3 depth maps of 8 x 6 pixels take 588: it is cut",
        ),
        (lambda whole: whole[:-1], "has 587 bytes, .* take 588: it is cut off"),
        (lambda whole: whole + b"\0", "has 589 bytes, .* take 588: it is damaged"),
        (lambda whole: bytes(4) + whole[4:], "the size of 0 depth maps of 8 x 6"),
        (lambda whole: whole[:4] + bytes(4) + whole[8:], "the size of 3 depth maps of 0 x 6"),
        (lambda whole: whole[:8] + b"\xff" * 4 + whole[12:], "of 8 x 4294967295 pixels: it is no"),
        (lambda whole: whole[:3] + b"\1" + whole[4:], "has 588 bytes, 16777219 depth maps"),
        (lambda whole: whole[:311] + b"\1" + whole[312:], "frame 1 holds the depth 16777"),
        # Big-endian numbers are not accepted as sizes of a map.
        (lambda whole: np.frombuffer(whole, ">u4").astype("<u4").tobytes(), "the size of 50331648"),
    ],
)
def test_damage_is_named(change, sentence, tmp_path):
    path = write(tmp_path / "a01_s01_e01_sdepth.bin", maps(shape=(3, 6, 8)))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=rf"a01_s01_e01_sdepth\.bin.*{sentence}"):
        depth_files.read_frames(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="a01_s01_e01_sdepth.bin does not exist"):
        depth_files.read_frames(tmp_path / "a01_s01_e01_sdepth.bin")
    (tmp_path / "a01_s01_e01_sdepth.bin").mkdir()
    with pytest.raises(InputError, match="a01_s01_e01_sdepth.bin is a folder"):
        depth_files.read_frames(tmp_path / "a01_s01_e01_sdepth.bin")


@pytest.mark.filterwarnings("ignore:Left out below:UserWarning")
def test_of_two_forms_of_a_recording_the_points_are_read(tmp_path):
    folder = tmp_path / "raw"
    cloud = np.ones((4, 3))
    write(folder / "A01_S01_E01_sdepth.BIN", maps(1))
    write(folder / "a02_s06_e01_sdepth.bin", maps(2))
    write(folder / "._a03_s06_e01_sdepth.bin", maps(3))
    save_points(folder, "a01_s01_e01", [cloud, cloud])
    (tmp_path / "more").mkdir()
    save_points(tmp_path / "more", "a04_s01_e01", [cloud])
    (folder / "linked").symlink_to(tmp_path / "more")
    with (
        pytest.warns(
            UserWarning, match="holds 1 recordings both as _sdepth.npz and as _sdepth.bin"
        ),
        pytest.warns(UserWarning, match="hidden entries: 1, such as ._a03_s06_e01_sdepth.bin"),
    ):
        builder = build(tmp_path, folder)
    train = {v["video_id"]: v for v in builder.as_data_source("train")}
    test = {v["video_id"]: v for v in builder.as_data_source("test")}
    assert (set(train), set(test)) == ({b"a01_s01_e01", b"a04_s01_e01"}, {b"a02_s06_e01"})
    np.testing.assert_array_equal(train[b"a01_s01_e01"]["points"], np.ones((8, 3)))
    assert test[b"a02_s06_e01"]["frame_sizes"].tolist() == [
        np.count_nonzero(frame) for frame in maps(2)
    ]
    with pytest.warns(UserWarning, match="hidden entries: 1"):
        files = Builder.source_files(folder)
    assert len(files) == 4
    assert folder_walk.HIDDEN in folder_walk.walk_files(folder).skipped
    write(folder / "again" / "a02_s06_e01_sdepth.bin", maps(2))
    again = "a02_s06_e01_sdepth.bin are the same recording; remove"
    with (
        pytest.warns(UserWarning, match="hidden entries: 1"),
        pytest.raises(InputError, match=again),
    ):
        build(tmp_path / "again", folder)


def test_memory_holds_the_points_of_one_video(tmp_path):
    depth = maps(shape=(60, 240, 320), share=0.05)
    path = write(tmp_path / "a01_s01_e01_sdepth.bin", depth)
    points = np.count_nonzero(depth) * 24
    tracemalloc.start()
    depth_files.read_frames(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < points + 4e6 < depth.nbytes + 4e6, "not the 18 MB of the maps too"


def test_random_damage_never_ends_in_another_exception(tmp_path):
    rng = np.random.default_rng(0)
    path = write(tmp_path / "a01_s01_e01_sdepth.bin", maps(shape=(2, 6, 8), share=1.0))
    whole, sentences = path.read_bytes(), []
    for _ in range(400):
        content = bytearray(whole[: rng.integers(len(whole) + 1)] if rng.random() < 0.3 else whole)
        for _ in range(rng.integers(1, 4) if content else 0):
            content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(bytes(content))
        try:
            depth_files.read_frames(path)
        except InputError as error:
            sentences.append(str(error))
    assert len(sentences) > 200
    assert all(path.name in sentence for sentence in sentences)

"""Recordings: folders of frames, files of several frames, and bags written by rosbags."""

from __future__ import annotations

import itertools
import shutil
import warnings

import numpy as np
import pytest

from pointata_jax.data import sensor_files
from pointata_jax.data.recordings import (
    UP_AXES,
    find_recordings,
    natural_order,
    open_recording,
    rotate_up,
)
from pointata_jax.errors import InputError

RNG = np.random.default_rng(0)


def frames(count=4, columns=3):
    """Frames of 5, 6, 7 … points whose first x is the number of the frame."""
    made = [RNG.uniform(-5, 5, (5 + i, columns)).astype(np.float32) for i in range(count)]
    for index, frame in enumerate(made):
        frame[0, 0] = index
    return made


def write_folder(folder, arrays, names="frame_{}.npy"):
    folder.mkdir(parents=True, exist_ok=True)
    for index, array in enumerate(arrays):
        np.save(folder / names.format(index), array)
    return folder


def assert_frames(recording, expected):
    found = list(recording.frames)
    assert [len(frame) for frame in found] == [len(frame) for frame in expected]
    for frame, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame, wanted)


def test_a_folder_is_read_in_natural_order_one_frame_at_a_time(tmp_path, monkeypatch):
    made = frames(12)
    folder = write_folder(tmp_path / "walk", made)
    (folder / ".DS_Store").touch()
    (folder / "README.txt").write_text("by a sensor")
    (folder / "sha256sums.txt").write_text("0 frame_0.npy")
    (folder / "picture.jpg").touch()
    read = []
    original = sensor_files.read_frame
    monkeypatch.setattr(
        sensor_files, "read_frame", lambda *a, **k: read.append(a[0].name) or original(*a, **k)
    )
    recording = open_recording(folder)
    assert (recording.name, recording.columns) == ("walk", ("x", "y", "z"))
    assert recording.num_frames == 12
    assert read == []
    first = list(itertools.islice(recording.frames, 3))
    assert read == ["frame_0.npy", "frame_1.npy", "frame_2.npy"]
    np.testing.assert_array_equal(first[2], made[2])
    assert_frames(recording, made)
    assert_frames(open_recording(folder, start=2, stop=11), made[2:11])
    assert_frames(open_recording(folder, start=10, stop=99), made[10:])
    with pytest.raises(InputError, match="has no frame 12; it ends before"):
        open_recording(folder, start=12)
    with pytest.raises(InputError, match="the frames from 3 to before 3 are none"):
        open_recording(folder, start=3, stop=3)


def test_natural_order(tmp_path):
    names = ["a10/f1", "a9/f02", "a9/F1", "a9/f10", "a9/f2", "b"]
    ordered = sorted((tmp_path / name for name in names), key=natural_order)
    found = [path.relative_to(tmp_path).as_posix() for path in ordered]
    assert found == ["a9/F1", "a9/f02", "a9/f2", "a9/f10", "a10/f1", "b"]


def test_frames_without_points_are_skipped_and_counted(tmp_path):
    made = frames(3)
    made[0][1] = np.nan
    folder = write_folder(tmp_path / "a", [made[0], made[1] * np.nan, made[2][:0], made[2]])
    recording = open_recording(folder)
    for _ in range(2):  # The counts begin anew.
        assert_frames(recording, [np.delete(made[0], 1, axis=0), made[2]])
        assert (recording.frames.dropped, recording.frames.empty_frames) == (1 + 6, 2)
    assert recording.times is None
    with pytest.raises(InputError, match=r"a holds no points: all of its 2 frames are empty \(6 "):
        list(open_recording(folder, start=1, stop=3).frames)


def test_folders_with_different_columns_or_formats(tmp_path):
    made = frames(3)
    folder = write_folder(tmp_path / "a", made)
    names = "x y z power time"
    rows = np.column_stack([made[1], np.zeros((len(made[1]), 2))])
    for index, order in enumerate(([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 1, 2, 4])):
        header = ",".join(np.array(names.split())[order])
        path = tmp_path / "b" / f"{index}.csv"
        path.parent.mkdir(exist_ok=True)
        np.savetxt(path, rows[:, order], "%.17g", ",", header=header, comments="")
    (tmp_path / "b" / "3.csv").touch()
    with pytest.warns(UserWarning, match=r"with the first one, 2\.csv lacks power\. All have x, y"):
        recording = open_recording(tmp_path / "b")
    assert recording.columns == ("x", "y", "z", "time")
    assert_frames(recording, [rows[:, [0, 1, 2, 4]]] * 3)
    (folder / "times.txt").write_text("0.1\n")
    with pytest.raises(InputError, match=r"formats, \.npy \(3\), \.txt \(1\); .* times\.txt"):
        open_recording(folder)


def test_files_of_several_frames(tmp_path):
    made = frames(4, columns=4)
    sizes = [len(frame) for frame in made]
    flat, padded = np.concatenate(made), np.zeros((4, max(sizes), 4), np.float32)
    for index, frame in enumerate(made):
        padded[index, : len(frame)] = frame
    columns = ["x", "y", "z", "power"]
    np.savez(tmp_path / "a.npz", points=flat, frame_sizes=sizes, columns=columns, label=1)
    np.savez(tmp_path / "b.npz", points=padded, frame_sizes=sizes)
    named = np.zeros(len(flat), [(name, "f4") for name in columns])
    for index, name in enumerate(columns):
        named[name] = flat[:, index]
    np.savez(tmp_path / "c.npz", points=named, frame_sizes=sizes)
    np.save(tmp_path / "d.npy", padded)
    for name in "abc":
        recording = open_recording(tmp_path / f"{name}.npz")
        assert recording.columns == ("x", "y", "z", "column_3" if name == "b" else "power")
        assert (recording.name, recording.num_frames) == (name, 4)
        assert_frames(recording, made)
        assert_frames(open_recording(recording.path, start=1, stop=3), made[1:3])
    recording = open_recording(tmp_path / "d.npy", columns=columns)
    assert recording.columns == tuple(columns)
    assert_frames(recording, padded)
    np.save(tmp_path / "e.npy", made[2])
    assert_frames(open_recording(tmp_path / "e.npy"), made[2:3])
    np.savez(tmp_path / "f.npz", points=flat, frame_sizes=[3, 4])
    with pytest.raises(InputError, match=r"f\.npz: frame_sizes is int64 of shape \(2,\) and does"):
        open_recording(tmp_path / "f.npz")


@pytest.mark.parametrize(("before", "after"), [*itertools.product(UP_AXES, UP_AXES)])
def test_rotations_of_the_up_axis(before, after):
    values = np.column_stack([np.eye(3), np.arange(3)]).astype(np.float32)
    turned = rotate_up(values, before, after)
    assert turned.dtype == np.float32
    signed = {"-": -1}.get(before[0], 1) * turned["xyz".index(before[-1]), :3]
    wanted = np.eye(3)["xyz".index(after[-1])] * {"-": -1}.get(after[0], 1)
    np.testing.assert_array_equal(signed, wanted)
    assert np.linalg.det(turned[:, :3]) == pytest.approx(1)
    np.testing.assert_array_equal(turned[:, 3], values[:, 3])


def test_units_and_up_axis(tmp_path):
    made = frames(2, columns=4)
    folder = write_folder(tmp_path / "a", made)
    recording = open_recording(folder, scale=0.001, up_axis="-y", target_up_axis="z")
    for found, frame in zip(recording.frames, made, strict=True):
        # Forward, the z of a camera, becomes y.
        np.testing.assert_allclose(found[:, :3], frame[:, [0, 2, 1]] * [0.001, 0.001, -0.001], 1e-6)
        np.testing.assert_array_equal(found[:, 3], frame[:, 3])
    with pytest.raises(InputError, match="the up axis is 'up'; use one of x, y, z, -x"):
        open_recording(folder, up_axis="up")
    with pytest.raises(InputError, match="scale is 0"):
        open_recording(folder, scale=0)


def test_recordings_below_a_folder(tmp_path):
    root = tmp_path / "all"
    for name in ("s10", "s9", "deep/er/s1"):
        write_folder(root / name, frames(2))
    np.savez(root / "b.npz", points=np.concatenate(frames(2)), frame_sizes=[5, 6])
    found = [path.relative_to(root).as_posix() for path in find_recordings([root])]
    assert found == ["b.npz", "deep/er/s1", "s9", "s10"]
    given = [root / "s9" / "frame_0.npy", root / "s9", root / "b.npz", root / "s9"]
    assert find_recordings(given) == given[:3]
    with pytest.raises(
        InputError, match=r"all is no recording but holds 4; give one of them, such"
    ):
        open_recording(root)
    (tmp_path / "none").mkdir()
    (tmp_path / "a.jpg").touch()
    for name, sentence in (
        ("none", "none holds no recording; a recording is a folder of frame files"),
        ("a.jpg", r"a\.jpg is no recording"),
        ("missing", "missing does not exist"),
    ):
        with pytest.raises(InputError, match=sentence):
            find_recordings([tmp_path / name])


# One message: an organized cloud [2, 3] with gaps between fields, points and rows.
FIELDS = (("z", 1, 7, 1), ("x", 8, 8, 1), ("rgb", 17, 7, 0), ("y", 24, 7, 1), ("v", 28, 3, 2))
STEP, ROW = 34, 3 * 34 + 9


def message(store, ros1, *, big, index=0, empty=False):
    """A PointCloud2 and its points: x, y, z, red, green, blue, v_0, v_1."""
    kinds = {7: "f4", 8: "f8", 3: "i2"}
    order = ">" if big else "<"
    record = np.dtype(
        {
            "names": [name for name, *_ in FIELDS],
            "formats": [(order + kinds[kind], (max(n, 1),)) for _, _, kind, n in FIELDS],
            "offsets": [offset for _, offset, *_ in FIELDS],
            "itemsize": STEP,
        }
    )
    buffer = np.full(2 * ROW, 0xAB, np.uint8)
    cloud = np.ndarray((2, 3), record, buffer.data, 0, (ROW, STEP))
    points = np.column_stack(
        [np.arange(6) + 10 * index + 1e-7, RNG.uniform(-1, 1, (6, 2)).astype(np.float32)]
    )
    colors = RNG.integers(0, 256, (6, 3)).astype(np.uint32)
    speed = RNG.integers(-999, 999, (6, 2))
    packed = colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]
    for name, values in zip("xyz", points.T, strict=True):
        cloud[name][..., 0] = values.reshape(2, 3)
    cloud["rgb"][..., 0] = packed.astype(np.uint32).view(np.float32).reshape(2, 3)
    cloud["v"] = speed.reshape(2, 3, 2)
    cloud["z"][1, 2] = np.nan
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](sec=100 + index, nanosec=500_000_000)
    extra = {"seq": index} if ros1 else {}
    made = types["sensor_msgs/msg/PointCloud2"](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id="sensor", **extra),
        height=0 if empty else 2,
        width=0 if empty else 3,
        fields=[
            types["sensor_msgs/msg/PointField"](name=name, offset=offset, datatype=kind, count=n)
            for name, offset, kind, n in FIELDS
        ],
        is_bigendian=big,
        point_step=STEP,
        row_step=ROW,
        data=np.empty(0, np.uint8) if empty else buffer,
        is_dense=False,
    )
    return made, np.column_stack([points, colors, speed])[:5]


def write_bag(path, topics=("/lidar",), *, big=False):
    """Three messages for each topic, of which the second has no points."""
    pytest.importorskip("rosbags")
    from rosbags import rosbag1, rosbag2, typesys

    ros1 = path.suffix == ".bag"
    store = typesys.get_typestore(
        typesys.Stores.ROS1_NOETIC if ros1 else typesys.Stores.ROS2_HUMBLE
    )
    if ros1:
        writer, serialize = rosbag1.Writer(path), store.serialize_ros1
        writer.set_compression(rosbag1.Writer.CompressionFormat.LZ4)
    else:
        kind = rosbag2.StoragePlugin.MCAP if "mcap" in path.name else rosbag2.StoragePlugin.SQLITE3
        writer = rosbag2.Writer(path, version=9, storage_plugin=kind)
        serialize = store.serialize_cdr
    expected = []
    with writer:
        text = writer.add_connection("/note", "std_msgs/msg/String", typestore=store)
        writer.write(
            text, 1, serialize(store.types["std_msgs/msg/String"]("hi"), "std_msgs/msg/String")
        )
        for topic in topics:
            link = writer.add_connection(topic, "sensor_msgs/msg/PointCloud2", typestore=store)
            for index in range(3):
                cloud, points = message(store, ros1, big=big, index=index, empty=index == 1)
                writer.write(link, 10**9 * index + 2, serialize(cloud, link.msgtype))
                expected.append(points)
    return expected


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", ["one.bag", "two_sqlite", "two_mcap"])
def test_bags(name, big, tmp_path):
    path = tmp_path / name
    expected = write_bag(path, big=big)
    paths = [path]
    if name != "one.bag":
        paths += [file for file in path.iterdir() if file.suffix in (".mcap", ".db3")]
        assert len(paths) == 2
    for place in paths:
        recording = open_recording(place)
        assert recording.columns == tuple("x y z red green blue v_0 v_1".split())
        assert recording.num_frames == 3
        assert_frames(recording, [expected[0], expected[2]])
        assert recording.times == [100.5, 102.5]
        assert (recording.frames.dropped, recording.frames.empty_frames) == (2, 1)
        assert_frames(open_recording(place, start=2), expected[2:])
    assert find_recordings([tmp_path]) == find_recordings([path]) == [path]


def test_topics_of_a_bag(tmp_path):
    path = tmp_path / "a.bag"
    expected = write_bag(path, ("/rear", "/front"))
    with pytest.raises(InputError, match="2 topics with point clouds; choose one: /front, /rear"):
        open_recording(path)
    with pytest.raises(InputError, match="no PointCloud2 topic '/note'; such topics are /front, "):
        open_recording(path, topic="/note")
    assert_frames(open_recording(path, topic="/front"), [expected[3], expected[5]])
    write_bag(tmp_path / "none.bag", ())
    with pytest.raises(InputError, match=r"topics are /note \(std_msgs/msg/String\)"):
        open_recording(tmp_path / "none.bag")
    np.save(tmp_path / "a.npy", frames()[0])
    with pytest.raises(InputError, match="is not a ROS bag, so it has no topic '/front'"):
        open_recording(tmp_path / "a.npy", topic="/front")


@pytest.mark.parametrize("name", ["one.bag", "two_sqlite", "two_mcap"])
def test_damaged_bags_raise_input_errors_only(name, tmp_path):
    write_bag(tmp_path / name)
    path = tmp_path / name
    if path.is_dir():
        path = next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    original, rng, outcomes = path.read_bytes(), np.random.default_rng(2), set()
    # A database has many pages of zeros; a recording in it lies in the others.
    used = np.flatnonzero(np.frombuffer(original, np.uint8))
    for trial in range(60):
        content = bytearray(original)
        for place in used[rng.integers(0, len(used), rng.integers(1, 9))]:
            content[place : place + 1] = rng.bytes(1)
        if trial % 3 == 0:
            content = content[: rng.integers(len(content))]
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                list(open_recording(tmp_path / name).frames)
                outcomes.add("")
            except InputError as error:
                outcomes.add(str(error))
    assert len(outcomes) > 1
    assert all(name in sentence for sentence in outcomes if sentence)
    if (tmp_path / name).is_dir():
        shutil.copy(__file__, tmp_path / name / "metadata.yaml")
        with pytest.raises(InputError, match=f"{name} is cut off or damaged"):
            open_recording(tmp_path / name)

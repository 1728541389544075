"""MSR-Action3D: the public files' layout, refused pickles, counts, and dressed skeletons."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest

from pointata_jax.data import schema
from pointata_jax.datasets.msr_action3d import depth_files, protocol, skeletons
from pointata_jax.datasets.msr_action3d.msr_action3d_dataset_builder import (
    Builder,
    MSRAction3DConfig,
)
from pointata_jax.errors import InputError
from pointata_jax.procedural import bodies, figures
from tests.datasets import archives
from tests.datasets.archives import object_array, videos


def clouds(seed=0, sizes=(5, 9, 1), dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [(300 * rng.standard_normal((size, 3))).astype(dtype) for size in sizes]


def write(folder, name, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{depth_files.SUFFIX}"
    np.savez_compressed(path, **arrays)
    return path


def write_pickle(path, stream, shape=(3,)):
    """An npz file whose `point_clouds` is this pickle."""
    member = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("point_clouds.npy", member.getvalue() + stream)
    return path


def build(tmp_path, folder, config: Any = "depth", **options):
    return archives.build(Builder, tmp_path, folder, config=config, **options)


# --- the reader of object arrays -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, ">f4"])
@pytest.mark.parametrize("protocol_number", [2, 3, 4])
def test_object_arrays_are_read_without_numpys_unpickler(tmp_path, dtype, protocol_number):
    frames = clouds(dtype=dtype)
    stream = pickle.dumps(object_array(frames), protocol=protocol_number)
    path = write_pickle(tmp_path / "a.npz", stream)
    read = depth_files.read_frames(path)
    # No precision is lost before a clip is centered: float64 stays float64.
    wanted = np.float64 if dtype is np.float64 else np.float32
    assert [frame.dtype for frame in read] == [wanted] * 3
    for frame, expected in zip(read, frames, strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_files_of_older_numpy_and_other_forms_of_the_same_clouds_are_read(tmp_path):
    frames = clouds()
    old = pickle.dumps(object_array(frames), protocol=2)
    assert b"numpy._core.multiarray" in old
    old = old.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    even = np.stack(clouds(sizes=(4, 4, 4)))
    forms = {
        "savez": (write(tmp_path, "savez", point_clouds=object_array(frames)), frames),
        "old": (write_pickle(tmp_path / "old.npz", old), frames),
        "fortran": (
            write(tmp_path, "f", point_clouds=object_array([np.asfortranarray(f) for f in frames])),
            frames,
        ),
        "flat": (
            write(tmp_path, "flat", points=np.concatenate(frames), frame_sizes=[5, 9, 1]),
            frames,
        ),
        "lists": (
            write(tmp_path, "lists", point_clouds=object_array([f.tolist() for f in frames])),
            frames,
        ),
        "equal sizes": (write(tmp_path, "equal", point_clouds=even), even),
        "equal sizes, objects": (write(tmp_path, "o", point_clouds=even.astype(object)), even),
    }
    for name, (path, expected) in forms.items():
        read = depth_files.read_frames(path)
        assert len(read) == len(expected), name
        for frame, wanted in zip(read, expected, strict=True):
            np.testing.assert_array_equal(frame, wanted, err_msg=name)


class Evil:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.mkdir, "{0}", r"posix\.mkdir|nt\.mkdir"),
        (eval, "__import__('os').mkdir({0!r})", r"builtins\.eval"),
        (np.load, "{0}", r"numpy\.load"),
        (getattr, "mkdir", r"builtins\.getattr"),
    ],
)
def test_pickles_that_would_run_code_are_refused_by_name(tmp_path, function, argument, name):
    made = tmp_path / "made"
    payload = object_array([*clouds()[:2], Evil(function, argument.format(str(made)))])
    path = write(tmp_path, "a01_s01_e01", point_clouds=payload)
    with pytest.raises(InputError, match=rf"a01_s01_e01.* asks to load ({name}), .* was not read"):
        depth_files.read_frames(path)
    assert not made.exists()
    if function is eval:  # The payload works: NumPy's own reader runs it.
        np.load(path, allow_pickle=True)["point_clouds"]
        assert made.exists()


def test_cut_and_damaged_files_end_in_a_sentence(tmp_path):
    whole = write(tmp_path, "whole", point_clouds=object_array(clouds())).read_bytes()
    path = tmp_path / "a01_s01_e01_sdepth.npz"
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="a01_s01_e01.* cut off or damaged .* again"):
            depth_files.read_frames(path)
    # Damage inside a pickle, in an archive with matching checksums.
    stream = pickle.dumps(object_array(clouds(sizes=(2, 1))), protocol=4)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(stream[: rng.integers(1, len(stream) + 1)])
        changed[rng.integers(len(changed))] = rng.integers(256)
        try:
            depth_files.read_frames(write_pickle(path, bytes(changed), shape=(2,)))
        except InputError:
            refused += 1
    assert refused > 250


def test_wrong_contents_are_named_by_file_and_frame(tmp_path):
    def read(name, **arrays):
        return depth_files.read_frames(write(tmp_path, name, **arrays))

    with pytest.raises(InputError, match="a_sdepth.npz holds joints, expected 'point_clouds'"):
        read("a", joints=np.zeros(3))
    with pytest.raises(InputError, match="b_sdepth.npz, frame 1 has no points"):
        read("b", point_clouds=object_array(clouds(sizes=(3, 0, 2))))
    with pytest.raises(InputError, match=r"c_sdepth.npz, frame 0 has shape \(5, 2\)"):
        read("c", point_clouds=object_array([np.zeros((5, 2)), np.zeros((4, 2))]))
    with pytest.raises(InputError, match="d_sdepth.npz has no frames"):
        read("d", point_clouds=object_array([]))
    with pytest.raises(InputError, match="e_sdepth.npz .*frame_sizes add up to 9, there are 5"):
        read("e", points=np.zeros((5, 3)), frame_sizes=[4, 5])
    with pytest.raises(InputError, match="does not exist"):
        depth_files.read_frames(tmp_path / "none.npz")
    with pytest.raises(InputError, match="f_sdepth.npz .*single value"):
        read("f", point_clouds=np.float32(3))
    with pytest.raises(InputError, match="g_sdepth.npz is cut off or damaged .*inhomogeneous"):
        read("g", point_clouds=object_array([[[1, 2, 3], [4, 5]], [[1, 2, 3]]]))
    with pytest.raises(InputError, match="h_sdepth.npz .*frame_sizes must be a vector of counts"):
        read("h", points=np.zeros((5, 3)), frame_sizes=[2.0, 3.0])
    (tmp_path / "folder_sdepth.npz").mkdir()
    with pytest.raises(InputError, match="folder_sdepth.npz is a folder, expected a file"):
        depth_files.read_frames(tmp_path / "folder_sdepth.npz")


# --- the builder, variant "depth" ----------------------------------------------------------------


def test_depth_videos_keep_points_units_labels_and_split(tmp_path):
    folder = tmp_path / "data"
    expected = {
        name: clouds(seed)
        for seed, name in enumerate(("a01_s01_e01", "a20_s05_e02", "a13_s06_e03"))
    }
    for name, frames in expected.items():
        write(folder / "sub", name, point_clouds=object_array(frames))
    (folder / "readme_sdepth.npz").write_bytes(b"not a recording")
    builder = build(tmp_path, folder, partial=True)
    train, test = videos(builder, "train"), videos(builder, "test")
    assert (set(train), set(test)) == ({"a01_s01_e01", "a20_s05_e02"}, {"a13_s06_e03"})
    for name, video in (train | test).items():
        np.testing.assert_array_equal(video["points"], np.concatenate(expected[name]))
        np.testing.assert_array_equal(video["frame_sizes"], [5, 9, 1])
        assert int(video["label"]) == int(name[1:3]) - 1
        assert video["subject"].decode() == str(int(name[5:7]))
    features: Any = builder.info.features
    assert schema.label_names(features)[12] == "bend"
    assert len(Builder.source_files(folder)) == 3


def test_the_published_counts_are_asserted(tmp_path):
    names = [
        f"a{action:02d}_s{subject:02d}_e{trial:02d}"
        for subject in range(1, 11)
        for action in range(1, 21)
        for trial in (1, 2, 3)
    ]
    names = names[:270] + names[300:597]
    points = np.ones((2, 3), np.float32)
    for name in names:
        write(tmp_path / "data", name, points=points, frame_sizes=np.array([1, 1]))
    builder = build(tmp_path, tmp_path / "data")
    assert (len(videos(builder, "train")), len(videos(builder, "test"))) == (270, 297)
    (tmp_path / "data" / f"{names[400]}_sdepth.npz").unlink()
    with pytest.raises(
        InputError, match="270 training and 296 test .* 270 and 297; .*partial=True"
    ):
        build(tmp_path / "again", tmp_path / "data")


def test_missing_folders_and_strange_files_are_explained(tmp_path):
    for config in ("depth", "skeleton"):
        with pytest.raises(InputError, match="nowhere.* does not exist or is empty.*Li, Zhang"):
            build(tmp_path, tmp_path / "nowhere", config)
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(InputError, match="does not exist or is empty"):
        build(tmp_path, folder)
    (folder / "notes.txt").write_text("no data")
    with pytest.raises(InputError, match="no file aXX_sYY_eZZ_sdepth.npz.*MeteorNet"):
        build(tmp_path, folder)
    with pytest.raises(InputError, match="no skeletons.*skeleton3D.txt"):
        build(tmp_path, folder, "skeleton")
    path = write(folder, "a21_s01_e01", point_clouds=object_array(clouds()))
    with pytest.raises(
        InputError, match="a21_s01_e01.*action 21, subject 1 is not in MSR-Action3D"
    ):
        build(tmp_path, folder)
    path.rename(folder / "a02_s01_e01_sdepth.npz")
    write(folder / "copy", "a02_s01_e01", point_clouds=object_array(clouds()))
    with pytest.raises(InputError, match="same recording; remove one"):
        build(tmp_path, folder)
    with pytest.raises(InputError, match="Unknown variant 'color'"):
        MSRAction3DConfig(name="mine", variant="color")


def test_a_damaged_file_in_the_tree_stops_the_build_with_its_name(tmp_path):
    folder = tmp_path / "data"
    write(folder, "a01_s01_e01", point_clouds=object_array(clouds()))
    path = write(folder, "a02_s01_e01", point_clouds=object_array(clouds()))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="a02_s01_e01_sdepth.npz is cut off or damaged"):
        build(tmp_path, folder, partial=True)


# --- the builder, variant "skeleton" -------------------------------------------------------------

NUMBERS = [skeletons._JOINT_NUMBERS[name] for name in figures.SKELETON]


def recorded(seed, frames, lost=()):
    """A figure as the tracker would report it: [T, 20, 4] in the data set's order of joints."""
    joints = np.ones((frames, 20, 4), np.float32)
    joints[:, NUMBERS, :3] = figures.animate("wave", figures.subject(1), seed, frames)[:, :20]
    joints[list(lost)] = 0.0
    return joints


def write_skeletons(folder, sequences):
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.array(list(sequences), np.int8)
    np.savez_compressed(
        folder / skeletons.PACKED_NAME,
        joints=np.concatenate(list(sequences.values())),
        seq_frames=np.array([len(part) for part in sequences.values()], np.int32),
        action=numbers[:, 0],
        subject=numbers[:, 1],
        trial=numbers[:, 2],
    )
    return folder


SEQUENCES = {
    (2, 3, 1): recorded(1, 6, lost=(0, 4)),
    (13, 9, 1): recorded(2, 4),
    (13, 9, 2): recorded(3, 5, lost=range(5)),
    (13, 9, 3): recorded(4, 9, lost=range(2, 9)),
}


def test_joints_are_numbered_along_the_published_bones():
    # The data set's bones, counted from 1: 20-3, 3-1-8-10-12, 3-2-9-11-13, 3-4-7, ...
    parents = [2, 2, 3, 6, 6, 6, -1, 0, 1, 7, 8, 9, 10, 4, 5, 13, 14, 15, 16, 2]
    assert sorted(NUMBERS) == list(range(20))
    chain = dict(zip(NUMBERS, [NUMBERS[p] if p >= 0 else -1 for p in bodies.CHAIN], strict=True))
    assert [chain[number] for number in range(20)] == parents


def test_skeletons_are_dressed_seen_from_the_sensor_and_cleaned(tmp_path):
    folder = write_skeletons(tmp_path / "data", SEQUENCES)
    config = MSRAction3DConfig(name="small", variant="skeleton", num_points=300, partial=True)
    builder = build(tmp_path, folder, config)
    train, test = videos(builder, "train"), videos(builder, "test")
    assert (set(train), set(test)) == ({"a02_s03_e01"}, {"a13_s09_e01"})
    video = train["a02_s03_e01"]
    np.testing.assert_array_equal(video["frame_sizes"], [300] * 4)
    assert (int(video["label"]), video["subject"]) == (1, b"3")
    # Frames 1, 2, 3, 5 of the recording, on the surface of the body and on its near side.
    frames = video["points"].reshape(4, 300, 3)
    for points, number in zip(frames, (1, 2, 3, 5), strict=True):
        body = figures.with_flesh(SEQUENCES[2, 3, 1][number, NUMBERS, :3])
        bones = np.flatnonzero(figures.PARENTS >= 0)
        start, along = body[figures.PARENTS[bones]], body[bones] - body[figures.PARENTS[bones]]
        offset = points[:, None] - start
        share = np.clip((offset * along).sum(-1) / np.square(along).sum(-1), 0, 1)
        distance = np.linalg.norm(offset - share[..., None] * along, axis=-1)
        depth = (distance / figures.RADII[bones]).min(1)
        np.testing.assert_allclose(depth, 1.0, atol=0.011)
        nearest = (distance / figures.RADII[bones]).argmin(1)
        axis = (start + share[..., None] * along)[np.arange(300), nearest]
        outward = ((points - axis) * points).sum(-1)
        # Where two capsules meet, the nearest may not be the one on which the point was drawn.
        assert np.mean(outward < 0) > 0.99, "the points face the sensor"
    again = build(tmp_path / "again", folder, config)
    np.testing.assert_array_equal(video["points"], videos(again, "train")["a02_s03_e01"]["points"])


def test_the_draw_of_a_frame_depends_on_recording_and_frame_number_only():
    key, still = protocol.Recording(1, 1, 1), np.repeat(recorded(0, 1)[..., :3], 3, axis=0)
    first, second, third = skeletons.dress_recording(key, still, 50)
    assert not np.array_equal(first, second)
    assert not np.array_equal(
        first, skeletons.dress_recording(protocol.Recording(1, 1, 2), still, 50)[0]
    )
    still[0] = 0.0  # The tracker lost the person: the other frames stay as they were.
    np.testing.assert_array_equal(skeletons.dress_recording(key, still, 50), [second, third])


def test_text_files_of_the_authors_give_the_same_as_the_pack(tmp_path):
    packed = skeletons.read_skeletons(write_skeletons(tmp_path / "pack", SEQUENCES))
    folder = tmp_path / "MSRAction3DSkeletonReal3D"
    folder.mkdir()
    for numbers, joints in SEQUENCES.items():
        name = protocol.Recording(*numbers).video_id
        np.savetxt(folder / f"{name}_skeleton3D.txt", joints.reshape(-1, 4), fmt="%.9g")
    text = skeletons.read_skeletons(tmp_path)
    assert list(packed) == list(text) == [protocol.Recording(2, 3, 1), protocol.Recording(13, 9, 1)]
    for key, joints in packed.items():
        np.testing.assert_array_equal(joints, text[key])
    with (folder / "a02_s03_e01_skeleton3D.txt").open("a") as file:
        file.write("1 2 3 1\n")
    with pytest.raises(InputError, match="a02_s03_e01.* has 121 lines of 4 .*twenty lines"):
        skeletons.read_skeletons(folder)


def test_text_files_in_other_encodings_and_odd_packs(tmp_path):
    joints = SEQUENCES[2, 3, 1]
    path = tmp_path / "A02_s03_e01_skeleton3D.TXT"
    np.savetxt(path, joints.reshape(-1, 4), fmt="%.9g", header="x y z confidence")
    path.write_bytes(path.read_text().replace("\n", "\r\n\r\n").encode("utf-16"))
    (key, read), *more = skeletons.read_skeletons(tmp_path).items()
    assert (key, more) == (protocol.Recording(2, 3, 1), [])
    np.testing.assert_array_equal(read, joints[..., :3])
    good = dict(joints=joints, seq_frames=[6], action=[1], subject=[1], trial=[1])
    for changes, sentence in (
        ({"action": np.int64(1)}, "real3d.npz: action must be a list of counts"),
        ({"seq_frames": np.array([-6])}, "real3d.npz: seq_frames must be a list of counts"),
        ({"subject": np.array(["a"])}, "real3d.npz: values of subject are <U1, expected integers"),
        ({"joints": np.full(joints.shape, "a")}, "real3d.npz: joints are <U1"),
        ({"joints": np.array([None], object)}, "real3d.npz is cut off or damaged .*pickle"),
    ):
        np.savez(tmp_path / "real3d.npz", **(good | changes))
        with pytest.raises(InputError, match=sentence):
            skeletons.read_skeletons(tmp_path)


def test_bad_packs_are_named(tmp_path):
    path = write_skeletons(tmp_path, SEQUENCES) / skeletons.PACKED_NAME
    with pytest.raises(InputError, match="holds 1 training and 1 test videos .* 270 and 295"):
        build(tmp_path, tmp_path, "skeleton")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="real3d.npz is cut off or damaged"):
        skeletons.read_skeletons(tmp_path)
    np.savez(path, joints=np.zeros((3, 20, 4)))
    with pytest.raises(InputError, match="lacks seq_frames, action, subject, trial"):
        skeletons.read_skeletons(tmp_path)
    write_skeletons(tmp_path, {(1, 1, 1): SEQUENCES[13, 9, 1] * np.nan})
    with pytest.raises(InputError, match="real3d.npz holds NaN"):
        skeletons.read_skeletons(tmp_path)
    write_skeletons(tmp_path, {(1, 1, 1): SEQUENCES[13, 9, 2]})
    with pytest.raises(InputError, match="a01_s01_e01: the tracker lost the person in every frame"):
        build(tmp_path, tmp_path, "skeleton", partial=True)


def test_the_real_skeletons_have_the_published_counts_and_bodies(shared_data):
    folder = shared_data / "msr_action3d_skeleton"
    if not folder.is_dir():
        pytest.skip(f"no skeletons at {folder}")
    found = skeletons.read_skeletons(folder)
    protocol.check_counts(found, "skeleton", folder)
    lost = {
        key: len(joints) - len(skeletons.tracked_frames(joints)) for key, joints in found.items()
    }
    assert sum(len(joints) for joints in found.values()) == 23_478 - 936 - 38
    assert sum(count > 0 for count in lost.values()) == 18
    assert sum(lost.values()) == 335
    assert lost[protocol.Recording(7, 4, 1)] > 0
    assert min(len(joints) - lost[key] for key, joints in found.items()) >= 9
    # A standing person, in meters, before the sensor, seen from the front.
    key = protocol.Recording(1, 1, 1)
    frames = skeletons.dress_recording(key, found[key][:3], 512)
    assert frames.shape == (3, 512, 3)
    np.testing.assert_array_equal(frames[2], skeletons.dress_recording(key, found[key], 512)[2])
    height, depth = np.ptp(frames[..., 1]), np.median(frames[..., 2])
    assert 1.4 < height < 2.1
    assert 2.2 < depth < 2.9
    assert depth < np.median(found[key][:3, :, 2]), "the near side of the body"
    names = skeletons._JOINT_NUMBERS
    for part in ("shoulder", "hip"):  # Facing the sensor, the left is at the larger x.
        left, right = (found[key][:, names[f"{part}_{side}"], 0] for side in ("left", "right"))
        assert (left > right).all()

"""SHREC'17 from small archives, of point files and of depth images: labels, meters, damage."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pointata_jax.data import schema
from pointata_jax.datasets.shrec17 import depth_videos, gestures
from pointata_jax.datasets.shrec17.gestures import Gesture
from pointata_jax.datasets.shrec17.shrec17_dataset_builder import Builder
from pointata_jax.errors import InputError
from tests.datasets import archives
from tests.datasets.archives import cut_off, videos

SPLITS = {
    "train": [Gesture(1, 1, 2, 1), Gesture(14, 2, 27, 5), Gesture(7, 2, 25, 3)],
    "test": [Gesture(1, 2, 5, 1), Gesture(9, 1, 28, 2)],
}
FOCAL = 463.889


def array(key, shape=(4, 6)):
    """Pixels and depths, and of them meters, as the public script computes them."""
    rng = np.random.default_rng([key.gesture, key.finger, key.subject, key.trial])
    made = np.zeros((*shape, 8), np.int64)
    made[..., 0] = rng.integers(100, 400, shape)
    made[..., 1] = rng.integers(200, 500, shape)
    made[..., 2] = rng.integers(300, 600, shape)
    made[..., 3] = np.arange(shape[0])[:, None]
    made[..., 4] = (made[..., 0] - 240) * made[..., 2] / FOCAL
    made[..., 5] = (made[..., 1] - 320) * made[..., 2] / FOCAL
    made[..., 6:] = made[..., 2:4]
    return made


def line(key, frames=76):
    numbers = (key.gesture, key.finger, key.subject, key.trial)
    labels = (key.gesture, 2 * (key.gesture - 1) + key.finger)
    return " ".join(str(number) for number in (*numbers, *labels, frames)) + " \n"


def write(folder, splits=SPLITS, **form):
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    for split, keys in splits.items():
        text = "".join(line(key) for key in keys)
        (folder / "lists" / f"{split}_gestures.txt").write_text(text)
        for key in keys:
            save(folder, key, array(key, **form))
    return folder


def save(folder, key, values):
    path = folder / "Processed_SHREC2017" / key.video_id / "pts_label.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def build(tmp_path, folder, config: Any = "labels28", **options):
    options = {"partial": True, "config": config} | options
    return archives.build(Builder, tmp_path, folder, **options)


@pytest.mark.parametrize(
    ("config", "labels"), [("labels14", (0, 13, 6)), ("labels28", (0, 27, 13))]
)
def test_labels_splits_and_meters(tmp_path, config, labels):
    builder = build(tmp_path, write(tmp_path / "raw"), config)
    train = videos(builder, "train")
    assert set(train) == {key.video_id for key in SPLITS["train"]}
    assert set(videos(builder, "test")) == {key.video_id for key in SPLITS["test"]}
    for key, label in zip(SPLITS["train"], labels, strict=True):
        video, made = train[key.video_id], array(key)
        assert (int(video["label"]), video["subject"].decode()) == (label, str(key.subject))
        assert video["frame_sizes"].tolist() == [6] * 4
        x, y, z = video["points"].reshape(4, 6, 3).transpose(2, 0, 1)
        np.testing.assert_allclose(z, made[..., 2] / 1000, atol=1e-6)
        # Right of the middle is positive, below it is negative; the files round to millimeters.
        np.testing.assert_allclose(x, (made[..., 1] - 320) * z / FOCAL, atol=1e-3)
        np.testing.assert_allclose(y, (240 - made[..., 0]) * z / FOCAL, atol=1e-3)
    names = schema.label_names(builder.info.features)
    assert (len(names), names[0].split(" (")[0]) == (int(config[6:]), "grab")


def test_points_without_depth_are_left_out_unless_as_published(tmp_path):
    folder, key = write(tmp_path / "raw"), SPLITS["train"][0]
    made = array(key)
    made[1, :, [2, 4, 5, 6]] = 0  # No hand was found in this frame …
    made[2, :4, [2, 4, 5, 6]] = 0  # … and half of one in this.
    save(folder, key, made)
    video = videos(build(tmp_path / "a", folder), "train")[key.video_id]
    assert video["frame_sizes"].tolist() == [6, 2, 6]
    assert video["points"][:, 2].min() > 0.1
    published = build(tmp_path / "b", folder, protocol="published")
    video = videos(published, "train")[key.video_id]
    row, column, depth = video["points"].reshape(4, 6, 3).transpose(2, 0, 1)
    np.testing.assert_allclose(row, (made[..., 0] - made[..., 0].mean()) / 120, atol=1e-5)
    np.testing.assert_allclose(column, (made[..., 1] - made[..., 1].mean()) / 160, atol=1e-5)
    expected = (made[..., 2] - made[..., 2].mean()) / made[..., 2].std()
    np.testing.assert_allclose(depth, expected, atol=1e-5)
    save(folder, key, made * [1, 1, 0, 1, 0, 0, 0, 1])
    with pytest.raises(InputError, match="essai_1/pts_label.npy has no point with a depth in any"):
        build(tmp_path / "c", folder)


def all_gestures():
    return [
        Gesture(gesture, finger, subject, trial)
        for gesture in range(1, 15)
        for finger in (1, 2)
        for subject in range(1, 29)
        for trial in range(1, 6)
    ]


def test_the_published_counts_are_asserted(tmp_path):
    keys = all_gestures()
    for split, part in (("train", keys[:1960]), ("test", keys[1960:2800])):
        (tmp_path / f"{split}_gestures.txt").write_text("".join(line(key) for key in part))
    splits = gestures.read_splits(tmp_path)
    assert {split: len(part) for split, part in splits.items()} == {"train": 1960, "test": 840}
    with pytest.raises(InputError, match="1960 of the 1960 train gestures have no pts_label.npy"):
        gestures.present_gestures(splits, {})
    with pytest.raises(InputError, match="name 3 training and 2 test .* published ones 1960 and"):
        build(tmp_path, write(tmp_path / "raw"), partial=False)
    with pytest.raises(InputError, match=r"has shape \(4, 6, 8\), expected \(32, 256, 8\)"):
        gestures.read_array(save(tmp_path, keys[0], array(keys[0])))


def test_a_partial_copy_uses_what_is_there(tmp_path):
    folder = write(tmp_path / "raw")
    (folder / "Processed_SHREC2017" / SPLITS["train"][1].video_id / "pts_label.npy").unlink()
    with pytest.warns(UserWarning, match="1 of the 3 train gestures have no .* were left out"):
        train = videos(build(tmp_path, folder), "train")
    assert len(train) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 1 2 1 1 1\n", "line 1 is not of the form"),
        ("1 1 2 one 1 1 76\n", "line 1 is not of the form"),
        ("15 1 2 1 15 29 76\n", "gesture_15/finger_1/subject_2/essai_1 does not exist"),
        ("1 1 29 1 1 1 76\n", "does not exist, there are 14 gestures, 2 ways and 28 subjects"),
        ("1 1 2 1 1 3 76\n", "labels 1 and 3 are not those of gesture_1/finger_1/.*, 1 and 1"),
        ("1 1 2 1 1 1 0\n", "line 1: gesture_1/finger_1/subject_2/essai_1 has 0 frames there"),
        (line(SPLITS["train"][0]) * 2, "line 2 lists gesture_1/finger_1/subject_2/essai_1 a sec"),
        (line(SPLITS["test"][0]), "Both lists in .* name gesture_1/finger_2/subject_5/essai_1"),
    ],
)
def test_bad_lists_are_named(tmp_path, text, sentence):
    folder = write(tmp_path / "raw")
    (folder / "lists" / "train_gestures.txt").write_text(text)
    with pytest.raises(InputError, match=sentence):
        build(tmp_path, folder)


def test_missing_lists_and_doubled_files_are_named(tmp_path):
    folder = write(tmp_path / "raw")
    key = SPLITS["train"][0]
    copy = folder / "copy" / key.video_id / "pts_label.npy"
    copy.parent.mkdir(parents=True)
    np.save(copy, array(key))
    with pytest.raises(InputError, match="are the same gesture; remove one"):
        build(tmp_path, folder)
    (folder / "lists" / "test_gestures.txt").unlink()
    with pytest.raises(InputError, match="lacks test_gestures.txt; one is needed. Expected there"):
        build(tmp_path, folder)
    with pytest.raises(InputError, match="no data folder. Expected there"):
        build(tmp_path, tmp_path / "nowhere")
    with pytest.raises(InputError, match="14 or 28 classes, not 15"):
        Builder.BUILDER_CONFIGS[0].__class__(name="x", num_classes=15)


def test_bad_files_are_named(tmp_path):
    folder, key = write(tmp_path / "raw"), SPLITS["train"][0]
    path = save(folder, key, array(key))
    for _ in cut_off(path, 40):
        with pytest.raises(InputError, match="pts_label.npy is cut off or damaged"):
            build(tmp_path, folder)
    for values, sentence in (
        (array(key)[..., :7], r"has shape \(4, 6, 7\)"),
        (array(key).astype(float), "its values are float64, expected integers"),
        (-array(key), "negative depths"),
        (np.array([{}], object), "cut off or damaged .*allow_pickle"),
    ):
        np.save(path, values)
        with pytest.raises(InputError, match=sentence):
            build(tmp_path, folder)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


LENGTHS = {Gesture(1, 1, 2, 1): 70, Gesture(14, 2, 27, 5): 20, Gesture(1, 2, 5, 1): 33}
EMPTY, SMALL = 0, 18  # Frames without a hand, and with a hand of 64 pixels.


def box(frame):
    """x, y, width, height."""
    return 200 + frame, 100 + 2 * frame, 50, 60


def depth_image(frame):
    """A hand at the box's upper border that a slit parts in two, and other things in and around it.

    The lower blob is larger than either part; the one on the right touches the hand by a corner.
    """
    image = np.full((480, 640), 800, np.uint16)
    x, y, width, height = box(frame)
    crop = image[y : y + height, x : x + width]
    crop[:] = 0
    if frame == EMPTY:
        return image
    slope = 300 + 3 * frame + np.add.outer(np.arange(height), np.arange(width))
    if frame == SMALL:
        crop[20:28, 20:28] = slope[20:28, 20:28]
        return image
    for rows, columns in (((0, 24), (4, 24)), ((46, 60), (28, 48)), ((24, 34), (24, 34))):
        crop[slice(*rows), slice(*columns)] = slope[slice(*rows), slice(*columns)]
    crop[11:15, :24] = 0
    crop[5, 10], crop[20, 12] = 0, 5000  # Single pixels, which the median removes.
    return image


def write_depth_videos(folder, lengths=LENGTHS):
    image = pytest.importorskip("PIL.Image", reason="depth images are read with Pillow")
    (folder / "raw").mkdir(parents=True)
    for split in ("train", "test"):
        keys = [key for key in lengths if (key.subject == 5) == (split == "test")]
        text = "".join(line(key, lengths[key]) for key in keys)
        (folder / "raw" / f"{split}_gestures.txt").write_text(text)
    for key, length in lengths.items():
        path = folder / "raw" / key.video_id
        path.mkdir(parents=True)
        for frame in range(length):
            image.fromarray(depth_image(frame)).save(path / f"{frame}_depth.png")
        lines = (f"{1e15 + frame:.7e} " + " ".join(map(str, box(frame))) for frame in range(length))
        (path / "general_informations.txt").write_text("\n".join(lines) + "\n")
    return folder


def listed(key):
    return Gesture(key.gesture, key.finger, key.subject, key.trial, frames=LENGTHS[key])


def expected_pixels(image, x, y, width, height):
    """Depth by row and column of the hand's pixels, as a restatement in loops over windows."""

    def windows(values, size, **pad):
        padded = np.pad(values, size // 2, **pad)
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size))

    crop = np.median(windows(image[y : y + height, x : x + width], 3, mode="edge"), axis=(2, 3))
    closed = windows(crop > 0, 7, constant_values=False).any(axis=(2, 3))
    closed = windows(closed, 7, constant_values=True).all(axis=(2, 3))
    left = set(map(tuple, np.argwhere(closed).tolist()))
    largest = set()
    while left:
        component = {left.pop()}
        grown = set(component)
        while grown:
            near = {(r + i, c + j) for r, c in grown for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))}
            grown = near & left
            left -= grown
            component |= grown
        largest = max(largest, component, key=len)
    return {(r + y, c + x): crop[r, c] for r, c in largest if crop[r, c]}


def test_the_test_images_have_a_slit_to_close_and_blobs_to_leave_out():
    x, y, *_ = box(1)
    pixels = expected_pixels(depth_image(1), *box(1))
    assert 380 < len(pixels) <= 20 * 20
    rows, columns = np.transpose(list(pixels)) - [[y], [x]]
    assert rows.min() == 0
    assert {10, 15, 23} <= set(rows)
    assert not {12, 24, 50} & set(rows)
    assert len(expected_pixels(depth_image(SMALL), *box(SMALL))) == 60


@pytest.mark.parametrize("seed", range(8))
def test_hand_pixels_of_arbitrary_images(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 900, (40, 48)) * (rng.random((40, 48)) < (0.36, 0.5)[seed % 2])
    x, y, width, height = (5, 7, 30, 28) if seed else (0, 0, 48, 40)
    found = depth_videos.hand_pixels(image, np.array([y, x, y + height, x + width]))
    expected = expected_pixels(image, x, y, width, height)
    assert 10 < len(expected) < 0.9 * width * height
    assert {(r, c): depth for r, c, depth in found.tolist()} == expected


def test_depth_videos_become_the_arrays_of_point_files(tmp_path):
    folder = write_depth_videos(tmp_path)
    for key, length in LENGTHS.items():
        path = folder / "raw" / key.video_id
        made = depth_videos.read_video(path, listed(key))
        assert made.shape == (32, 256, 8)
        assert made.dtype.kind == "i"
        np.testing.assert_array_equal(made, depth_videos.read_video(path, listed(key)))
        for time, points in enumerate(made.tolist()):
            frame = int(time * length / 32)
            if frame == EMPTY:
                x, y, *_ = box(frame)
                assert points == [[y, x, 0, 0, 0, 0, 0, 0]] * 256
                continue
            pixels = expected_pixels(depth_image(frame), *box(frame))
            drawn = {(row, column): depth for row, column, depth, *_ in points}
            assert drawn.items() <= pixels.items()
            assert len(drawn) == 256 if len(pixels) >= 256 else 40 < len(drawn) <= len(pixels)
            last = sorted(pixels)[-len(pixels) // 10 :]
            assert drawn.keys() & set(last)  # Drawn from the whole hand, not from its first rows.
            for row, column, depth, t, down, right, away, again in points:
                assert down == int((row - 240) * depth / FOCAL)
                assert right == int((column - 320) * depth / FOCAL)
                assert (away, t, again) == (depth, time, time)
        again = depth_videos.read_video(path, dataclasses.replace(listed(key), trial=9))
        assert (again != made).any()  # Another name draws other pixels.


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_both_sources_make_the_same_videos(tmp_path, protocol):
    folder = write_depth_videos(tmp_path / "a")
    copy = tmp_path / "b" / "raw"
    copy.mkdir(parents=True)
    for path in (folder / "raw").glob("*.txt"):
        (copy / path.name).write_text(path.read_text())
    for key in LENGTHS:
        made = depth_videos.read_video(folder / "raw" / key.video_id, listed(key))
        save(copy, key, made)
    ours = build(tmp_path / "c", folder, protocol=protocol)
    other = build(tmp_path / "d", copy, protocol=protocol)
    for split, count in (("train", 2), ("test", 1)):
        left, right = videos(ours, split), videos(other, split)
        assert left.keys() == right.keys()
        assert len(left) == count
        for name, video in left.items():
            for field in ("points", "frame_sizes", "label"):
                np.testing.assert_array_equal(video[field], right[name][field])
    lengths = {name: len(video["frame_sizes"]) for name, video in videos(ours, "train").items()}
    dropped = protocol == "corrected"  # One key frame of 70 shows no hand, two of 20.
    assert sorted(lengths.values()) == ([30, 31] if dropped else [32, 32])


def test_point_files_are_taken_before_depth_videos(tmp_path):
    folder, (key, other, _) = write_depth_videos(tmp_path / "a"), LENGTHS
    assert set(Builder.source_files(folder)) == {
        *(folder / "raw").glob("*.txt"),
        *(folder / "raw" / key.video_id for key in LENGTHS),
    }
    saved = save(
        folder, key, array(key)
    )  # Beside the videos, in the folder of the script's output.
    inside = folder / "raw" / other.video_id / "pts_label.npy"
    np.save(inside, array(other))
    assert {saved, inside} < set(Builder.source_files(folder))
    found = gestures.find_files(folder)
    assert (found[key.video_id], found[other.video_id], len(found)) == (saved, inside, 3)
    train = videos(build(tmp_path, folder), "train")
    assert [train[k.video_id]["frame_sizes"].tolist() for k in (key, other)] == [[6] * 4] * 2
    copy = folder / "copy" / key.video_id
    copy.mkdir(parents=True)
    (copy / "0_depth.png").write_bytes(b"")
    with pytest.raises(InputError, match="are the same gesture; remove one"):
        gestures.find_files(folder)


def test_bad_depth_videos_are_named(tmp_path):
    key = Gesture(1, 1, 2, 1)
    folder = write_depth_videos(tmp_path / "data", {key: 4})
    image = pytest.importorskip("PIL.Image", reason="depth images are read with Pillow")
    path = folder / "raw" / key.video_id
    boxes, third = path / "general_informations.txt", path / "2_depth.png"
    text, whole = boxes.read_text(), third.read_bytes()

    def fails(sentence):
        with pytest.raises(InputError, match=sentence):
            build(tmp_path, folder)

    for bad in ("1 2 3 4", "1 2 3 4 5 6", "1 2 x 4 5", "1 2 nan 4 5", "1,2,3,4,5"):
        boxes.write_text(text.replace(text.splitlines()[2], bad))
        fails("essai_1/general_informations.txt, line 3 is not of the form 'timestamp x y width h")
    boxes.write_text("".join(text.splitlines(True)[:3]))
    fails("general_informations.txt has 3 lines, the gesture's list says 4 frames; it is cut off")
    boxes.write_text("0 700 500 20 20\n0 -40 -40 20 20\n0 3 3 0 0\n0 3 3 -9 -9\n")
    fails("essai_1 shows nothing inside the boxes of general_informations.txt in any key frame")
    boxes.unlink()
    fails("general_informations.txt, which holds the hand's boxes, does not exist")
    boxes.write_text(text)
    for _ in cut_off(third, 40):
        fails("2_depth.png is cut off or damaged")
    for shape, dtype, sentence in (
        ((480, 640), np.uint8, "2_depth.png is of mode L, expected 16 bits"),
        ((240, 320), np.uint16, "2_depth.png has 320 x 240 pixels, expected 640 x 480"),
    ):
        image.fromarray(np.ones(shape, dtype)).save(third)
        fails(sentence)
    third.unlink()
    fails(r"essai_1 has 3 images \*_depth.png, its list says 4; the video is cut off")
    (path / "9_depth.png").write_bytes(whole)
    fails("2_depth.png does not exist; unpack it again")
    third.write_bytes(whole)
    boxes.write_text(text.replace(" 201 101 ", " -5 470 "))  # A box beyond the border is valid.
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))
    assert len(videos(build(tmp_path, folder), "train")) == 1


def test_links_hidden_files_second_lists_and_marks(tmp_path):
    folder = write(tmp_path / "raw")
    (folder / "Processed_SHREC2017").rename(tmp_path / "store")
    (folder / "Processed_SHREC2017").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "gesture_1" / "._pts_label.npy").write_bytes(b"\0")
    listed = folder / "lists" / "train_gestures.txt"
    (folder / "copy").mkdir()
    content = listed.read_bytes().replace(b"\n", b"\r\n\r\n")
    (folder / "copy" / "train_gestures.txt").write_bytes(b"\xef\xbb\xbf" + content)
    assert gestures.read_splits(folder, partial=True) == SPLITS
    with pytest.warns(UserWarning, match="hidden entries: 1, such as Processed_SHREC2017/gesture"):
        assert len(gestures.find_files(folder)) == 5
    (folder / "copy" / "train_gestures.txt").write_bytes(content[:30])
    with pytest.raises(InputError, match="holds 2 files train_gestures.txt|is not of the form"):
        gestures.read_splits(folder, partial=True)


def test_hidden_images_do_not_count_as_frames(tmp_path):
    key = Gesture(1, 1, 2, 1)
    folder = write_depth_videos(tmp_path / "download", {key: 4})
    path = folder / "raw" / key.video_id
    (path / "2_depth.png").unlink()
    (path / "._0_depth.png").write_bytes(b"\0")
    with pytest.raises(InputError, match="has 3 images .*_depth.png, its list says 4"):
        depth_videos.read_video(path, dataclasses.replace(key, frames=4))


def test_meters_are_computed_in_float64():
    made = array(SPLITS["train"][0]).astype(np.int16)
    frames = np.concatenate(gestures.metric_frames(made, "x")).reshape(-1, 3)
    wanted = made.reshape(-1, 8)[:, [5, 4, 6]].astype(np.float64) / [1000, -1000, 1000]
    np.testing.assert_array_equal(frames, wanted.astype(np.float32))

"""SHREC'17 from small archives in PointLSTM's layout: lists, labels, metres, damage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.data.shrec17 import gestures
from pointata_jax.data.shrec17.gestures import Gesture
from pointata_jax.data.shrec17.shrec17_dataset_builder import Builder
from pointata_jax.errors import InputError

SPLITS = {
    "train": [Gesture(1, 1, 2, 1), Gesture(14, 2, 27, 5), Gesture(7, 2, 25, 3)],
    "test": [Gesture(1, 2, 5, 1), Gesture(9, 1, 28, 2)],
}
FOCAL = 463.889


def array(key, shape=(4, 6)):
    """Pixels and depths, and of them metres, as the public script computes them."""
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
    options = {"partial": True} | options
    builder = Builder(data_dir=tmp_path / "tfds", config=config, **options)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=str(folder), try_download_gcs=False)
    )
    return builder


def videos(builder, split):
    return {video["video_id"].decode(): video for video in builder.as_data_source(split)}


@pytest.mark.parametrize(
    ("config", "labels"), [("labels14", (0, 13, 6)), ("labels28", (0, 27, 13))]
)
def test_labels_splits_and_metres(tmp_path, config, labels):
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
        # Right of the middle is positive, below it is negative; the files round to millimetres.
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
    assert len(videos(build(tmp_path, folder), "train")) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 1 2 1 1 1\n", "line 1 is not of the form"),
        ("1 1 2 one 1 1 76\n", "line 1 is not of the form"),
        ("15 1 2 1 15 29 76\n", "gesture_15/finger_1/subject_2/essai_1 does not exist"),
        ("1 1 29 1 1 1 76\n", "does not exist, there are 14 gestures, 2 ways and 28 subjects"),
        ("1 1 2 1 1 3 76\n", "labels 1 and 3 are not those of gesture_1/finger_1/.*, 1 and 1"),
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
    with pytest.raises(InputError, match="are the same gesture; remove one"):
        key = SPLITS["train"][0]
        copy = folder / "copy" / key.video_id / "pts_label.npy"
        copy.parent.mkdir(parents=True)
        np.save(copy, array(key))
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
    whole = save(folder, key, array(key)).read_bytes()
    path = folder / "Processed_SHREC2017" / key.video_id / "pts_label.npy"
    for size in (0, 40, len(whole) // 2):
        path.write_bytes(whole[:size])
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

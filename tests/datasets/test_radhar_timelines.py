"""Joined recordings: exact labels, no mixed frame, no recording on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.datasets.radhar import recordings as radhar
from pointata_jax.datasets.radhar_timelines import joining
from pointata_jax.datasets.radhar_timelines import radhar_timelines_dataset_builder as timelines
from pointata_jax.errors import InputError
from tests.datasets.archives import build, write_radhar

CONFIG = timelines.RadHARTimelinesConfig(
    name="small",
    description="for tests",
    num_frames=8,
    frame_merge=2,
    shortest=2,
    longest=4,
    train_rounds=2,
    groups=2,
)
LENGTHS = {"num_frames": 8, "frame_merge": 2, "shortest": 2, "longest": 4}


def make_recording(split, label, number, frames=21):
    """Every point says where it comes from: recording, radar frame, and place in the frame."""
    sizes = np.random.default_rng((label, number)).integers(1, 4, frames).astype(np.int32)
    code = 100 * label + 10 * number + (5 if split == "test" else 0)
    frame = np.repeat(np.arange(frames), sizes)
    place = np.arange(sizes.sum())
    points = np.stack([np.full(len(frame), code), frame, place, frame * 0, frame * 0], axis=1)
    name = f"{radhar.CLASSES[label]}_{number}"
    return radhar.Recording(split, label, name, points.astype(np.float32), sizes)


def make_recordings(per_class=4):
    return [
        make_recording(split, label, number)
        for split in ("train", "test")
        for label in range(5)
        for number in range(per_class)
    ]


def prepare(folder, tmp_path, config=CONFIG, partial=True):
    return build(timelines.Builder, tmp_path, folder, config=config, partial=partial)


def by_frame(video):
    points = np.split(video["points"], np.cumsum(video["frame_sizes"])[:-1])
    return list(zip(points, video["frame_labels"], strict=True))


def test_frames_are_whole_neighbors_of_one_recording_with_its_label(tmp_path):
    recordings = make_recordings()
    builder = prepare(write_radhar(tmp_path / "raw", recordings), tmp_path)
    sizes = {int(r.points[0, 0]): r.frame_sizes for r in recordings}
    codes = {}
    for split in ("train", "test"):
        videos = list(builder.as_data_source(split))
        assert len({v["video_id"] for v in videos}) == len(videos) > 5
        for video in videos:
            frames = by_frame(video)
            assert len(frames) == 8
            for points, label in frames:
                (code,) = set(points[:, 0].astype(int))
                first, second = sorted(set(points[:, 1].astype(int)))
                assert second == first + 1, "two neighboring radar frames"
                assert len(points) == sizes[code][[first, second]].sum(), "all of their points"
                assert label == code // 100
                codes.setdefault(split, {}).setdefault(video["subject"], set()).add(code)
    train, test = codes["train"], codes["test"]
    assert set(train) == {b"0", b"1"}
    assert set(test) == {b"test"}
    assert not train[b"0"] & train[b"1"], "groups share no recording"
    assert all(code % 10 < 5 for group in train.values() for code in group)
    assert all(code % 10 >= 5 for code in test[b"test"])


def test_a_plan_uses_no_frame_twice_and_never_repeats_an_activity():
    recordings = [make_recording("train", label, n) for label in range(5) for n in range(3)]
    videos = list(joining.plan(recordings, np.random.default_rng(0), **LENGTHS))
    used = set()
    for pieces in videos:
        assert sum(piece.num_frames for piece in pieces) == 8
        assert all(2 <= piece.num_frames <= 4 for piece in pieces)
        labels = [recordings[piece.recording].label for piece in pieces]
        assert all(a != b for a, b in zip(labels, labels[1:], strict=False))
        for piece in pieces:
            stop = piece.start + 2 * piece.num_frames
            assert stop <= 21
            frames = {(piece.recording, frame) for frame in range(piece.start, stop)}
            assert not frames & used
            used |= frames
    assert len(used) > 0.7 * 15 * 21, "little is left over"
    again = list(joining.plan(recordings, np.random.default_rng(0), **LENGTHS))
    other = list(joining.plan(recordings, np.random.default_rng(1), **LENGTHS))
    assert again == videos != other


def test_groups_are_even_and_depend_on_names_only():
    recordings = [r for r in make_recordings(5) if r.split == "train"]
    assigned = joining.groups(recordings, 5, seed=0)
    for group in range(5):
        labels = [r.label for r, g in zip(recordings, assigned, strict=True) if g == group]
        assert sorted(labels) == list(range(5))
    order = np.random.default_rng(0).permutation(len(recordings))
    shuffled = joining.groups([recordings[i] for i in order], 5, seed=0)
    np.testing.assert_array_equal(shuffled, assigned[order])


def test_too_little_to_join_is_a_sentence(tmp_path):
    few = [make_recording(split, 0, 0) for split in ("train", "test")]
    with pytest.raises(InputError, match="1 recordings of a split of RadHAR are too few"):
        prepare(write_radhar(tmp_path / "raw", few), tmp_path)
    with pytest.raises(InputError, match="cannot be made of pieces of 3 to 4 frames"):
        list(joining.plan(few, np.random.default_rng(0), **(LENGTHS | {"shortest": 3})))


def test_damaged_input_is_named_as_for_radhar(tmp_path):
    folder = write_radhar(tmp_path / "raw", make_recordings())
    with pytest.raises(InputError, match="train split has 20 recordings"):
        prepare(folder, tmp_path, partial=False)
    packed = folder / "radhar.npz"
    packed.write_bytes(packed.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"radhar\.npz cannot be read"):
        prepare(folder, tmp_path)
    write_radhar(folder, make_recordings(), seq_label=np.zeros(40))
    with pytest.raises(InputError, match="values of seq_label are float64, expected integers"):
        prepare(folder, tmp_path)
    labels = np.array([r.label for r in make_recordings()], np.int8)
    labels[3] = 7
    write_radhar(folder, make_recordings(), seq_label=labels)
    with pytest.raises(InputError, match=r"radhar\.npz: label 7 is outside 0\.\.4"):
        prepare(folder, tmp_path)


def test_the_real_pack(shared_data, tmp_path):
    standard = timelines.Builder.BUILDER_CONFIGS[0]
    builder = prepare(shared_data / "radhar_mmwave", tmp_path, standard, partial=False)
    counts = {split: builder.info.splits[split].num_examples for split in ("train", "test")}
    assert counts == {"train": 328, "test": 34}
    video = builder.as_data_source("test")[0]
    assert video["frame_labels"].shape == video["frame_sizes"].shape == (150,)
    assert video["frame_sizes"].min() > 50
    assert 90 < np.median(video["frame_sizes"]) < 130
    assert video["points"].shape[1] == 5
    seams = np.flatnonzero(np.diff(video["frame_labels"]))
    assert len(seams) >= 3
    assert np.diff(np.r_[-1, seams, 149]).min() >= 15

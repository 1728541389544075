"""Sources, training and evaluation batches, splits: order, determinism, resume, hosts, counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pointata_jax.data.clips import ClipConfig, clip_frames
from pointata_jax.data.pipeline import ClipSource, eval_batches, train_batches
from pointata_jax.data.schema import label_field
from pointata_jax.data.splits import hold_out_fraction, hold_out_subjects
from pointata_jax.data.videos import VideoSource, channel_statistics
from pointata_jax.datasets.registry import load_source
from pointata_jax.errors import InputError

LENGTHS = (5, 9, 4, 7, 3, 8)
CONFIG = ClipConfig(frames=2, frame_merge=2, stride=1, eval_stride=4, points=6, last_window="drop")
TRAIN_WINDOWS = 2 + 6 + 1 + 4 + 0 + 5
EVAL_WINDOWS = 1 + 2 + 1 + 1 + 0 + 2


class Records:
    """Records in memory that count how often each is read."""

    def __init__(self, lengths=LENGTHS, kind="clip"):
        rng = np.random.default_rng(0)
        self.reads = np.zeros(len(lengths), int)
        self.records = []
        for index, length in enumerate(lengths):
            sizes = rng.integers(3, 9, length).astype(np.int32)
            points = rng.normal(size=(sizes.sum(), 4)).astype(np.float32)
            labels = {
                "clip": index % 3,
                "frame": np.arange(length, dtype=np.int32) // 2 % 3,
                # The fourth column repeats the label, so that a test sees whether they stay paired.
                "point": np.arange(len(points), dtype=np.int32) % 3 - 1,
            }[kind]
            if kind == "point":
                points[:, 3] = labels
            self.records.append(
                {
                    "points": points,
                    "frame_sizes": sizes,
                    label_field(kind): labels,
                    "video_id": f"video{index}".encode(),
                    "subject": f"person{index // 2}".encode(),
                }
            )

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        self.reads[index] += 1
        return self.records[index]


def source(lengths=LENGTHS, kind="clip", **options):
    return VideoSource(
        Records(lengths, kind),
        columns=("x", "y", "z", "velocity"),
        label_names=("a", "b", "c"),
        name="toy (train)",
        **options,
    )


def same(first, second):
    return all(np.array_equal(first[key], second[key]) for key in first)


def test_counts_labels_and_subjects():
    videos = source()
    assert (videos.num_videos, videos.num_classes) == (6, 3)
    assert videos.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert videos.subjects == ("person0",) * 2 + ("person1",) * 2 + ("person2",) * 2
    assert videos.num_frames.tolist() == list(LENGTHS)
    training = ClipSource(videos, CONFIG, training=True)
    assert (training.num_windows, training.num_videos, training.num_short) == (TRAIN_WINDOWS, 5, 1)
    assert np.bincount(training.windows[:, 0], minlength=6).tolist() == [2, 6, 1, 4, 0, 5]
    assert training.subjects == ("person0", "person1", "person2")
    assert ClipSource(videos, CONFIG, training=False).num_windows == EVAL_WINDOWS


def test_the_cache_is_bounded_and_saves_reads():
    records = Records()
    size = max(r["points"].nbytes + 8 * len(r["frame_sizes"]) + 12 for r in records.records)

    def wrap(cache_bytes):
        return VideoSource(
            records,
            columns=("x", "y", "z", "velocity"),
            label_names=("a", "b", "c"),
            cache_bytes=cache_bytes,
        )

    videos = wrap(10**6)
    for _ in range(3):
        for index in range(6):
            videos.select([index])[0]
    assert records.reads.tolist() == [1] * 6
    small = wrap(2 * size)
    for _ in range(3):
        for index in range(6):
            expected = records.records[index]["points"]
            np.testing.assert_array_equal(small[index].points, expected)
    assert small._store._used_bytes <= 2 * size
    assert records.reads.max() > 2


def test_a_training_batch():
    batch = next(train_batches(source(), CONFIG, batch_size=4, seed=0))
    assert {key: (value.shape, value.dtype.name) for key, value in batch.items()} == {
        "points": ((4, 2, 6, 3), "float32"),
        "label": ((4,), "int32"),
        "video": ((4,), "int32"),
        "weight": ((4,), "float32"),
    }
    assert batch["weight"].tolist() == [1] * 4
    np.testing.assert_array_equal(batch["label"], batch["video"] % 3)


def windows_of(batches):
    """The videos of the rows of an epoch, and their points as bytes."""
    rows = [row for batch in batches for row in zip(batch["video"], batch["points"], strict=True)]
    return [int(video) for video, _ in rows], [points.tobytes() for _, points in rows]


def test_every_epoch_contains_every_window_once_in_another_order():
    videos = source()
    expected = sorted(ClipSource(videos, CONFIG, training=True).windows[:, 0])
    batches = list(train_batches(videos, CONFIG, batch_size=3, seed=5, epochs=2))
    assert len(batches) == 2 * TRAIN_WINDOWS // 3
    shown, points = windows_of(batches)
    first, second = shown[:TRAIN_WINDOWS], shown[TRAIN_WINDOWS:]
    assert sorted(first) == expected
    assert sorted(second) == expected
    assert first != second
    assert first != expected
    assert len(set(points)) == len(points)  # sampling and augmentation differ
    again, _ = windows_of(train_batches(videos, CONFIG, batch_size=3, seed=5, epochs=2))
    other, _ = windows_of(train_batches(videos, CONFIG, batch_size=3, seed=6, epochs=2))
    assert again == shown
    assert other != shown


@pytest.mark.parametrize("threads", [0, 2])
def test_a_saved_state_continues_bit_for_bit(threads):
    videos = source()
    options = dict(batch_size=4, seed=1, num_threads=threads)
    straight = train_batches(videos, CONFIG, **options)
    for _ in range(3):
        next(straight)
    state = json.loads(json.dumps(straight.get_state()))
    rest = [next(straight) for _ in range(9)]  # reaches into the second epoch
    resumed = train_batches(videos, CONFIG, **options)
    next(resumed)
    resumed.set_state(state)
    assert all(same(a, next(resumed)) for a in rest)


def test_two_hosts_share_the_batch_of_one():
    videos = source().select([0, 3, 5])  # 11 windows: the shares of the hosts differ in length
    whole = list(train_batches(videos, CONFIG, batch_size=4, seed=2, epochs=1))
    parts = [
        list(
            train_batches(
                videos, CONFIG, batch_size=4, seed=2, epochs=1, process_index=i, process_count=2
            )
        )
        for i in range(2)
    ]
    assert len(whole) == len(parts[0]) == len(parts[1]) == 2
    for batch, left, right in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(batch["points"][0::2], left["points"])
        np.testing.assert_array_equal(batch["points"][1::2], right["points"])


def test_evaluation_covers_every_window_once_and_pads_with_weight_zero():
    videos = source()
    batches = eval_batches(videos, CONFIG, 4)
    assert len(batches) == 2
    assert batches.source.num_windows == EVAL_WINDOWS == 7
    first, second = list(batches), list(batches)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    weight = np.concatenate([batch["weight"] for batch in first])
    video = np.concatenate([batch["video"] for batch in first])
    assert weight.tolist() == [1] * 7 + [0]
    assert video[weight > 0].tolist() == batches.source.windows[:, 0].tolist()
    points = np.concatenate([batch["points"] for batch in first])
    assert np.isfinite(points).all()
    assert np.linalg.norm(points, axis=-1).max() <= 1 + 1e-6
    hosts = [
        list(eval_batches(videos, CONFIG, 4, process_index=i, process_count=2)) for i in (0, 1)
    ]
    assert [len(host) for host in hosts] == [2, 2]
    counted = sum(batch["weight"].sum() for host in hosts for batch in host)
    assert counted == 7


def test_an_evaluation_clip_does_not_depend_on_the_other_videos():
    videos = source()
    alone = ClipSource(videos.select([3]), CONFIG, training=False).clip(0)
    together = ClipSource(videos, CONFIG, training=False)
    index = int(np.flatnonzero(together.windows[:, 0] == 3)[0])
    np.testing.assert_array_equal(alone["points"], together.clip(index)["points"])
    assert (alone["video"], alone["label"]) == (0, 0)


def test_labels_of_frames_follow_their_frames():
    videos = source(kind="frame")
    assert videos.kind == "frame"
    assert videos.labels is None
    config = ClipConfig(frames=4, points=6, eval_stride=4, short_clip_policy="repeat")
    clips = ClipSource(videos, config, training=False)
    # The last window is moved back to the end of the video, so that every frame is scored.
    assert clips.windows[:, 1].tolist() == [0, 1, 0, 4, 5, 0, 0, 3, 0, 0, 4]
    row = clips.clip(1)  # frames 1..4 of a video labeled 0 0 1 1 2
    assert row["frame"].tolist() == [1, 2, 3, 4]
    assert row["label"].tolist() == [0, 1, 1, 2]
    repeated = clips.clip(8)  # a video of three frames
    assert repeated["frame"].tolist() == [0, 0, 1, 2]
    assert repeated["label"].tolist() == [0, 0, 0, 1]
    batch = next(train_batches(videos, config, batch_size=2, seed=0))
    assert batch["label"].shape == batch["frame"].shape == (2, 4)
    assert len(hold_out_fraction(videos, 0.3)[1]) == 2


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
@pytest.mark.parametrize("training", [True, False])
def test_every_frame_of_every_video_is_in_a_clip(kind, training):
    videos = source(kind=kind)
    for frames, stride in ((2, 1), (3, 2), (4, 9), (5, 5)):
        config = ClipConfig(
            frames=frames, stride=stride, eval_stride=stride, points=6, short_clip_policy="repeat"
        )
        windows = ClipSource(videos, config, training=training).windows
        for video, length in enumerate(LENGTHS):
            starts = windows[windows[:, 0] == video, 1]
            frames_seen = [clip_frames(length, int(s), config).reshape(-1) for s in starts]
            assert set(np.concatenate(frames_seen)) == set(range(length))


def test_classes_are_matched_by_name():
    videos = source()
    other = videos.with_classes(("c", "x", "a", "b"))
    assert (other.num_classes, other.labels.tolist()) == (4, [2, 3, 0, 2, 3, 0])
    assert other[1].labels == 3
    assert other.present_labels == (0, 2, 3)
    assert other.select([1, 2]).labels.tolist() == [3, 0]
    assert other.with_classes(("x", "c", "b", "a")).labels.tolist() == [3, 2, 1, 3, 2, 1]
    frames = source(kind="frame")
    swapped = frames.with_classes(("b", "a", "c"))
    before, after = frames[1].labels, swapped[1].labels
    np.testing.assert_array_equal(after, np.array([1, 0, 2, -1])[before])
    with pytest.raises(InputError, match="1 classes that are not known here, 'c'; .* 'a', 'b'"):
        videos.with_classes(("a", "b"))


def test_digests_distinguish_content_and_labels():
    videos = source()
    before = videos.digests
    assert len(set(before.values())) == len(videos) == len(before)
    assert videos.select([3, 1]).digests == {name: before[name] for name in ("video3", "video1")}
    assert source().digests == before
    records = Records()
    records.records[2]["points"] = records.records[2]["points"] + np.float32(1e-3)
    records.records[4]["label"] = 0
    changed = VideoSource(
        records, columns=("x", "y", "z", "velocity"), label_names=("a", "b", "c")
    ).digests
    differ = [name for name in before if changed[name] != before[name]]
    assert differ == ["video2", "video4"]
    assert changed["video2"][:16] != before["video2"][:16]
    assert changed["video4"][:16] == before["video4"][:16]


def test_a_damaged_or_older_index_is_replaced(tmp_path):
    path = tmp_path / "index.npz"
    expected = source(index_path=path).digests
    with np.load(path) as file:
        stored = dict(file)
    for content in (b"", b"PK\x03\x04 and no more"):
        path.write_bytes(content)
        assert source(index_path=path).digests == expected
    np.savez(path, **{name: array for name, array in stored.items() if name != "digests"})
    assert source(index_path=path).digests == expected
    with np.load(path) as file:
        assert "digests" in file


def test_a_label_outside_the_classes_is_named():
    with pytest.raises(InputError, match="'video2' has the label 2.*only 2 classes"):
        VideoSource(
            Records(), columns=("x", "y", "z", "velocity"), label_names=("a", "b"), name="toy"
        )


def test_labels_of_points_follow_their_points():
    videos = source(kind="point")
    config = ClipConfig(frames=3, points=7, channels=("velocity",))
    config = config.with_statistics(channel_statistics(videos))
    batch = next(train_batches(videos, config, batch_size=8, seed=0))
    assert batch["label"].shape == (8, 3, 7)
    assert "frame" not in batch
    recovered = batch["points"][..., 3] * config.channel_std[0] + config.channel_mean[0]
    np.testing.assert_allclose(recovered, batch["label"], atol=1e-5)


def test_the_index_of_videos_is_stored(tmp_path):
    records = Records(kind="frame")
    options = dict(columns=("x", "y", "z", "velocity"), label_names=("a", "b", "c"))
    first = VideoSource(records, index_path=tmp_path / "index.npz", **options)
    records.reads[:] = 0
    second = VideoSource(records, index_path=tmp_path / "index.npz", **options)
    assert records.reads.sum() == 0
    assert second.video_ids == first.video_ids
    assert second.kind == "frame"
    assert second.present_labels == (0, 1, 2)
    assert second.select([2]).present_labels == (0, 1)
    np.testing.assert_array_equal(second.num_frames, first.num_frames)
    np.testing.assert_array_equal(second[3].points, first[3].points)


def test_channels_arrive_standardized_by_training_statistics():
    videos = source()
    statistics = channel_statistics(videos)
    assert statistics.channels == ("velocity",)
    config = ClipConfig(frames=2, points=6, channels=("velocity",)).with_statistics(statistics)
    points = next(train_batches(videos, config, batch_size=16, seed=0))["points"]
    assert points.shape == (16, 2, 6, 4)
    assert abs(points[..., 3].mean()) < 0.3
    assert points[..., 3].std() == pytest.approx(1, abs=0.3)


def test_short_videos_can_be_repeated():
    config = ClipConfig(frames=6, points=4, short_clip_policy="repeat")
    clips = ClipSource(source(), config, training=True)
    assert (clips.num_videos, clips.num_short) == (6, 0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: ClipSource(source(), ClipConfig(frames=24), training=True),
            r"None of the 6 videos of toy \(train\) has the 24 frames .*longest has 9",
        ),
        (
            lambda: ClipSource(
                source(), ClipConfig(frames=2, channels=("velocity",)), training=True
            ),
            "have no training statistics",
        ),
        (
            lambda: train_batches(source(), CONFIG, batch_size=3, seed=0, process_count=2),
            "batch of 3 clips does not divide evenly among 2 hosts",
        ),
        (
            lambda: train_batches(source(), CONFIG, batch_size=64, seed=0, epochs=2),
            "2 epochs of 18 windows of toy .* do not fill one batch of 64",
        ),
        (lambda: train_batches(source(), CONFIG, batch_size=2, seed=-1), "seed of the data"),
        (lambda: source(()), "holds no videos"),
        (lambda: ClipSource(source(kind="frame"), CONFIG, training=True), "cannot be merged"),
        (lambda: load_source("ntu", None, split="train", cache_dir="."), "Unknown data set 'ntu'"),
        (lambda: load_source("radhar", None, split="train", cache_dir="."), "needs a data folder"),
    ],
)
def test_bad_requests(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_held_out_subjects_are_in_one_part_only():
    train, validation = hold_out_subjects(source(), ["person1"])
    assert validation.video_ids == ("video2", "video3")
    assert "person1" not in train.subjects
    assert len(train) == 4
    np.testing.assert_array_equal(validation[1].points, source()[3].points)
    with pytest.raises(InputError, match="no subject person9; its subjects are person0, person1"):
        hold_out_subjects(source(), ["person1", "person9"])
    with pytest.raises(InputError, match="nothing to train on"):
        hold_out_subjects(source(), ["person0", "person1", "person2"])


def test_a_held_out_share_is_stratified_seeded_and_independent_of_order():
    videos = source(lengths=(3,) * 31)  # classes of 11, 10, 10
    train, validation = hold_out_fraction(videos, 0.2, seed=1)
    assert np.bincount(validation.labels).tolist() == [2, 2, 2]
    assert set(train.video_ids) | set(validation.video_ids) == set(videos.video_ids)
    assert not set(train.video_ids) & set(validation.video_ids)
    reverse = hold_out_fraction(videos.select(np.arange(31)[::-1]), 0.2, seed=1)[1]
    assert set(reverse.video_ids) == set(validation.video_ids)
    other = hold_out_fraction(videos, 0.2, seed=2)[1]
    assert set(other.video_ids) != set(validation.video_ids)
    # A class with a single recording keeps it for training.
    few = source(lengths=(3, 3, 3, 3))
    assert hold_out_fraction(few, 0.5)[1].labels.tolist() == [0]
    with pytest.raises(InputError, match="between 0 and 1"):
        hold_out_fraction(videos, 1.0)

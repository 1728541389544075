"""The RadHAR builder on small trees, packed files and archives made here, and on the real pack."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile

import numpy as np
import pytest

from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.pipeline import ClipSource
from pointata_jax.data.videos import channel_statistics
from pointata_jax.datasets.radhar import recordings as radhar
from pointata_jax.datasets.radhar.radhar_dataset_builder import COMMIT
from pointata_jax.datasets.registry import load_source
from pointata_jax.errors import InputError
from tests.datasets.archives import cut_off, write_radhar

BLOCK = """header: 
  seq: {seq}
  stamp: 
    secs: {secs}
    nsecs: 612307393
  frame_id: "ti_mmwave"
point_id: {point}
x: {x!r}
y: {y!r}
z: {z!r}
range: 0.0435769706964
velocity: {velocity!r}
doppler_bin: 8
bearing: -73.3007583618
intensity: {intensity!r}
---
"""  # noqa: W291 (the logger leaves blanks at the ends of lines)

# The trees hold a hidden file.
pytestmark = pytest.mark.filterwarnings("ignore:Left out below:UserWarning")

SIZES = {"train": (4, 1, 3, 3), "test": (2, 5, 2)}
PARTIAL = {"partial": True}


def make_recording(split, label, number=1, sizes=None):
    sizes = np.array(SIZES[split] if sizes is None else sizes, np.int32)
    rng = np.random.default_rng([label, number, split == "test"])
    points = rng.normal(size=(sizes.sum(), 5)).round(4).astype(np.float32)
    return radhar.Recording(split, label, f"__20_{radhar.CLASSES[label]}_{number}", points, sizes)


def make_recordings():
    return [make_recording(split, label) for split in ("train", "test") for label in range(5)]


def as_text(recording):
    """The log of a recording: point numbers begin at zero in a frame and may skip some."""
    blocks, row = [], 0
    for frame, size in enumerate(recording.frame_sizes):
        for point in range(size):
            x, y, z, velocity, intensity = (float(v) for v in recording.points[row])
            # One stamp is smaller than the one before, as in real logs; this must not matter.
            secs = 100 + (0 if frame == 1 else frame)
            values = dict(x=x, y=y, z=z, velocity=velocity, intensity=intensity)
            blocks.append(BLOCK.format(seq=row, secs=secs, point=2 * point, **values))
            row += 1
    return "".join(blocks)


def write_tree(folder, recordings):
    for recording in recordings:
        path = folder / "Data" / f"{recording.video_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(recording))
    return folder


def load(folder, tmp_path, split="train", options=PARTIAL, **arguments):
    return load_source(
        "radhar", folder, split=split, cache_dir=tmp_path / "cache", options=options, **arguments
    )


def assert_holds(videos, recordings):
    assert videos.columns == ("x", "y", "z", "velocity", "intensity")
    assert videos.label_names == radhar.CLASSES
    assert sorted(videos.video_ids) == sorted(r.video_id for r in recordings)
    wanted = {r.video_id: r for r in recordings}
    for index in range(len(videos)):
        video = videos[index]
        recording = wanted[video.video_id]
        np.testing.assert_array_equal(video.points, recording.points)
        np.testing.assert_array_equal(np.diff(video.offsets), recording.frame_sizes)
        assert (int(video.labels), video.subject) == (recording.label, recording.name)


@pytest.mark.parametrize("write", [write_tree, write_radhar])
@pytest.mark.parametrize("nested", [False, True])
def test_a_tree_and_a_packed_file_give_the_same_videos(write, nested, tmp_path):
    recordings = make_recordings()
    write(tmp_path / "raw" / ("RadHAR-main" if nested else ""), recordings)
    for split in ("train", "test"):
        videos = load(tmp_path / "raw", tmp_path, split)
        assert_holds(videos, [r for r in recordings if r.split == split])


def test_records_are_prepared_once_and_again_when_the_files_change(tmp_path):
    recordings = make_recordings()
    folder = write_tree(tmp_path / "raw", recordings)
    load(folder, tmp_path)
    prepared = list((tmp_path / "cache").glob("radhar-*"))
    load(folder, tmp_path, "test")
    assert list((tmp_path / "cache").glob("radhar-*")) == prepared
    more = [*recordings, make_recording("train", 2, number=2)]
    assert len(load(write_tree(folder, more), tmp_path)) == 6


def test_the_published_number_of_recordings_is_asserted(tmp_path):
    full = [
        make_recording(split, label, number, sizes=(1, 2))
        for split in ("train", "test")
        for label in range(5)
        for number in range(20)
    ]
    folder = write_tree(tmp_path / "raw", full)
    assert len(load(folder, tmp_path, options=None)) == 100
    extra = folder / "Data" / "Train" / "jump" / "__20_jump_3.txt"
    extra.unlink()
    with pytest.raises(InputError, match="has 199 recordings, the published data set has 200"):
        load(folder, tmp_path, options=None)
    assert len(load(folder, tmp_path)) == 99
    for path in extra.parent.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="has no recording in Train/jump"):
        load(folder, tmp_path, options=None)


def test_the_packed_counts_are_asserted(tmp_path):
    folder = write_radhar(tmp_path / "raw", make_recordings())
    with pytest.raises(InputError, match=r"train split has 5 recordings .* expected 131"):
        load(folder, tmp_path, options=None)


def test_a_log_cut_off_in_its_last_point_loses_that_point_only():
    text = as_text(make_recording("train", 0)).encode()
    points, sizes = radhar.parse_text(text[: text.rindex(b"velocity")], "a.txt")
    assert len(points) == 10
    assert sizes.tolist() == [4, 1, 3, 2]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda text: text.replace("velocity: ", "speed: ", 1),
            r"a\.txt: point 0 lacks 'velocity'",
        ),
        (lambda text: text.replace("z: ", "z: 1\nz: ", 1), r"point 0 lacks 'velocity' or has"),
        (lambda text: text.replace("\nx: ", "\nx: one", 1), "value that is not a number"),
        (lambda text: "", "holds no radar points"),
        (lambda text: "hello\n" * 20, "holds no radar points"),
    ],
)
def test_damaged_logs_are_named(change, sentence):
    text = as_text(make_recording("train", 0))
    with pytest.raises(InputError, match=sentence):
        radhar.parse_text(change(text).encode(), "a.txt")


def test_values_that_are_not_finite_stop_the_preparation(tmp_path):
    recordings = make_recordings()
    recordings[1].points[5, 1] = np.nan
    sentence = "'Train/jack/__20_jack_1', frame 2 holds NaN or infinite values"
    with pytest.raises(InputError, match=sentence):
        load(write_tree(tmp_path / "text", recordings), tmp_path)
    recordings[1].points[5, 1] = np.inf
    with pytest.raises(InputError, match=sentence):
        load(write_radhar(tmp_path / "packed", recordings), tmp_path)
    # No incomplete records are left that could be used as a prepared data set.
    assert not list((tmp_path / "cache").rglob("dataset_info.json"))


def test_a_frame_without_points_is_named(tmp_path):
    recordings = make_recordings()
    recordings[0] = make_recording("train", 0, sizes=(4, 0, 3))
    with pytest.raises(InputError, match="'Train/boxing/__20_boxing_1', frame 1 has no points"):
        load(write_radhar(tmp_path / "raw", recordings), tmp_path)


def test_a_cut_off_packed_file(tmp_path):
    folder = write_radhar(tmp_path / "raw", make_recordings())
    packed = folder / "radhar.npz"
    content = packed.read_bytes()
    for _ in cut_off(packed, 40):
        with pytest.raises(InputError, match=r"radhar\.npz cannot be read .* copy it again"):
            load(folder, tmp_path)
    # The directory of the zip file is intact, the data are damaged.
    packed.write_bytes(content[:200] + b"\xff" * 64 + content[264:])
    with pytest.raises(InputError, match=r"radhar\.npz cannot be read"):
        load(folder, tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seq_frames": np.full(10, 4, np.int32)}, "contradict each other"),
        ({"seq_label": np.zeros(3, np.int8)}, "contradict each other"),
        ({"classes": np.array(["run", "sit"])}, "the classes are"),
        ({"points": np.zeros((30, 3), np.float32)}, r"points have shape \(30, 3\)"),
        (
            {"points": np.full((30, 5), "1")},
            r"radhar\.npz: values of points are <U1, expected floating",
        ),
        ({"seq_label": np.full(10, -1)}, r"radhar\.npz: label -1 is outside 0\.\.4"),
        ({"seq_frames": np.full(10, 3.0)}, "values of seq_frames are float64, expected integers"),
    ],
)
def test_a_packed_file_at_odds_with_itself(changes, sentence, tmp_path):
    folder = write_radhar(tmp_path / "raw", make_recordings(), **changes)
    with pytest.raises(InputError, match=sentence):
        load(folder, tmp_path)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="none does not exist. Expected there: .*Data/Train"):
        load(tmp_path / "none", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty is empty. Expected there"):
        load(tmp_path / "empty", tmp_path)
    (tmp_path / "other" / "photos").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no RadHAR data. Expected there"):
        load(tmp_path / "other", tmp_path)
    folder = write_radhar(tmp_path / "raw", make_recordings())
    with pytest.raises(InputError, match="no split 'val'; its splits are .*train"):
        load(folder, tmp_path, "val")
    with pytest.raises(InputError, match="does not take these options: .*'size'"):
        load(folder, tmp_path, options={"size": 3})


@pytest.fixture
def server(tmp_path):
    """A loopback stand-in for the place of the repository; yields (its folder, its address)."""
    folder = tmp_path / "site"
    (folder / "archive").mkdir(parents=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def write_archive(path, recordings):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"RadHAR-{COMMIT}/README.md", "not data")
        archive.writestr(f"RadHAR-{COMMIT}/Data/Train/.DS_Store", "not data")
        for recording in recordings:
            archive.writestr(f"RadHAR-{COMMIT}/Data/{recording.video_id}.txt", as_text(recording))


def test_the_public_archive_can_be_fetched(server, tmp_path):
    folder, address = server
    recordings = make_recordings()
    write_archive(folder / "archive" / f"{COMMIT}.zip", recordings)
    options = {"base_url": address, "partial": True}
    for split in ("train", "test"):
        videos = load(None, tmp_path, split, options, download=True)
        assert_holds(videos, [r for r in recordings if r.split == split])
    with pytest.raises(InputError, match="The archive has 10 recordings.*has 200"):
        load(None, tmp_path, "train", {"base_url": address}, download=True)


def test_an_archive_that_cannot_be_used_is_not_kept(server, tmp_path):
    folder, address = server
    options = {"base_url": address, "partial": True}
    with pytest.raises(InputError, match=rf"{COMMIT}\.zip could not be fetched .*404"):
        load(None, tmp_path, options=options, download=True)
    archive = folder / "archive" / f"{COMMIT}.zip"
    archive.write_bytes(b"<html>try later</html>")
    with pytest.raises(InputError, match="cannot be used: .* is not a complete zip archive"):
        load(None, tmp_path, options=options, download=True)
    write_archive(archive, make_recordings())
    whole = archive.read_bytes()
    archive.write_bytes(whole[:150] + b"\xff" * 40 + whole[190:])
    with pytest.raises(InputError, match="cannot be used: .* Try again"):
        load(None, tmp_path, options=options, download=True)
    archive.write_bytes(whole)
    assert len(load(None, tmp_path, options=options, download=True)) == 5


def test_the_real_pack(shared_data, tmp_path):
    train = load(shared_data / "radhar_mmwave", tmp_path, "train", options=None)
    test = load(shared_data / "radhar_mmwave", tmp_path, "test", options=None)
    assert np.bincount(train.labels).tolist() == [23, 26, 24, 27, 31]
    assert np.bincount(test.labels).tolist() == [13, 9, 10, 9, 14]
    assert train.num_frames.sum() + test.num_frames.sum() == 100_852
    config = ClipConfig(
        frames=12,
        frame_merge=5,
        stride=10,
        eval_stride=60,
        last_window="drop",
        points=128,
        channels=("velocity", "intensity"),
        scale="p95",
    ).with_statistics(channel_statistics(train))
    assert ClipSource(train, config, training=True).num_windows == 6389
    windows = ClipSource(test, config, training=False)
    assert (windows.num_windows, windows.num_videos) == (486, 55)
    clips = np.stack([windows.clip(index)["points"] for index in range(0, 486, 9)])
    assert np.linalg.norm(clips[..., :3], axis=-1).max() <= 1 + 1e-6
    # Outliers do not decide the scale: the body fills the clip.
    spread = clips[..., :3].std(axis=(1, 2, 3))
    assert spread.min() > 0.1
    assert np.abs(clips[..., 3:]).max() <= 4
    assert clips[..., 4].std() == pytest.approx(1, abs=0.2)


def test_trees_with_links_hidden_and_misplaced_files_and_other_encodings(tmp_path):
    recordings = make_recordings()
    folder = write_tree(tmp_path / "raw", recordings)
    train = folder / "Data" / "Train"
    (train / "walk").rename(tmp_path / "store")
    (train / "walk").symlink_to(tmp_path / "store")
    (train / "jump").rename(train / "Jump")
    (train / ".DS_Store").write_bytes(b"\0")
    (train / "boxing" / "._a.txt").write_bytes(b"\0")
    (train / "boxing" / ".ipynb_checkpoints").mkdir()
    (train / "boxing" / ".ipynb_checkpoints" / "b.txt").write_text("old")
    (train / "notes.txt").write_text("not a recording")
    (log,) = (train / "squats").iterdir()
    log.write_bytes(log.read_text().replace("\n", "\r\n").encode("utf-16"))
    log.rename(log.with_suffix(".TXT"))
    with (
        pytest.warns(UserWarning, match="hidden entries: 3, such as .DS_Store"),
        pytest.warns(
            UserWarning,
            match="1 files below .*Train are not in <class>/ and were left out, such as .*notes",
        ),
    ):
        videos = load(folder, tmp_path)
    assert_holds(videos, [r for r in recordings if r.split == "train"])
    (train / "Jump" / "gone.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="Train/Jump/gone.txt is a link that leads nowhere"):
        radhar.source_files(folder / "Data")


def test_hidden_members_of_an_archive_are_no_recordings(tmp_path):
    write_archive(tmp_path / "a.zip", make_recordings())
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("__MACOSX/RadHAR/Data/Train/walk/._w.txt", "\0")
        archive.writestr("RadHAR/Data/Train/walk/._w.txt", "\0")
    assert len(radhar.archive_names(tmp_path / "a.zip")) == 10


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seq_label": np.int8(3)}, r"radhar\.npz: seq_label has shape \(\), expected a list"),
        ({"seq_split": np.full(10, "test")}, "seq_split is <U4, expected true or false"),
        ({"frame_start": np.arange(30)[::-1]}, "contradict each other"),
        ({"points": np.float32(3)}, r"points have shape \(\)"),
        ({"points": np.full((30, 5), None)}, r"radhar\.npz cannot be read"),
    ],
)
def test_odd_packed_arrays_are_named(changes, sentence, tmp_path):
    folder = write_radhar(tmp_path / "raw", make_recordings(), **changes)
    with pytest.raises(InputError, match=sentence):
        radhar.read_packed(folder / "radhar.npz", partial=True)

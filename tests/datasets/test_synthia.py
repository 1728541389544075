"""Synthia 4D from small archives in the public layout: splits, clips, half scenes, damage."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.data import schema
from pointata_jax.datasets.synthia import clips, frames
from pointata_jax.datasets.synthia.frames import FrameRef
from pointata_jax.datasets.synthia.synthia_dataset_builder import Builder
from pointata_jax.errors import InputError
from tests.datasets import archives
from tests.datasets.archives import cut_off, videos

DAWN, FOG, SPRING = "SYNTHIA-SEQS-01-DAWN", "SYNTHIA-SEQS-05-FOG", "SYNTHIA-SEQS-06-SPRING"
SPLITS = {
    "train": [FrameRef(DAWN, n) for n in (0, 1, 2, 5, 6)],
    "val": [FrameRef(FOG, n) for n in (8, 9)],
    "test": [FrameRef(SPRING, n) for n in (3, 4, 5)],
}
POINTS = 60


def arrays(ref, **changes):
    rng = np.random.default_rng([*ref.sequence.encode(), ref.number])
    center = np.array([10.0 + ref.number, 0, 0.5 * ref.number])
    points = center + rng.uniform(-5, 5, (POINTS, 3))
    made = dict(
        pc=points.astype(np.float32),
        rgb=rng.random((POINTS, 3)).astype(np.float32),
        semantic=rng.choice([0, *range(2, 13), 15], POINTS).astype(np.int32),
        center=center,
    )
    return made | changes


def line(ref):
    stem = f"{ref.sequence}/point_clouds/{ref.number:06d}"
    return f"{stem}.ply {stem}_label.ply\n"


def write_lists(folder, splits=SPLITS, suffix="_raw"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, refs in splits.items():
        # The public lists are not sorted.
        text = "".join(line(ref) for ref in sorted(refs, key=lambda ref: ref.name[::-1]))
        (folder / f"{name}{suffix}.txt").write_text(text)


def write(folder, splits=SPLITS):
    write_lists(folder, splits)
    for refs in splits.values():
        for ref in refs:
            (folder / "sequences").mkdir(exist_ok=True)
            np.savez_compressed(folder / "sequences" / f"{ref.name}.npz", **arrays(ref))
    return folder


def build(tmp_path, folder, **options):
    return archives.build(Builder, tmp_path, folder, **({"partial": True} | options))


RAW = {0: -1, **{raw: raw - 2 for raw in range(2, 13)}, 15: 11}


def expected_half(refs, half):
    """Points, sizes and labels of a clip, point by point."""
    plane = arrays(max(refs))["center"][2]
    points, sizes, labels = [], [], []
    for ref in refs:
        made = arrays(ref)
        size = 0
        for point, color, raw in zip(made["pc"], made["rgb"], made["semantic"], strict=True):
            distance = (float(point[2]) - plane) * (1 if half == "plus" else -1)
            if distance > -1:
                points.append([*point, *color])
                labels.append(RAW[raw] if distance > 0 else -1)
                size += 1
        sizes.append(size)
    return np.array(points), sizes, labels


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_clips_are_halves_of_three_frames_with_a_margin(tmp_path, protocol):
    builder = build(tmp_path, write(tmp_path / "raw"), protocol=protocol)
    made = {split: videos(builder, split) for split in builder.info.splits}
    sizes = {split: len(part) for split, part in made.items()}
    if protocol == "corrected":
        assert sizes == {"train": 10, "validation": 4, "test": 6}
    else:
        assert sizes == {"train": 14, "test": 6}
    # The frames of a clip, newest first: a frame that is not listed is replaced by the next newer.
    wanted = {0: (0, 0, 0), 1: (1, 0, 0), 2: (2, 1, 0), 5: (5, 5, 5), 6: (6, 5, 5)}
    for number, numbers in wanted.items():
        refs = [FrameRef(DAWN, n) for n in numbers]
        refs = refs[::-1] if protocol == "corrected" else refs
        for half in ("plus", "minus"):
            video = made["train"][f"{DAWN}-{number:06d}-{half}"]
            points, frame_sizes, labels = expected_half(refs, half)
            np.testing.assert_array_equal(video["points"], points.astype(np.float32))
            assert video["frame_sizes"].tolist() == frame_sizes
            np.testing.assert_array_equal(video["point_labels"], labels)
            assert video["subject"].decode() == DAWN
    assert schema.column_names(builder.info.features) == ("x", "y", "z", "red", "green", "blue")
    assert schema.label_names(builder.info.features)[9] == "bicycle"


def test_the_two_halves_score_every_labeled_point_once():
    frame = frames.Frame(
        np.random.default_rng(0).uniform(-3, 3, (500, 6)), np.arange(500) % 12, np.zeros(3)
    )
    frame.points[0, 2] = 0.0  # A point on the plane itself.
    scored = [clips.half_scene(frame, 0.0, half) for half in clips.HALVES]
    kept = np.concatenate([points[labels >= 0] for points, labels in scored])
    np.testing.assert_array_equal(np.sort(kept, axis=0), np.sort(frame.points, axis=0))
    for half, (points, labels) in zip((1, -1), scored, strict=True):
        assert (half * points[:, 2]).min() > -1
        strictly = points[:, 2] != 0
        np.testing.assert_array_equal((labels < 0)[strictly], half * points[strictly, 2] < 0)


def test_published_weights_of_the_classes():
    published = (1, 1.2445, 1.7582, 2.3243, 1.8949, 2.4525, 2.2884, 2.6075, 2.5951, 2.6293, 2.3702)
    np.testing.assert_allclose(frames.class_weights(), [*published, 2.6238], atol=2e-4)
    assert sum(frames.CLASS_FREQUENCIES) == pytest.approx(1, abs=2e-3)


def full_lists(folder):
    refs = [FrameRef(f"SYNTHIA-SEQS-{1 + n % 21:02d}-X", n) for n in range(19_888)]
    splits = {
        "train": refs,
        "val": [FrameRef(FOG, n) for n in range(815)],
        "test": [FrameRef(SPRING, n) for n in range(1_886)],
    }
    write_lists(folder, splits)
    return splits


def test_the_published_counts_are_asserted(tmp_path):
    splits = full_lists(tmp_path / "full")
    found = frames.read_splits(tmp_path / "full")
    assert {name: len(refs) for name, refs in found.items()} == frames.COUNTS
    with pytest.raises(InputError, match="19888 of the 19888 train frames have no file, the first"):
        frames.present_frames(found, {})
    write_lists(tmp_path / "short", splits | {"val": splits["val"][1:]})
    with pytest.raises(InputError, match="name 19888 training, 814 validation and 1886 test fr"):
        frames.read_splits(tmp_path / "short")
    with pytest.raises(InputError, match="cut off or changed.*Expected there"):
        build(tmp_path, write(tmp_path / "raw"), partial=False)


def test_the_lists_of_p4transformer_are_read(tmp_path):
    splits = full_lists(tmp_path / "full")
    write_lists(
        tmp_path / "two", {"trainval": splits["train"] + splits["val"], "test": splits["test"]}
    )
    assert frames.read_splits(tmp_path / "two") == frames.read_splits(tmp_path / "full")


def test_the_other_split_is_recognized(tmp_path):
    counts = {"train": 29_019, "val": 9_343, "test": 7_222}
    splits = {name: [FrameRef(name, n) for n in range(count)] for name, count in counts.items()}
    write_lists(tmp_path, splits)
    with pytest.raises(InputError, match="other, harder split of SpatioTemporalSegmentation"):
        frames.read_splits(tmp_path)


def test_missing_and_damaged_lists_are_named(tmp_path):
    folder = write(tmp_path / "raw")
    whole = (folder / "val_raw.txt").read_text()
    (folder / "val_raw.txt").unlink()
    with pytest.raises(InputError, match="lacks the split list val_raw.txt. Expected there"):
        build(tmp_path, folder)
    (folder / "val_raw.txt").write_text(whole + "nothing here\n")
    with pytest.raises(InputError, match="val_raw.txt, line 3 is not of the form SEQUENCE"):
        build(tmp_path, folder)
    (folder / "val_raw.txt").write_text(whole + line(SPLITS["val"][0]))
    with pytest.raises(InputError, match="line 3 lists the frame .*FOG-000008 a second time"):
        build(tmp_path, folder)
    (folder / "val_raw.txt").write_text(whole + line(SPLITS["train"][0]))
    with pytest.raises(InputError, match="DAWN-000000 for train and for validation"):
        build(tmp_path, folder)
    write_lists(folder / "copy", {"val": SPLITS["val"]})
    with pytest.raises(InputError, match="both list the val frames"):
        build(tmp_path, folder)


def test_a_partial_copy_uses_the_frames_that_are_there(tmp_path):
    folder = write(tmp_path / "raw")
    (folder / "sequences" / f"{DAWN}-000001.npz").unlink()
    with pytest.warns(UserWarning, match="1 of the 5 train frames have no file and were left out"):
        train = videos(build(tmp_path, folder), "train")
    assert len(train) == 8
    assert f"{DAWN}-000001-plus" not in train
    other = folder / "copy"
    other.mkdir()
    (other / f"{DAWN}-000002.npz").write_bytes(b"")
    with pytest.raises(InputError, match="DAWN-000002.npz are the same frame"):
        build(tmp_path / "again", folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pc": np.zeros((POINTS, 2), np.float32)}, r"pc has shape \(60, 2\)"),
        ({"pc": np.zeros((POINTS, 3), np.int32)}, r"coordinates \(pc\) are int32"),
        ({"rgb": np.zeros((5, 3), np.float32)}, r"rgb \(5, 3\), .* do not fit pc"),
        ({"rgb": np.full((POINTS, 3), 255.0)}, r"colors \(rgb\) reach from 255 to 255"),
        ({"semantic": np.zeros(POINTS)}, r"labels \(semantic\) are float64, expected integers"),
        ({"semantic": np.full(POINTS, 16)}, r"label 16 \(semantic\) is none of the raw"),
        ({"center": np.zeros(2)}, r"center \(2,\) do not fit"),
        ({"center": np.array([0, 0, 99.0])}, "has no point in the half plus of z = 99 m"),
        ({"pc": np.full((POINTS, 3), np.nan, np.float32)}, "pc holds NaN or infinite"),
    ],
)
def test_wrong_contents_are_named(tmp_path, changes, sentence):
    folder = write(tmp_path / "raw")
    ref = SPLITS["train"][0]
    np.savez(folder / "sequences" / f"{ref.name}.npz", **arrays(ref, **changes))
    with pytest.raises(InputError, match=sentence):
        build(tmp_path, folder)


def test_cut_and_incomplete_files_are_named(tmp_path):
    folder = write(tmp_path / "raw")
    path = folder / "sequences" / f"{DAWN}-000005.npz"
    for _ in cut_off(path, 50):
        with pytest.raises(InputError, match="DAWN-000005.npz is cut off or damaged"):
            build(tmp_path, folder)
    np.savez(path, pc=np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match="lacks rgb, semantic, center"):
        build(tmp_path, folder)
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


def test_copies_with_columns_wide_numbers_links_and_marks_in_lists(tmp_path):
    folder, ref = write(tmp_path / "raw"), SPLITS["train"][1]
    made = arrays(ref)
    far = np.array([388096.0, 0.0, 3948996.0])
    changed = dict(
        pc=made["pc"].astype(np.float64) + far,
        semantic=made["semantic"][:, None],
        center=(made["center"] + far)[None],
    )
    path = folder / "sequences" / f"{ref.name}.npz"
    np.savez(path, **(made | changed))
    frame = frames.read_frame(path)
    np.testing.assert_array_equal(frame.points[:, :3], changed["pc"])
    np.testing.assert_array_equal(frame.center, made["center"] + far)
    np.testing.assert_array_equal(frame.labels, [RAW[raw] for raw in made["semantic"]])
    for half in clips.HALVES:  # The same halves as near the origin.
        near = frames.Frame(
            np.concatenate([made["pc"].astype(np.float64), made["rgb"]], axis=1),
            frame.labels,
            made["center"],
        )
        found = clips.half_scene(frame, frame.center[2], half)
        wanted = clips.half_scene(near, near.center[2], half)
        np.testing.assert_array_equal(found[1], wanted[1])
        np.testing.assert_allclose(found[0][:, :3] - far, wanted[0][:, :3], atol=1e-9)
    (folder / "sequences").rename(tmp_path / "store")
    (folder / "sequences").symlink_to(tmp_path / "store")
    (tmp_path / "store" / f"._{ref.name}.npz").write_bytes(b"\0")
    listed = folder / "train_raw.txt"
    text = "\r\n\r\n# frames\r\n" + listed.read_text().replace("\n", "\r\n")
    listed.unlink()
    (folder / "Train_raw.TXT").write_bytes(text.encode("utf-16"))
    splits = frames.read_splits(folder, partial=True)
    assert splits["train"] == SPLITS["train"]
    with pytest.warns(UserWarning, match="hidden entries: 1, such as sequences/._SYNTHIA"):
        assert len(frames.find_frames(folder)) == 10


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rgb": np.full((POINTS, 3), np.nan)}, r"colors \(rgb\) reach from nan"),
        ({"center": np.array(["a", "b", "c"])}, r"coordinates \(center\) are <U1"),
        ({"semantic": np.int32(3)}, r"semantic \(\) .* do not fit"),
        ({"pc": np.float32(3)}, r"pc has shape \(\)"),
        ({"center": np.array([0, None, 0], object)}, "000000.npz is cut off or damaged .*pickle"),
    ],
)
def test_odd_arrays_are_named(tmp_path, changes, sentence):
    ref = SPLITS["train"][0]
    np.savez(tmp_path / f"{ref.name}.npz", **arrays(ref, **changes))
    with pytest.raises(InputError, match=sentence) as caught:
        frames.read_frame(tmp_path / f"{ref.name}.npz")
    caught.match(r"DAWN-000000\.npz")

"""Exercise trials: reading, folds and what they lack, dressing, baselines."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.datasets.mocap6 import baselines, folds, mocap6_dataset_builder, trials
from pointata_jax.errors import InputError
from pointata_jax.procedural import figures
from tests.datasets.archives import build, cut_off, videos

NAMES = [*trials._JOINTS.values(), "lthumb", "rthumb"]
SMALL = mocap6_dataset_builder.Mocap6Config(
    name="small", held_out="13_30", views=2, num_points=16, partial=True
)


def make_joints(motions=("jumping_jack", "kick", "march"), frames=12, seed=0):
    """A figure of the generator, as the file would have it: facing positive z, right-handed."""
    who = figures.subject(seed)
    takes = [figures.animate(m, who, seed, frames, max_yaw=0.1)[:, :20] for m in motions]
    joints = np.concatenate(takes) * [1, 1, -1]
    joints = joints - np.median(joints[:, :1], axis=0) + [0.3, 1.0, -0.2]
    return np.concatenate([joints, joints[:, :2]], axis=1).astype(np.float32)


def arrays(**changes):
    names = ("13_29", "13_30", "14_20")
    labels = [[1, 2, 3], [1, 2, 3], [1, 9, 3]]
    made = dict(
        joints=np.concatenate([make_joints(seed=seed) for seed in range(3)]),
        labels=np.concatenate([np.repeat(part, 12) for part in labels]).astype(np.int8),
        seq_frames=np.full(3, 36, np.int32),
        seq_name=np.array(names),
        classes=np.array(trials.CLASSES),
        joint_names=np.array(NAMES),
        fps=np.int64(30),
    )
    return made | changes


def write(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mocap6.npz", **arrays(**changes))
    return folder


def prepare(folder, tmp_path, config=SMALL):
    return build(mocap6_dataset_builder.Builder, tmp_path, folder, config=config)


def test_a_fold_trains_on_all_views_and_tests_every_frame_once(tmp_path):
    builder = prepare(write(tmp_path / "raw"), tmp_path)
    train, test = videos(builder, "train"), videos(builder, "test")
    assert sorted(train) == [
        f"{name}/view{view}/from{phase}"
        for name in ("13_29", "14_20")
        for view in (0, 1)
        for phase in (0, 1)
    ]
    assert sorted(test) == ["13_30/view0/from0", "13_30/view0/from1"]
    assert {v["subject"] for v in train.values()} == {b"13_29", b"14_20"}
    read = {trial.name: trial for trial in trials.read_trials(tmp_path / "raw", partial=True)}
    for phase in (0, 1):
        video = test[f"13_30/view0/from{phase}"]
        np.testing.assert_array_equal(video["frame_labels"], read["13_30"].labels[phase::2])
        np.testing.assert_array_equal(video["frame_sizes"], np.full(18, 16))
    for key in ("13_29/view0/from0", "13_29/view1/from0"):
        assert np.isfinite(train[key]["points"]).all()
    assert not np.allclose(
        train["13_29/view0/from0"]["points"], train["13_29/view1/from0"]["points"], atol=0.05
    )


def test_partial_is_a_configuration_of_its_own(tmp_path):
    folder = write(tmp_path / "raw")
    builder = mocap6_dataset_builder.Builder(
        config="14_20", partial=True, data_dir=tmp_path / "tfds"
    )
    assert builder.builder_config.name == "14_20_partial"
    assert builder.builder_config.partial
    with pytest.raises(InputError, match="holds the trials"):
        prepare(folder, tmp_path, "13_30")
    with pytest.raises(InputError, match="'14_14' cannot be left out"):
        prepare(folder, tmp_path, "14_14_partial")


def test_the_camera_stands_before_the_person_and_sees_its_left_on_the_right():
    joints = make_joints(("raise_arm",), seed=1)[:, :20]
    # One arm is up: on the side of the person's own left or right.
    left = joints[-1, figures.JOINTS.index("hand_left")]
    right = joints[-1, figures.JOINTS.index("hand_right")]
    seen = trials.dress(trials.Trial("t", joints, np.zeros(12, np.int32)), 0, [11], 400)[0]
    assert seen[:, 2].min() > 2.0
    assert seen[:, 2].max() < 4.0
    higher = left if left[1] > right[1] else right
    top = seen[seen[:, 1].argmax()]
    middle = np.median(joints[:, 0], axis=0)
    np.testing.assert_allclose(
        top[:2], [higher[0] - middle[0], higher[1] - trials.Camera().height], atol=0.15
    )
    # Seen from the front: feet point at the camera.
    ankle = 3.0 - (joints[-1, figures.JOINTS.index("ankle_left"), 2] - middle[2])
    low = seen[seen[:, 1] < seen[:, 1].min() + 0.1]
    assert low[:, 2].mean() < ankle


def test_folds_name_what_training_lacks(tmp_path):
    read = trials.read_trials(write(tmp_path), partial=True)
    part = folds.fold(read, "14_20")
    assert part.seen == ("JumpJack", "Jog", "Squat")
    assert part.lacking == ("UpDown",)
    assert folds.fold(read, "13_29").lacking == ()
    score = folds.seen_accuracy(np.full(36, 1), read[2].labels, part.seen)
    assert score == {"frame_accuracy": 50.0, "frames": 24, "frames_lacking": 12}
    with pytest.raises(InputError, match="'14_14' cannot be left out of the trials 13_29, 13_30"):
        folds.fold(read, "14_14")


def test_baselines_know_no_more_than_they_should(tmp_path):
    read = trials.read_trials(write(tmp_path), partial=True)
    results = baselines.leave_one_trial_out(read)
    assert set(results) == {"majority", "linear_frame", "linear_points", "linear"}
    for result in results.values():
        accuracies = [score["frame_accuracy"] for score in result["folds"].values()]
        assert result["mean_frame_accuracy"] == pytest.approx(np.mean(accuracies))
        assert result["folds"]["14_20"]["lacking"] == ("UpDown",)
        assert result["folds"]["14_20"]["frames"] == 24
    # Trials 13_29 and 13_30 have twelve frames of each of three classes.
    assert results["majority"]["folds"]["13_29"]["frame_accuracy"] == pytest.approx(100 / 3)
    # The motions are shorter than the windows here, so only posture tells them apart.
    assert results["linear_frame"]["mean_frame_accuracy"] > 60


def test_windows_describe_the_frames_around():
    values = np.arange(100.0)[:, None]
    features = baselines.in_windows(values, seconds=1.0)
    expected = np.array([50, np.std(np.arange(35, 66)), 30])
    np.testing.assert_allclose(features[50], expected, rtol=1e-9)
    assert features[0, 0] == pytest.approx(np.arange(16).mean())


def test_a_truncated_file(tmp_path):
    folder = write(tmp_path)
    for _ in cut_off(folder / "mocap6.npz", 30):
        with pytest.raises(InputError, match=r"mocap6\.npz is cut off or damaged"):
            trials.read_trials(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"labels": np.zeros(108)},
            r"mocap6\.npz: values of labels are float64, expected integers",
        ),
        (
            {"joints": np.zeros((108, 22, 3), np.int32)},
            "values of joints are int32, expected floating",
        ),
        ({"labels": np.full(108, 13)}, r"label 13 is outside 0\.\.12"),
        ({"labels": np.full(108, -1)}, r"label -1 is outside 0\.\.12"),
        ({"labels": np.ones(107, np.int8)}, "do not fit 3 names, 108 frames"),
        ({"seq_name": np.array(["13_29", "13_29", "14_20"])}, "holds a trial twice"),
        ({"classes": np.array(["a", "b"])}, "expected the classes background"),
        ({"fps": np.int64(120)}, "at 30 frames a second; this file has .* at 120"),
        ({"joint_names": np.array(["a"] * 22)}, "has no joint root, upperback"),
        ({"joints": np.full((108, 22, 3), np.nan)}, "NaN or infinite"),
        ({"joints": np.zeros((108, 20, 3))}, r"joints have shape \(108, 20, 3\)"),
    ],
)
def test_a_file_at_odds_with_itself(changes, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        trials.read_trials(write(tmp_path, **changes), partial=True)


def test_missing_and_partial_data(tmp_path):
    with pytest.raises(InputError, match=r"holds no mocap6\.npz\. Expected there"):
        trials.read_trials(tmp_path)
    folder = write(tmp_path / "raw")
    with pytest.raises(InputError, match="holds the trials .* complete the copy, or give partial"):
        trials.read_trials(folder)
    np.savez(folder / "mocap6.npz", **{k: v for k, v in arrays().items() if k != "labels"})
    with pytest.raises(InputError, match="lacks labels"):
        trials.read_trials(folder)


def test_the_real_pack(shared_data, tmp_path):
    folder = shared_data / "cmu_mocap6_actionseg"
    read = trials.read_trials(folder)
    assert {t.name: len(t.labels) for t in read} == trials.NUM_FRAMES
    lacking = {t.name: folds.fold(read, t.name).lacking for t in read}
    assert lacking.pop("14_20") == ("UpDown", "ToeTouchTwoHands")
    assert not any(lacking.values())
    few = mocap6_dataset_builder.Mocap6Config(
        name="few", held_out="13_30", views=1, num_points=8, step=10
    )
    builder = prepare(folder, tmp_path, few)
    assert builder.info.splits["train"].num_examples == 40
    test = list(builder.as_data_source("test"))
    assert sum(len(video["frame_labels"]) for video in test) == 617


def test_a_far_origin_on_the_ground_changes_nothing(tmp_path):
    made = arrays()["joints"].astype(np.float64)
    read = trials.read_trials(
        write(tmp_path / "a", joints=made + [388096.0, 0.0, 3948996.0]), partial=True
    )
    plain = trials.read_trials(write(tmp_path / "b", joints=made), partial=True)
    for moved, stayed in zip(read, plain, strict=True):
        found, wanted = (trials.dress(trial, 1, [0, 20], 300) for trial in (moved, stayed))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        np.testing.assert_allclose(
            baselines.pose_features(moved), baselines.pose_features(stayed), atol=1e-8
        )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": np.int8(3)}, r"mocap6\.npz: labels has shape \(\), expected a list"),
        ({"seq_name": np.array("13_29")}, r"seq_name has shape \(\), expected a list"),
        ({"fps": np.array([30, 30])}, "fps is array.*expected one number"),
        ({"fps": np.array("fast")}, "fps is array.*expected one number"),
        ({"seq_frames": np.array([200, -128, 36])}, "do not fit 3 names"),
        ({"classes": np.array([None], object)}, r"mocap6\.npz is cut off or damaged"),
    ],
)
def test_odd_arrays_are_named(changes, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        trials.read_trials(write(tmp_path, **changes), partial=True)


def test_hidden_copies_and_second_files(tmp_path):
    for name in (".old", "b"):
        write(tmp_path / name)
    assert trials.find_source(tmp_path) == tmp_path / "b" / "mocap6.npz"
    (tmp_path / "a").symlink_to(tmp_path / "b")
    with pytest.warns(UserWarning, match="holds mocap6.npz 2 times; .*a/mocap6.npz is read"):
        trials.find_source(tmp_path)

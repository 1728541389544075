"""The figure keeps its bones and stays on the floor, and its motions match their names."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules, figures

INDEX = {name: index for index, name in enumerate(figures.JOINTS)}
SIDES = ("left", "right")
WHO = figures.subject(4)


def play(motion, seed=0, who=WHO, frames=24, **options):
    return figures.animate(motion, who, seed, frames, **options)


def joint(frames, name):
    return frames[:, INDEX[name]]


def hands(frames):
    """Positions of the hand that moves most, and of the other one."""
    left, right = joint(frames, "hand_left"), joint(frames, "hand_right")
    return (left, right) if np.ptp(left, 0).sum() > np.ptp(right, 0).sum() else (right, left)


def test_tables_describe_one_symmetric_body():
    assert len(figures.JOINTS) == len(figures.PARENTS) == len(figures.RADII) == 26
    assert len(set(figures.MOTIONS)) == len(figures.MOTIONS) >= 8
    for index, (name, parent) in enumerate(zip(figures.JOINTS, figures.PARENTS, strict=True)):
        assert (parent >= 0) == (figures.RADII[index] > 0)
        twin = INDEX[name.replace("left", "right")]
        assert figures.RADII[twin] == figures.RADII[index]
        if parent >= 0:
            other = figures.JOINTS[parent].replace("left", "right")
            assert figures.JOINTS[figures.PARENTS[twin]] == other


@pytest.mark.parametrize("motion", figures.MOTIONS)
def test_bodies_keep_their_bones_and_stay_on_the_floor(motion):
    frames = play(motion, seed=3)
    assert frames.shape == (24, 26, 3)
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()
    for index, name in enumerate(figures.SKELETON):
        if 0 <= figures.PARENTS[index] < len(figures.SKELETON):
            bone = frames[:, index] - frames[:, figures.PARENTS[index]]
            assert np.ptp(np.linalg.norm(bone, axis=1)) < 1e-5, name
    lowest = frames[..., 1].min(axis=1)
    assert np.ptp(lowest) < (0.12 if motion == "jumping_jack" else 1e-5)
    assert frames[..., 2].min() > 1.5, "too near the camera"
    assert frames[..., 2].max() < 4.8, "too far from the camera"
    assert np.linalg.norm(np.diff(frames, axis=0), axis=-1).max() < 0.75, "no jumps between frames"


@pytest.mark.parametrize(("backward", "forward"), figures.REVERSED.items())
def test_reversed_motions_have_the_same_frames_in_reverse_order(backward, forward):
    original, reverse = play(forward, seed=11), play(backward, seed=11)
    np.testing.assert_array_equal(reverse, original[::-1])
    assert not np.array_equal(reverse, original)


def test_performances_depend_on_seed_and_subject():
    first = play("wave", seed=1)
    np.testing.assert_array_equal(first, play("wave", seed=1, who=figures.subject(4)))
    assert not np.allclose(first, play("wave", seed=2))
    assert not np.allclose(first, play("wave", seed=1, who=figures.subject(5)))
    heights = [figures.subject(number).height for number in range(16)]
    assert np.ptp(heights) > 0.1


@pytest.mark.parametrize(
    ("motion", "hand", "foot"),
    [
        ("wave", (0.907505, 0.617465, 3.207725), (0.494330, -1.034776, 2.859372)),
        ("sit_down", (0.334845, -0.240230, 2.455906), (0.243253, -0.997851, 2.338319)),
        ("circle_backward", (0.415103, -0.147181, 3.292161), (0.486456, -1.036386, 2.819444)),
    ],
)
def test_performances_have_not_changed(motion, hand, foot):
    """Results on `synthetic_actions` are comparable only if its clips do not change."""
    frames = play(motion)
    np.testing.assert_allclose(joint(frames, "hand_left")[7], hand, atol=1e-5)
    np.testing.assert_allclose(joint(frames, "foot_left")[20], foot, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_one_way_motions_match_their_names(seed):
    hand, other = hands(play("raise_arm", seed))
    head = joint(play("raise_arm", seed), "head")
    assert hand[0, 1] < head[0, 1] - 0.5
    assert hand[-1, 1] > head[-1, 1]
    assert other[-1, 1] < head[-1, 1] - 0.5
    pelvis = joint(play("sit_down", seed), "pelvis")
    assert pelvis[0, 1] - pelvis[-1, 1] > 0.25
    frames = play("push", seed)
    reach = np.linalg.norm(joint(frames, "hand_left") - joint(frames, "shoulder_left"), axis=1)
    assert reach[0] < 0.4
    assert reach[-1] > 0.45


@pytest.mark.parametrize("seed", range(4))
def test_cyclic_motions_match_their_names(seed):
    frames = play("march", seed)
    left, right = joint(frames, "knee_left")[:, 1], joint(frames, "knee_right")[:, 1]
    assert (left - right).max() > 0.15
    assert (right - left).max() > 0.15
    frames = play("jumping_jack", seed)
    spread = np.linalg.norm(joint(frames, "ankle_left") - joint(frames, "ankle_right"), axis=1)
    both_up = np.minimum(joint(frames, "hand_left"), joint(frames, "hand_right"))[:, 1]
    assert np.corrcoef(spread, both_up)[0, 1] > 0.9
    assert spread.max() > 0.4
    frames = play("kick", seed)
    ankles = np.stack([joint(frames, "ankle_left"), joint(frames, "ankle_right")])
    rise = np.ptp(ankles[..., 1], axis=1)
    assert rise.max() > 0.25, "one leg kicks"
    assert rise.min() < 0.06, "the other leg stands"
    frames = play("wave", seed)
    above = [(joint(frames, f"hand_{s}") - joint(frames, f"elbow_{s}"))[:, 1] for s in SIDES]
    assert (np.max(above, axis=0) > 0.15).all(), "the forearm of the waving arm points up"
    # The arm rotates in one direction only: forward, down, back, up.
    frames = play("circle_forward", seed, max_yaw=0.0)
    moving = "left" if np.ptp(joint(frames, "hand_left")[:, 1]) > 0.6 else "right"
    arm = joint(frames, f"elbow_{moving}") - joint(frames, f"shoulder_{moving}")
    rotation = np.diff(np.unwrap(np.arctan2(arm[:, 1], -arm[:, 2])))
    assert (rotation < 0).all()
    assert rotation.sum() < -2 * np.pi * 1.1


def test_viewpoints_stay_within_max_yaw():
    def yaw(frames):
        across = (joint(frames, "hip_left") - joint(frames, "hip_right")).mean(0)
        return np.degrees(np.arctan2(-across[2], across[0]))

    angles = np.array([yaw(play("push", seed)) for seed in range(60)])
    assert np.abs(angles).max() < 68
    assert angles.min() < -40
    assert angles.max() > 40
    assert abs(yaw(play("push", max_yaw=0.0))) < 8


def test_static_shapes_are_whole_surfaces_of_many_poses():
    shape = figures.static_shape(5, 800)
    np.testing.assert_array_equal(shape, figures.static_shape(np.random.default_rng(5), 800))
    assert shape.shape == (800, 3)
    assert shape.dtype == np.float32
    np.testing.assert_allclose(shape.mean(0), 0.0, atol=1e-5)
    shapes = [figures.static_shape(seed, 400) for seed in range(6)]
    heights = [np.ptp(points[:, 1]) for points in shapes]
    assert min(heights) > 1.0
    assert max(heights) < 2.5
    assert np.ptp(heights) > 0.1
    # Without occlusion, bodies have points on their back too.
    front = capsules.depth_view(
        play("wave")[0], figures.PARENTS, WHO.radii, 400, np.random.default_rng(0)
    )[0]
    thickness = [np.ptp(points[np.abs(points[:, 1]) < 0.2][:, 2]) for points in shapes]
    assert min(thickness) > 0.15
    assert len(front) == 400


def test_unknown_motions_are_errors():
    with pytest.raises(InputError, match="Unknown motion 'fly'; use one of raise_arm"):
        figures.animate("fly", WHO, 0)
    with pytest.raises(InputError, match="at least one frame"):
        figures.animate("wave", WHO, 0, 0)

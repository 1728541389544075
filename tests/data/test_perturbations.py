"""Perturbed clips: what changes, what does not, and what the change depends on."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.data.perturbations import PERTURBATIONS, perturb
from pointata_jax.errors import InputError

T, N = 10, 64


def batch(count=3, different=N, columns=5, seed=0):
    """Clips whose frames have `different` points and copies of them, in random order."""
    rng = np.random.default_rng(seed)
    clips = rng.uniform(-0.5, 0.5, (count, T, different, columns)).astype(np.float32)
    rows = np.resize(np.arange(different), N)
    return np.stack([[frame[rng.permutation(rows)] for frame in clip] for clip in clips])


def rows(frame):
    return {tuple(row) for row in frame.tolist()}


def partition(frame):
    """For each row, the first row that equals it."""
    return (frame[:, None] == frame[None]).all(-1).argmax(1)


@pytest.mark.parametrize(("name", "divisor"), [("half", 2), ("quarter", 4), ("eighth", 8)])
@pytest.mark.parametrize("different", [N, 20, 3])
def test_thinned_frames_are_copies_of_a_random_subset(name, divisor, different):
    clips = batch(count=12, different=different)
    thinned = perturb(clips, f"points_{name}", seed=1)
    kept = np.zeros((len(clips), T, N), bool)
    for b, t in np.ndindex(len(clips), T):
        before, after = rows(clips[b, t]), rows(thinned[b, t])
        assert after <= before
        assert len(after) == max(1, different // divisor)
        kept[b, t] = [tuple(row) in after for row in clips[b, t].tolist()]
    # Labels of kept points stay right.
    np.testing.assert_array_equal(thinned[kept], clips[kept])
    share = kept.mean((0, 1))
    assert 0 < share.min() < share.max() < 1, "the subset is the same in all frames"


def test_fewer_points_are_a_subset_of_more():
    clips = batch()
    half, quarter, eighth = (
        perturb(clips, f"points_{share}", 4) for share in ("half", "quarter", "eighth")
    )
    for b, t in np.ndindex(len(clips), T):
        assert rows(eighth[b, t]) < rows(quarter[b, t]) < rows(half[b, t])


@pytest.mark.parametrize(("frames", "lost"), [(10, 2), (24, 5), (3, 1), (2, 1), (1, 0)])
def test_lost_frames_repeat_the_last_kept_one(frames, lost):
    clips = np.resize(batch(count=40), (40, frames, 4, 3))
    clips[..., 0] = np.arange(frames)[:, None]
    clips[..., 1] = np.arange(40)[:, None, None]
    changed = perturb(clips, "frames_dropped", seed=2)
    shown = changed[:, :, 0, 0].astype(int)
    np.testing.assert_array_equal(changed, clips[np.arange(40)[:, None], shown])
    is_lost = shown != np.arange(frames)
    assert (is_lost.sum(1) == lost).all()
    assert not is_lost[:, 0].any()
    for clip, clip_lost in zip(shown, is_lost, strict=True):
        for t in np.flatnonzero(clip_lost):
            assert clip[t] == clip[t - 1]
    if lost and frames > 2:
        assert is_lost[:, 1:].any(0).all(), "some frame is never lost"


def test_noise_has_its_size_and_leaves_channels():
    clips = batch(count=20)
    change = (perturb(clips, "noise") - clips).astype(np.float64)
    assert not change[..., 3:].any()
    noise = change[..., :3].reshape(-1, 3)
    np.testing.assert_allclose(noise.std(0), 0.02, rtol=0.03)
    np.testing.assert_allclose(noise.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(3), atol=0.03)


@pytest.mark.parametrize("up_axis", [0, 1, 2])
def test_the_camera_turns_by_30_degrees_to_either_side(up_axis):
    clips = batch(count=30)
    turned = perturb(clips, "camera_turned", seed=3, up_axis=up_axis)
    np.testing.assert_array_equal(turned[..., 3:], clips[..., 3:])
    np.testing.assert_allclose(turned[..., up_axis], clips[..., up_axis], rtol=1e-6)
    flat = [(up_axis + 1) % 3, (up_axis + 2) % 3]
    before, after = (x[..., flat[0]] + 1j * x[..., flat[1]] for x in (clips, turned))
    angles = np.rad2deg(np.angle(after / before)).reshape(len(clips), -1)
    np.testing.assert_allclose(np.abs(angles), 30, atol=1e-2)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-6)
    assert (np.sign(angles) == np.sign(angles[:, :1])).all()
    assert set(np.sign(angles[:, 0])) == {-1, 1}


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_copies_stay_copies(name):
    clips = batch(different=13)
    # A clip that was mirrored can hold both zeros, which are equal.
    clips[:, :, :, 1] = np.where(np.random.default_rng(1).random((3, T, N)) < 0.5, 0.0, -0.0)
    changed = perturb(clips, name)
    merged = False
    for b, t in np.ndindex(len(clips), T):
        before, after = partition(clips[b, t]), partition(changed[b, t])
        if name.startswith("points"):
            assert len(set(after)) < len(set(before))
        elif name == "frames_dropped":
            merged |= (before != after).any()
        else:
            np.testing.assert_array_equal(before, after)
    assert merged == (name == "frames_dropped")


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_result_depends_on_content_name_and_seed_alone(name):
    clips = batch(count=6, different=40)
    given = clips.copy()
    changed = perturb(clips, name, seed=5)
    np.testing.assert_array_equal(clips, given)
    assert changed.dtype == np.float32
    assert changed.shape == clips.shape
    assert not np.shares_memory(changed, clips)
    order = [4, 0, 2, 5, 1, 3]
    np.testing.assert_array_equal(perturb(clips[order], name, seed=5), changed[order])
    # A view that is not contiguous, one clip at a time.
    view = np.ascontiguousarray(clips.swapaxes(1, 2)).swapaxes(1, 2)
    alone = [perturb(view[i : i + 1], name, seed=5)[0] for i in range(6)]
    np.testing.assert_array_equal(np.stack(alone), changed)
    assert perturb(clips[:0], name).shape == (0, *clips.shape[1:])
    if name == "none":
        np.testing.assert_array_equal(changed, clips)
    else:
        assert (perturb(clips, name, seed=6) != changed).any()
        assert (changed != clips).any((1, 2, 3)).all()


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="Unknown perturbation 'rain'; use one of none, points_h"):
        perturb(batch(), "rain")
    with pytest.raises(InputError, match="up_axis is 3"):
        perturb(batch(), "camera_turned", up_axis=3)
    with pytest.raises(InputError, match="seed must not be negative"):
        perturb(batch(), "noise", -1)

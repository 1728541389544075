"""Windows, merging, sampling, normalization and augmentation."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from pointata_jax.data import clips
from pointata_jax.data.clips import ClipConfig
from pointata_jax.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("num_frames", "frames", "merge", "stride", "expected"),
    [
        (10, 4, 1, 1, [0, 1, 2, 3, 4, 5, 6]),  # The published rule: T - L + 1 windows.
        (24, 24, 1, 1, [0]),
        (23, 24, 1, 1, []),
        (20, 3, 2, 6, [0, 6, 12]),
        (17, 3, 2, 6, [0, 6]),
    ],
)
def test_window_starts(num_frames, frames, merge, stride, expected):
    config = ClipConfig(frames=frames, frame_merge=merge, last_window="drop")
    assert clips.window_starts(num_frames, config, stride).tolist() == expected


@hypothesis.given(
    num_frames=st.integers(1, 60),
    frames=st.integers(1, 12),
    merge=st.integers(1, 4),
    stride=st.integers(1, 90),
    kind=st.sampled_from(["clip", "frame", "point"]),
    short=st.sampled_from(["drop", "repeat"]),
)
@hypothesis.settings(max_examples=300)
def test_every_frame_lies_in_a_window(num_frames, frames, merge, stride, kind, short):
    config = ClipConfig(frames=frames, frame_merge=merge, short_clip_policy=short)
    starts = clips.window_starts(num_frames, config, stride, kind).tolist()
    if num_frames < config.window and short == "drop" and kind == "clip":
        assert starts == []
        return
    assert starts == sorted(set(starts))
    frames = [clips.clip_frames(num_frames, start, config).reshape(-1) for start in starts]
    assert set(np.concatenate(frames)) == set(range(num_frames))


def test_frames_with_labels_cannot_be_dropped():
    config = ClipConfig(frames=4, last_window="drop")
    for kind in ("frame", "point"):
        with pytest.raises(InputError, match=f"labels of {kind}s unscored"):
            clips.window_starts(9, config, 2, kind)


def video(sizes):
    """A video whose x is the index of the frame and whose y is the index of the point."""
    sizes = np.asarray(sizes)
    offsets = np.r_[0, np.cumsum(sizes)]
    points = np.zeros((offsets[-1], 3), np.float32)
    points[:, 0] = np.repeat(np.arange(len(sizes)), sizes)
    points[:, 1] = np.arange(offsets[-1])
    return points, offsets


def test_merged_frames_hold_the_points_of_their_neighbors():
    points, offsets = video([3, 1, 4, 1, 5, 9, 2, 6])
    config = ClipConfig(frames=3, frame_merge=2, points=40)
    index = clips.sample_clip(points, offsets, 1, config, rng())
    assert index.shape == (3, 40)
    for frame, members in enumerate([(1, 2), (3, 4), (5, 6)]):
        wanted = np.flatnonzero(np.isin(points[:, 0], members))
        assert sorted(set(index[frame])) == wanted.tolist()


def test_a_short_video_is_repeated_evenly_in_order():
    points, offsets = video([2, 2, 2])
    config = ClipConfig(frames=6, points=2, short_clip_policy="repeat")
    assert clips.window_starts(3, config, 1).tolist() == [0]
    index = clips.sample_clip(points, offsets, 0, config, rng())
    assert points[index][..., 0].tolist() == [[0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [2, 2]]


def test_a_window_must_lie_in_the_video():
    points, offsets = video([2, 2, 2])
    with pytest.raises(
        InputError, match="window of 2 frames from frame 2 does not lie in a video of 3"
    ):
        clips.sample_clip(points, offsets, 2, ClipConfig(frames=2, points=2), rng())


@hypothesis.given(st.integers(1, 50), st.integers(1, 130), st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=60)
def test_sampling_is_balanced(size, count, seed):
    index = clips.sample_indices(size, count, rng(seed))
    assert len(index) == count
    assert index.min() >= 0
    assert index.max() < size
    drawn = np.bincount(index, minlength=size)
    # Without replacement if there are enough points, otherwise with balanced numbers of copies.
    assert drawn.max() - drawn.min() <= 1
    np.testing.assert_array_equal(index, clips.sample_indices(size, count, rng(seed)))


def test_every_point_is_drawn_equally_often():
    draws = np.concatenate([clips.sample_indices(10, 3, rng(seed)) for seed in range(2000)])
    share = np.bincount(draws, minlength=10) / 2000
    np.testing.assert_allclose(share, 0.3, atol=0.05)


def test_noise_leaves_copies_of_a_point_copies():
    points, offsets = video([5, 7])
    config = ClipConfig(
        frames=2, points=16, jitter_std=0.1, point_dropout=0.3, scale_min=1, scale_max=1
    )

    def cut(augment):
        return clips.make_clip(points, offsets, 0, config, (), rng(3), augment=augment)[0]

    plain, noisy = cut(False), cut(True)
    assert [len(np.unique(frame, axis=0)) for frame in plain] == [5, 7]
    assert len(np.unique(noisy[0], axis=0)) <= 5
    assert 3 < len(np.unique(noisy[1], axis=0)) <= 7
    assert not np.isin(noisy, plain).any()
    # Without `chosen`, every point gets its own noise.
    spread = clips.augment_clip(np.zeros((2, 500, 3), np.float32), config, rng(1))
    assert spread.std() == pytest.approx(0.1, rel=0.05)


def test_sampling_in_evaluation_depends_on_the_start_alone():
    first, second = (clips.evaluation_rng(12).permutation(40) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (clips.evaluation_rng(13).permutation(40) != first).any()
    assert (clips.evaluation_rng(12, seed=1).permutation(40) != first).any()


def test_one_center_and_one_scale_keep_motion_between_frames():
    body = rng().normal(size=(50, 3)) * 0.1
    walk = np.stack([body + [0.5 * step, 0, 3.0] for step in range(5)]).astype(np.float32)
    clip = clips.normalize_clip(walk)
    centers = clip.mean(1)
    steps = np.diff(centers, axis=0)
    assert (steps[:, 0] > 0.3).all()
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-5)
    np.testing.assert_allclose(np.median(clip.reshape(-1, 3), 0), 0, atol=1e-5)
    assert np.linalg.norm(clip, axis=-1).max() == pytest.approx(1, abs=1e-6)


def test_p95_moves_outliers_in_along_their_direction():
    points = rng().normal(size=(4, 100, 3)).astype(np.float32)
    points[1, 3] = [50, 0, 0]
    points[2, 5] = [0, -30, 40]
    clip = clips.normalize_clip(points, scale="p95", radius_limit=1.2)
    radius = np.linalg.norm(clip, axis=-1)
    assert radius.max() <= 1 + 1e-6
    np.testing.assert_allclose(clip[1, 3], [1, 0, 0], atol=0.05)
    np.testing.assert_allclose(clip[2, 5], [0, -0.6, 0.8], atol=0.05)
    # The other points are only centered and scaled.
    centered = points - np.median(points.reshape(-1, 3), 0)
    limit = 1.2 * np.percentile(np.linalg.norm(centered, axis=-1), 95)
    inside = np.linalg.norm(centered, axis=-1) < limit
    assert 0.95 < inside.mean() < 1
    np.testing.assert_allclose(clip[inside], (centered / limit)[inside], atol=1e-5)


def test_the_mean_can_be_the_center():
    points = rng().exponential(size=(4, 100, 3)).astype(np.float32)
    clip = clips.normalize_clip(points, center="mean")
    np.testing.assert_allclose(clip.reshape(-1, 3).mean(0), 0, atol=1e-6)
    assert np.linalg.norm(clip, axis=-1).max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", ["max", "p95"])
def test_a_clip_of_equal_points_stays_finite(scale):
    assert np.isfinite(clips.normalize_clip(np.full((2, 4, 3), 7.0), scale=scale)).all()


def test_statistics_ignore_outliers_and_keep_a_mostly_zero_channel():
    speeds, share = [-2.4, -1.2, -0.6, 0.6, 1.2, 2.4], [0.02, 0.05, 0.43, 0.43, 0.05, 0.02]
    steps = rng().choice(speeds, 20_000, p=share)
    velocity = np.where(rng(1).random(20_000) < 0.93, 0, steps)
    intensity = rng(2).normal(28, 3.5, 20_000)
    velocity[0], intensity[1] = -887, 1e6
    values = np.stack([velocity, intensity], 1)
    found = clips.robust_statistics(values, ("velocity", "intensity"))
    assert found.mean == pytest.approx((0, 28), abs=0.1)
    assert found.std[1] == pytest.approx(3.5, rel=0.05)
    config = ClipConfig(channels=("intensity", "velocity")).with_statistics(found)
    assert config.channel_std == found.std[::-1]
    clip = clips.standardize_channels(values[:, ::-1].astype(np.float32), config)
    assert np.abs(clip).max() <= 4
    # Speeds stay different after clipping; the plain deviation would clip all of them to ±4.
    moving = np.unique(np.round(clip[1:, 1], 3))
    assert len(moving) == 7


def test_augmentation_is_one_linear_map_for_all_frames():
    clip = rng().uniform(-1, 1, (6, 30, 3)).astype(np.float32)
    config = ClipConfig(yaw_max=30, up_axis="z", mirror_axis="x")
    seen_mirror = set()
    for seed in range(20):
        out = clips.augment_clip(clip, config, rng(seed))
        matrix = np.linalg.lstsq(clip[0], out[0], rcond=None)[0]
        np.testing.assert_allclose(clip @ matrix, out, atol=1e-5)
        np.testing.assert_allclose(matrix[2, :2], 0, atol=1e-5)  # z still points up
        np.testing.assert_allclose(matrix[:2, 2], 0, atol=1e-5)
        scales = np.linalg.norm(matrix, axis=1)
        assert (scales > 0.85 - 1e-5).all()
        assert (scales < 1.15 + 1e-5).all()
        assert np.ptp(scales) > 1e-3
        angle = np.degrees(np.arctan2(matrix[1, 0], matrix[1, 1]))
        assert abs(angle) < 30.01
        seen_mirror.add(np.sign(np.linalg.det(matrix)))
    assert seen_mirror == {-1, 1}
    plain = ClipConfig(scale_min=1, scale_max=1)
    np.testing.assert_array_equal(clips.augment_clip(clip, plain, rng()), clip)
    noisy = clips.augment_clip(clip, ClipConfig(scale_min=1, scale_max=1, jitter_std=0.01), rng())
    assert np.std(noisy - clip) == pytest.approx(0.01, rel=0.1)


def linear_map(clip, out):
    """Matrix of the affine map from `clip` to `out`, and the largest deviation from it."""
    rows = np.c_[clip.reshape(-1, 3), np.ones(clip[..., 0].size)]
    solution = np.linalg.lstsq(rows, out.reshape(-1, 3), rcond=None)[0]
    return solution[:3], np.abs(rows @ solution - out.reshape(-1, 3)).max()


def test_published_scale_is_one_factor_about_the_first_frame():
    clip = rng().uniform(-1, 1, (6, 30, 3)).astype(np.float32) + 0.5
    config = ClipConfig(scale_min=0.8, scale_max=1.2, scale_axes="all", scale_about="first frame")
    factors = []
    for seed in range(20):
        out = clips.augment_clip(clip, config, rng(seed))
        matrix, error = linear_map(clip, out)
        assert error < 1e-5
        np.testing.assert_allclose(matrix, matrix[0, 0] * np.eye(3), atol=1e-5)
        np.testing.assert_allclose(out[0].mean(0), clip[0].mean(0), atol=1e-5)
        factors.append(matrix[0, 0])
    assert 0.8 <= min(factors) < 0.87
    assert 1.13 < max(factors) <= 1.2


def test_published_mirror_moves_one_point_of_each_frame():
    clip = rng().uniform(-1, 1, (6, 30, 3)).astype(np.float32)
    config = ClipConfig(scale_min=1, scale_max=1, mirror_axis="first point")
    seen = set()
    for seed in range(10):
        out = clips.augment_clip(clip, config, rng(seed))
        np.testing.assert_array_equal(out[:, 1:], clip[:, 1:])
        sign = out[0, 0, 0] / clip[0, 0, 0]
        np.testing.assert_array_equal(out[:, 0], sign * clip[:, 0])
        seen.add(float(sign))
    assert seen == {-1.0, 1.0}


def test_yaw_range_and_small_rotations():
    clip = rng().uniform(-1, 1, (2, 30, 3)).astype(np.float32)
    full = ClipConfig(scale_min=1, scale_max=1, yaw_min=np.degrees(1.0), yaw_max=360)
    small = ClipConfig(scale_min=1, scale_max=1, rotation_std=np.degrees(0.06))
    angles, sizes = [], []
    for seed in range(200):
        matrix, _ = linear_map(clip, clips.augment_clip(clip, full, rng(seed)))
        np.testing.assert_allclose(matrix[1], (0, 1, 0), atol=1e-5)
        angles.append(np.arctan2(matrix[2, 0], matrix[2, 2]) % (2 * np.pi))
        matrix, _ = linear_map(clip, clips.augment_clip(clip, small, rng(seed)))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
        sizes.append(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))
    assert 1.0 - 1e-4 < min(angles) < 1.2
    assert max(angles) > 6.1
    # The angle of three rotations with deviation s has mean 2s√(2/π); each is clipped at 3s.
    assert np.mean(sizes) == pytest.approx(0.06 * 2 * np.sqrt(2 / np.pi), rel=0.1)
    assert max(sizes) < 0.18 * np.sqrt(3) + 1e-3


def test_dropped_points_become_the_first_of_their_frame():
    chosen = np.arange(40 * 100).reshape(40, 100)
    shares = []
    for seed in range(100):
        out = clips.drop_points(chosen, 0.2, rng(seed))
        same = out == chosen
        assert (out[~same] == np.broadcast_to(chosen[:, :1], chosen.shape)[~same]).all()
        shares.append(1 - same.mean())
    assert max(shares) < 0.21
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)

    points, offsets = video([50] * 4)
    config = ClipConfig(frames=4, points=50, point_dropout=0.9)
    num_different = [
        len(
            np.unique(
                clips.make_clip(points, offsets, 0, config, (), rng(3), augment=a)[0][1], axis=0
            )
        )
        for a in (True, False)
    ]
    assert num_different[0] < num_different[1] == 50


def test_make_clip_picks_channels_by_name():
    points, offsets = video([4, 4, 4])
    points = np.c_[points, np.full(12, 5.0), np.arange(12)].astype(np.float32)
    columns = ("x", "y", "z", "same", "number")
    config = ClipConfig(
        frames=2, points=4, channels=("number",), channel_mean=(2.0,), channel_std=(2.0,)
    )
    picked = clips.channel_positions(columns, config)
    clip, _ = clips.make_clip(points, offsets, 1, config, picked, rng(), augment=False)
    assert clip.shape == (2, 4, 4)
    assert clip.dtype == np.float32
    assert sorted(clip[0, :, 3]) == [1.0, 1.5, 2.0, 2.5]
    assert sorted(clip[1, :, 3]) == [3.0, 3.5, 4.0, 4.0]  # 4.5 is clipped.


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ClipConfig(frames=0), "frames must be at least 1"),
        (lambda: ClipConfig(scale="mean"), "scale is 'mean'; use one of 'max', 'p95'"),  # type: ignore
        (lambda: ClipConfig(short_clip_policy="pad"), "short_clip_policy is 'pad'"),  # type: ignore
        (
            lambda: ClipConfig(scale_min=1.2),
            "scale_min must be positive and at most scale_max; they are 1.2 and 1.15",
        ),
        (
            lambda: ClipConfig(channels=("v",), channel_mean=(1.0, 2.0), channel_std=(1.0, 2.0)),
            "one value for each",
        ),
        (
            lambda: clips.channel_positions(("x", "y", "z", "v"), ClipConfig(channels=("w",))),
            "no extra channel 'w'; it has",
        ),
        (
            lambda: clips.standardize_channels(np.zeros((1, 1)), ClipConfig(channels=("v",))),
            "no training statistics",
        ),
        (lambda: clips.sample_indices(0, 4, rng()), "without points cannot be sampled"),
    ],
)
def test_invalid_settings(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

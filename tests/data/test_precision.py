"""Conversion of any real type to float32: accuracy is kept, and every loss is reported."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from pointata_jax.data import schema
from pointata_jax.data.clips import ClipConfig, make_clip
from pointata_jax.errors import InputError

RADIUS = 0.9


def body(num_points=300, seed=0):
    """Points inside a ball around the origin."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(num_points, 3))
    return points * (
        RADIUS * rng.uniform(0.2, 1, (num_points, 1)) / np.linalg.norm(points, axis=1)[:, None]
    )


def stored(points, **changes):
    arguments = dict(
        frame_sizes=[len(points) // 3] * 3, video_id="v", subject="s", labels=0, num_classes=1
    )
    return schema.make_example(points, **(arguments | changes))["points"]


def clip(points):
    """The evaluation clip of three frames."""
    offsets = np.arange(4) * (len(points) // 3)
    config = ClipConfig(frames=3, points=len(points) // 3)
    return make_clip(points, offsets, 0, config, (), np.random.default_rng(0), augment=False)[0]


@hypothesis.given(
    exponent=st.floats(-2, 9),
    direction=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["<f8", ">f8", "longdouble"]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_a_clip_is_the_same_wherever_the_body_is(exponent, direction, dtype, scale):
    local = body()
    away = np.random.default_rng(direction).normal(size=3) * 10**exponent
    expected = clip(local.astype(np.float32))
    # The offset scales with the body, so that float64 holds the sum.
    moved = stored(((local + away) * scale).astype(dtype))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(clip(moved), expected, atol=1e-5)


def test_one_outlier_does_not_stop_centering():
    local = body()
    for outlier in ([0, 0, 0], [1e12, 0, -1e12], [3.9e6, 0, 0]):
        far = local + [388096.0, 3948996.0, 40.0]
        far[17] = outlier
        kept = np.arange(len(far)) != 17
        points = stored(far)[kept].astype(np.float64)
        difference = points - local[kept]
        np.testing.assert_allclose(difference - np.round(difference[0]), 0, atol=1e-6)


def test_points_near_the_origin_keep_every_bit():
    near = body() + [0, 0, 3.0]
    np.testing.assert_array_equal(stored(near), near.astype(np.float32))
    assert (stored(near.astype(">f4")) == near.astype(np.float32)).all()
    for dtype in (np.float16, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64):
        values = np.abs(near * 20).astype(dtype)
        np.testing.assert_array_equal(stored(values), values.astype(np.float64))
    # float32 is never moved, because digits that a cast dropped cannot be restored.
    wide = (body() * 1e4 + 1e5).astype(np.float32)
    np.testing.assert_array_equal(stored(wide), wide)
    same = np.full((300, 3), 7e6)
    np.testing.assert_array_equal(stored(same), same)


def test_millimeters_of_a_map_as_integers():
    local = np.round(body() * 1000)
    far = (local + [388096123, 1394899677, -40]).astype(np.int32)
    points = stored(far)
    np.testing.assert_array_equal(points - points[0], local - local[0])


def test_frames_of_different_types_are_widened_together():
    near, far = body(), body() + 4e6
    points = stored([far, near.astype(np.float32), np.zeros((2, 3), np.int8)], frame_sizes=None)
    np.testing.assert_allclose(points[:300] - points[300:600], 4e6, rtol=1e-6)
    points = stored([far, far.astype(object)], frame_sizes=None)
    np.testing.assert_allclose(points[300:] - points[300], local_of(far), atol=1e-6)


def local_of(points):
    return points - points[0]


def test_channels_are_never_moved_and_losses_are_reported():
    far = np.concatenate([body() + 4e6, np.full((300, 2), [1.7e9, 0.25])], axis=1)
    far[:, 3] += np.linspace(0, 20, 300)
    with pytest.warns(UserWarning, match="column gps_time holds values that differ by less"):
        points = stored(far, columns=("x", "y", "z", "gps_time", "intensity"))
    np.testing.assert_array_equal(points[:, 3:], far[:, 3:].astype(np.float32))
    far[150, 4] = -1e39
    with pytest.raises(
        InputError, match=r"'v', frame 1 holds -1e\+39, beyond the range of float32"
    ):
        stored(far)
    with pytest.raises(InputError, match="given holds values beyond the range of float32"):
        schema.as_float32(far[:, [0, 1, 2, 4]], "given")


def test_a_type_too_coarse_for_the_position_is_refused():
    far = (body() + [388096.0, 3948996.0, 40.0]).astype(np.float32)
    with pytest.raises(InputError, match=r"lie near 3948996.* in float32, .* of 0\.25 there"):
        stored(far)
    stored((body() * 50 + 5e4).astype(np.float32))
    with pytest.raises(InputError, match="in float16"):
        stored((body() + 300).astype(np.float16))


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (np.full((3, 3), 1j), "has the dtype complex128, expected real numbers"),
        (np.full((3, 3), "1"), "has the dtype <U1, expected real numbers"),
        (np.array([[{}, 1, 2]] * 3), "not an array of real numbers"),
        ([[1, 2, 3], [4, 5]], "not an array of real numbers"),
        (np.ma.masked_less(np.arange(9.0).reshape(3, 3), 1), "has masked values"),
    ],
)
def test_values_that_are_not_numbers(points, sentence):
    with pytest.raises(InputError, match=f"Video 'v'.*{sentence}"):
        stored(points)
    with pytest.raises(InputError, match=f"Video 'v', frame 1.*{sentence}"):
        stored([np.zeros((3, 3)), points], frame_sizes=None)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ([1.5, 1.5], "frame sizes are float64 of shape"),
        (3, r"frame sizes are int64 of shape \(\)"),
        ([2**32 + 1, 2], f"add up to {2**32 + 3}, but there are 3 points"),
        (np.array([2**63 - 1, 2**63 - 1]), f"add up to {2**64 - 2}, but"),
    ],
)
def test_impossible_frame_sizes(sizes, sentence):
    with pytest.raises(InputError, match=sentence):
        stored(np.zeros((3, 3)), frame_sizes=sizes)

"""The kinds of frames that `predict` accepts, and the errors for all others."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.data.sensor_frames import read_frames
from pointata_jax.errors import InputError

COLUMNS = ("x", "y", "z", "intensity")
POINTS = np.arange(20.0).reshape(5, 4)


def structured(names, rows=POINTS, kind="f4"):
    values = dict(zip(COLUMNS, rows.T, strict=True))
    array = np.zeros(len(rows), [(name, kind) for name in names])
    for name in names:
        array[name] = values.get(name, 7)
    return array


class Table:
    """Like a data frame: columns by name, in another order."""

    def to_records(self, index):
        assert index is False
        return structured(("intensity", "z", "y", "x"))


@pytest.mark.parametrize(
    "frame",
    [
        POINTS,
        POINTS.astype(">f2"),
        POINTS.astype(np.uint8),
        POINTS.tolist(),
        [tuple(row) for row in POINTS],
        structured(("x", "y", "z", "intensity")),
        structured(("ring", "intensity", "y", "z", "x"), kind="f8"),
        structured(("z", "intensity", "x", "y"), kind="i2"),
        structured(("x", "y", "z", "intensity")).reshape(5, 1),  # an organized cloud
        Table(),
        np.ma.array(POINTS),
    ],
)
def test_frames_are_read_by_position_or_by_name(frame):
    for video in ([frame, frame], (frame for _ in range(2)), iter((frame, frame))):
        frames = read_frames(video, COLUMNS, needed=COLUMNS)
        assert len(frames) == 2
        for array in frames:
            np.testing.assert_array_equal(np.asarray(array, np.float64), POINTS)


def test_a_whole_array_is_a_sequence_of_frames_and_precision_is_kept():
    video = np.full((3, 5, 4), 388096.123456789)
    frames = read_frames(video, COLUMNS, needed=COLUMNS)
    assert [frame.shape for frame in frames] == [(5, 4)] * 3
    assert frames[0].dtype == np.float64
    assert frames[2][1, 2] == 388096.123456789


def test_fields_that_are_not_needed_may_be_missing():
    (frame,) = read_frames([structured(("x", "y", "z"))], COLUMNS, needed=("x", "y", "z"))
    np.testing.assert_array_equal(frame[:, :3], POINTS[:, :3])
    with pytest.raises(InputError, match="frame 0 has the fields x, y, z and lacks intensity"):
        read_frames([structured(("x", "y", "z"))], COLUMNS, needed=COLUMNS)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ("frames.npz", "sequence of frames, it is a str"),
        ({"points": POINTS}, "sequence of frames, it is a dict"),
        (None, "it is a NoneType"),
        (17, "it is an int"),
        ([], "has no frames"),
        ((x for x in ()), "has no frames"),
        (structured(COLUMNS), "one array structured"),
        (np.float32(3), "it is a float32"),
        (POINTS, r"frame 0 is \(4,\)"),
        ([POINTS, None], r"frame 1 \(a NoneType\) has the dtype object"),
        ([POINTS, [[0, 0, 0, 0], [1, 1]]], r"frame 1 \(a list\) is not an array of numbers"),
        ([POINTS[:, :3]], r"\[n, 4\] with the columns x, y, z, intensity; frame 0 is \(5, 3\)"),
        ([POINTS, POINTS[:0]], "frame 1 holds no points"),
        ([structured(COLUMNS)[:0]], "frame 0 holds no points"),
        ([POINTS.astype(complex)], "complex128"),
        ([POINTS > 3], "dtype bool"),
        ([POINTS.astype("U8")], "dtype <U8"),
        ([np.array([{"x": 1}] * 4)], "dtype object"),
        ([structured(COLUMNS, kind="U3")], "the field x is <U3"),
        ([np.ma.array(POINTS, mask=POINTS > 18)], r"frame 0 \(a MaskedArray\) has masked values"),
    ],
)
def test_other_inputs_are_named(video, message):
    with pytest.raises(InputError, match=message):
        read_frames(video, COLUMNS, needed=COLUMNS)


def test_errors_of_a_conversion_are_passed_on():
    class OnTheDevice:
        def __array__(self, *_, **__):
            raise RuntimeError("copy it to the host first")

    with pytest.raises(InputError, match=r"frame 0 \(an OnTheDevice\).*copy it to the host first"):
        read_frames([OnTheDevice()], COLUMNS, needed=COLUMNS)

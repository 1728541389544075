"""Numbers of any real type become the float32 that is stored and computed with, without loss.

float32 tells about 16 million steps apart between zero and the largest value. Meters of a map
projection (UTM), millimeters of a large hall or seconds since 1970 need more. Files hold such
numbers in wider types, and what was lost in a cast no later centering brings back.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError

FAR = 16
"""Points are far from the origin when they lie more than this many times their spread from it."""

COARSE = 0.01
"""Steps of a type that are larger than this share of the spread of the values destroy them."""

_LARGEST = float(np.finfo(np.float32).max)
_SAMPLE = 1024


def real_numbers(values: Any, where: str) -> np.ndarray:
    """`values` as an array of integers or floats of whatever width; no values change.

    Raises:
      InputError: rows of different lengths, masked values, or no real numbers.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{where} has masked values; leave these points out.")
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":  # Numbers of Python, as tables of mixed columns give them.
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} is no array of real numbers ({error}).") from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"{where} is {array.dtype}, expected real numbers.")
    return array


def check_finite(points: np.ndarray, sizes: np.ndarray, where: str) -> None:
    """InputError, naming the first frame, if values are NaN, infinite or too large for float32.

    Args:
      points: [ΣN, C], of any real type.
      sizes: points of each frame [T].
      where: what they are, for the error.
    """
    if points.dtype.kind != "f":
        return  # Every integer of 64 bits lies in the range of float32.
    narrow = points.dtype.itemsize <= 4
    fits = np.isfinite(points) if narrow else np.abs(points) <= _LARGEST
    if fits.all():
        return
    bad = ~fits.all(axis=1)
    first = int(np.flatnonzero(bad)[0])
    frame = int(np.searchsorted(np.cumsum(sizes), first, side="right"))
    values = points[bad]
    if np.isfinite(values).all():
        raise InputError(
            f"{where}, frame {frame} holds {values[0][~fits[first]][0]:.3g}, more than float32 can "
            f"({_LARGEST:.2g}; {bad.sum()} such points in the video); leave these points out or "
            "use another unit."
        )
    raise InputError(
        f"{where}, frame {frame} holds NaN or infinite values ({bad.sum()} such points in the "
        "video); clean the source file."
    )


def check_resolution(points: np.ndarray, where: str) -> None:
    """InputError if coordinates came in a type too narrow for where they lie.

    That is so if the type's steps there are more than `COARSE` of the spread of the points (from
    the 5th to the 95th percentile of an axis, the widest): a person at UTM coordinates in float32
    is a handful of columns, a quarter of a meter apart. Types wider than float32 and integers
    always pass.

    Args:
      points: finite, [ΣN, 3+C].
      where: what they are, for the error.
    """
    if points.dtype.kind != "f" or points.dtype.itemsize > 4 or not len(points):
        return
    low, _, high, spread = _quantiles(points[:, :3])
    largest = np.maximum(np.abs(low), np.abs(high)).max()
    step = float(np.spacing(points.dtype.type(largest)))
    if step > COARSE * spread.max() > 0:
        raise InputError(
            f"{where}: its points lie near {largest:.7g} in {points.dtype.name}, which has steps "
            f"of {step:.2g} there, and spread over {spread.max():.2g} only; what lay between is "
            "lost. Save them as float64, or subtract an origin before you save them."
        )


def as_float32(
    points: np.ndarray, where: str = "The points", columns: Sequence[str] = ()
) -> np.ndarray:
    """Points as float32, moved first where float32 would cost accuracy.

    Types whose values float32 holds exactly (float32, float16, integers of up to 16 bits) keep
    every value. Others are widened to float64. If they lie far from the origin, one vector is
    subtracted from the coordinates x, y, z of all points, and then they are rounded to float32.

    Far means: the largest magnitude of a coordinate is more than `FAR` times the spread, both
    taken between the 5th and 95th percentile of each axis, over all axes, so that single wild
    points count for nothing. Up to there, rounding costs less than 1e-6 of the spread. The vector
    is the median, rounded to whole numbers, or where the spread is less than one to its first
    decimal place. It is not kept: a clip is centered anyway, and only differences between the
    points of one video count. Channels are never moved.

    Args:
      points: [..., 3+C], real numbers of any type; the coordinates come first.
      where: what they are, for errors.
      columns: names of the columns, for errors.

    Raises:
      InputError: a finite value beyond the range of float32.

    Warns:
      UserWarning: a channel whose values float32 cannot tell apart, such as seconds since 1970.
    """
    kind, size = points.dtype.kind, points.dtype.itemsize
    if size <= (4 if kind == "f" else 2):
        return np.asarray(points, np.float32)
    wide = np.asarray(points, np.float64)
    flat = wide.reshape(-1, wide.shape[-1])
    origin = _origin(flat[:, :3])
    for number in range(3, flat.shape[1]):
        name = columns[number] if number < len(columns) else f"number {number + 1}"
        _check_channel(flat[:, number : number + 1], name)
    if origin is not None:
        wide = wide.copy()
        wide[..., :3] -= origin
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    if not np.isfinite(narrow).all() and (np.isfinite(wide) & ~np.isfinite(narrow)).any():
        raise InputError(
            f"{where} holds values beyond the range of float32 ({_LARGEST:.2g}); use another unit."
        )
    return narrow


def _origin(coordinates: np.ndarray) -> np.ndarray | None:
    """What to subtract from coordinates [M, 3] that lie far from the origin; else None."""
    if not len(coordinates):
        return None
    low, middle, high, spread = _quantiles(coordinates)
    widest = spread.max()
    if not widest or np.maximum(np.abs(low), np.abs(high)).max() <= FAR * widest:
        return None
    decimals = max(0, -int(np.floor(np.log10(widest))))
    return np.round(middle, min(decimals, 15))


def _check_channel(values: np.ndarray, name: str) -> None:
    """Warns if float32 has no steps fine enough for the values [M, 1] of a channel."""
    if not len(values):
        return
    low, _, high, spread = _quantiles(values)
    largest = np.float32(min(np.maximum(np.abs(low), np.abs(high)).max(), _LARGEST))
    if np.spacing(largest) > COARSE * spread.max() > 0:
        # No numbers of this video, so that Python shows the same sentence once.
        warnings.warn(
            f"The column {name} holds values that differ by less than float32 can tell apart so "
            "far from zero; to use it as a channel, subtract an offset before you save it.",
            UserWarning,
            stacklevel=3,
        )


def _quantiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """5th percentile, median, 95th percentile and spread of each column of [M, C], float64 [C].

    Of a sample with a fixed seed where there are many rows; rows that are not finite do not count.
    The spread is between the percentiles, or where they agree between the extremes.
    """
    if len(values) > _SAMPLE:
        values = values[np.random.default_rng(0).integers(len(values), size=_SAMPLE)]
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        nothing = np.zeros(values.shape[1])
        return nothing, nothing, nothing, nothing
    low, middle, high = np.percentile(values, [5, 50, 95], axis=0)
    spread = high - low
    return low, middle, high, np.where(spread > 0, spread, np.ptp(values, axis=0))

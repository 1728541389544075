"""Converts numbers of any real type to float32 without losing the shape of a cloud.

float32 has 24 bits of precision, about 16 million steps between zero and the largest value. Meters
of a map projection (UTM), millimeters of a large hall or seconds since 1970 need more, so files
store them in wider types. Digits that a cast to float32 drops cannot be restored by centering
later. The coordinates are therefore moved to the origin before the cast.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError

FAR = 16
"""Points are far from the origin if they lie more than `FAR` times their spread from it."""

COARSE = 0.01
"""A type is too coarse if its steps are larger than this share of the spread of the values."""

_LARGEST = float(np.finfo(np.float32).max)
_SAMPLE = 1024


def real_numbers(values: Any, where: str) -> np.ndarray:
    """Converts `values` to an array of integers or floats of any width, without changing them.

    Args:
      values: an array, or anything that NumPy converts to one.
      where: what the values are, for the message.

    Raises:
      InputError: rows of different lengths, masked values, or values that are not real numbers.
    """
    check_unmasked(values, where)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":  # Python numbers, from tables with mixed columns.
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} is not an array of real numbers ({error}).") from None
    check_real(array, where)
    return array


def check_unmasked(values: Any, where: str) -> None:
    """InputError if `values` is a masked array with masked values."""
    if np.ma.is_masked(values):
        raise InputError(f"{where} has masked values; leave these points out.")


def check_real(array: np.ndarray, where: str) -> None:
    """InputError unless the dtype of an array is an integer or floating-point type."""
    if array.dtype.kind not in "fiu":
        raise InputError(f"{where} has the dtype {array.dtype}, expected real numbers.")


def check_finite(points: np.ndarray, sizes: np.ndarray, where: str) -> None:
    """Checks that all values are finite and in the range of float32.

    Args:
      points: `[ΣN, C]`, of any real type.
      sizes: number of points of each frame, `[T]`.
      where: what the points are, for the message.

    Raises:
      InputError: NaN, infinite or too large values; the message names the first frame with them.
    """
    if points.dtype.kind != "f":
        return  # Every 64-bit integer is in the range of float32.
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
            f"{where}, frame {frame} holds {values[0][~fits[first]][0]:.3g}, beyond the range of "
            f"float32 ({_LARGEST:.2g}; {bad.sum()} such points in the video); leave these points "
            "out or use another unit."
        )
    raise InputError(
        f"{where}, frame {frame} holds NaN or infinite values ({bad.sum()} such points in the "
        "video); clean the source file."
    )


def check_resolution(points: np.ndarray, where: str) -> None:
    """Checks that the type of the coordinates has enough precision at their position.

    The steps of the type near the largest coordinate must not exceed `COARSE` times the spread of
    the points: the range from the 5th to the 95th percentile, of the axis with the widest one. A
    person at UTM coordinates in float32 fails: all points lie in a few planes a quarter of a meter
    apart. Integers and types wider than float32 always pass.

    Args:
      points: finite points, `[ΣN, 3+C]`.
      where: what the points are, for the message.

    Raises:
      InputError: the type is too coarse.
    """
    if points.dtype.kind != "f" or points.dtype.itemsize > 4 or not len(points):
        return
    low, _, high, spread = _quantiles(points[:, :3])
    largest = np.maximum(np.abs(low), np.abs(high)).max()
    step = float(np.spacing(points.dtype.type(largest)))
    if step > COARSE * spread.max() > 0:
        raise InputError(
            f"{where}: its points lie near {largest:.7g} in {points.dtype.name}, which has steps "
            f"of {step:.2g} there, but they spread over {spread.max():.2g} only, so digits were "
            "lost; save them as float64, or subtract an origin before you save them."
        )


def as_float32(
    points: np.ndarray, where: str = "The points", columns: Sequence[str] = ()
) -> np.ndarray:
    """Converts points to float32; points of a wider type that lie far away are centered first.

    Types whose values float32 holds exactly (float32, float16, integers of up to 16 bits) keep
    every value. Other types are widened to float64. If the points lie far from the origin, one
    vector is subtracted from the coordinates of all points. Then they are rounded to float32.

    Far means that the largest magnitude of a coordinate is more than `FAR` times the spread. Both
    are taken between the 5th and the 95th percentile of each axis, over all axes, so that outliers
    have no effect. Closer to the origin, rounding costs less than 1e-6 of the spread.

    The subtracted vector is the median, rounded to whole numbers, or to the first significant
    decimal place of the spread if that is less than one. It is not stored, because a clip is
    centered anyway and only differences between the points of a video matter. Channels are not
    changed.

    Args:
      points: `[..., 3+C]`, real numbers of any type, coordinates first.
      where: what the points are, for the message.
      columns: names of the columns, for the warning.

    Raises:
      InputError: a finite value beyond the range of float32.

    Warns:
      UserWarning: a channel whose values float32 cannot distinguish, such as seconds since 1970.
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
    """The vector to subtract from coordinates [M, 3] far from the origin; None if they are near."""
    if not len(coordinates):
        return None
    low, middle, high, spread = _quantiles(coordinates)
    widest = spread.max()
    if not widest or np.maximum(np.abs(low), np.abs(high)).max() <= FAR * widest:
        return None
    decimals = max(0, -int(np.floor(np.log10(widest))))
    return np.round(middle, min(decimals, 15))


def _check_channel(values: np.ndarray, name: str) -> None:
    """Warns if float32 is too coarse for the values [M, 1] of a channel."""
    if not len(values):
        return
    low, _, high, spread = _quantiles(values)
    largest = np.float32(min(np.maximum(np.abs(low), np.abs(high)).max(), _LARGEST))
    if np.spacing(largest) > COARSE * spread.max() > 0:
        # Without numbers of this video, so that Python shows the warning only once.
        warnings.warn(
            f"The column {name} holds values that differ by less than the steps of float32 at "
            "their distance from zero; to use it as a channel, subtract an offset before you save "
            "it.",
            UserWarning,
            stacklevel=3,
        )


def _quantiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """5th percentile, median, 95th percentile and spread of each column of [M, C], float64 [C].

    Large inputs are sampled, with a fixed seed. Rows that are not finite are ignored. The spread is
    the distance of the two percentiles, or the whole range where they are equal.
    """
    if len(values) > _SAMPLE:
        values = values[np.random.default_rng(0).integers(len(values), size=_SAMPLE)]
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        zeros = np.zeros(values.shape[1])
        return zeros, zeros, zeros, zeros
    low, middle, high = np.percentile(values, [5, 50, 95], axis=0)
    spread = high - low
    return low, middle, high, np.where(spread > 0, spread, np.ptp(values, axis=0))

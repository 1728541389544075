"""Changes of clips that measure how robust a trained model is, in NumPy."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float, Int

from pointata_jax.data.clips import AXES
from pointata_jax.data.rotations import axis_rotation
from pointata_jax.errors import InputError

NOISE_STD = 0.02
"""Standard deviation of "noise", in radii of the clip."""

TURN = 30.0
"""Angle of "camera_turned", in degrees."""

DROPPED_SHARE = 0.2
"""Share of the frames that "frames_dropped" replaces."""

_DIVISORS = {"points_half": 2, "points_quarter": 4, "points_eighth": 8}

PERTURBATIONS: tuple[str, ...] = ("none", *_DIVISORS, "frames_dropped", "noise", "camera_turned")
"""Values of `name` in `perturb`."""


def perturb(
    clips: Float[np.ndarray, "b t n c"], name: str, seed: int = 0, *, up_axis: int = 1
) -> Float[np.ndarray, "b t n c"]:
    """Changes normalized clips as another sensor or another place of the sensor would.

    The result for a clip depends on its content, `name`, `seed` and `up_axis` alone, not on the
    batch. With equal content and seed, the points of "points_eighth" are among those of
    "points_quarter", and these among those of "points_half".

    Args:
      clips: a batch of clips, coordinates first, float32. Not changed.
      name: one of `PERTURBATIONS`.
        "none": no change.
        "points_half", "points_quarter", "points_eighth": every frame keeps this share of its
        different points (at least one), drawn at random. Kept points stay in their rows; the other
        rows become copies of kept points, about equally often.
        "frames_dropped": `DROPPED_SHARE` of the frames (at least one, never the first) repeat the
        last frame that was kept, as a sensor does that holds its last frame. A clip of one frame
        stays as it is.
        "noise": Gaussian noise of `NOISE_STD` on x, y and z. Copies of a point within a frame stay
        copies.
        "camera_turned": one rotation by `TURN` about the up axis, to a random side.
      seed: seed of the random choices, not negative.
      up_axis: the axis that points up: 0, 1 or 2.

    Raises:
      InputError: an unknown name, axis or seed.
    """
    if name not in PERTURBATIONS:
        raise InputError(f"Unknown perturbation {name!r}; use one of {', '.join(PERTURBATIONS)}.")
    if up_axis not in range(len(AXES)):
        raise InputError(f"up_axis is {up_axis}; use 0, 1 or 2.")
    if seed < 0:
        raise InputError(f"seed must not be negative, it is {seed}.")
    changed = np.array(clips, np.float32)
    if name == "none":
        return changed
    for place, clip in enumerate(changed):
        rng = _rng(clip, seed)
        if name in _DIVISORS:
            changed[place] = [_thinned(frame, _DIVISORS[name], rng) for frame in clip]
        elif name == "frames_dropped":
            changed[place] = clip[_held_frames(len(clip), rng)]
        elif name == "noise":
            for frame in clip:
                first, same = _different_points(frame)
                noise = rng.standard_normal((len(first), 3), np.float32)
                frame[:, :3] += np.float32(NOISE_STD) * noise[same]
        else:
            angle = np.deg2rad(TURN) * rng.choice((-1, 1))
            changed[place, ..., :3] = _turned(clip[..., :3], angle, up_axis)
    return changed


def _rng(clip: Float[np.ndarray, "t n c"], seed: int) -> np.random.Generator:
    """A generator that depends on the seed and the content of a clip alone."""
    digest = hashlib.sha256(clip.tobytes()).digest()
    return np.random.default_rng((seed, int.from_bytes(digest, "little")))


def _different_points(
    frame: Float[np.ndarray, "n c"],
) -> tuple[Int[np.ndarray, " different"], Int[np.ndarray, " n"]]:
    """First row of each different point of a frame, and which of these each row equals.

    As in `ops.repeated_points`, points are equal where all their columns are.
    """
    order = np.lexsort(frame.T)
    rows = frame[order]
    new = np.concatenate([[True], (rows[1:] != rows[:-1]).any(-1)])
    same = np.empty(len(frame), np.int64)
    same[order] = np.cumsum(new) - 1
    return order[new], same


def _thinned(
    frame: Float[np.ndarray, "n c"], divisor: int, rng: np.random.Generator
) -> Float[np.ndarray, "n c"]:
    """A frame with one of `divisor` different points, filled up with copies of these."""
    first, same = _different_points(frame)
    kept = rng.permutation(len(first))[: max(1, len(first) // divisor)]
    lost = ~np.isin(same, kept)
    thinned = frame.copy()
    thinned[lost] = frame[first[np.resize(kept, lost.sum())]]
    return thinned


def _held_frames(count: int, rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    """The frame that a sensor shows at each of `count` times if it loses some of its frames."""
    shown = np.arange(count)
    if count > 1:
        lost = rng.choice(np.arange(1, count), max(1, round(DROPPED_SHARE * count)), replace=False)
        shown[lost] = 0
    return np.maximum.accumulate(shown)


def _turned(
    coordinates: Float[np.ndarray, "t n 3"], angle: float, axis: int
) -> Float[np.ndarray, "t n 3"]:
    """Coordinates rotated about an axis."""
    matrix = axis_rotation(angle, axis).astype(np.float32)
    # A matrix product may round equal rows differently, and copies would no longer be copies.
    return (coordinates[..., None, :] * matrix).sum(-1)

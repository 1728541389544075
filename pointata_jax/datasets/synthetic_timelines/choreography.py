"""Plans of videos with several motions, and their frame labels.

A motion that ends in another pose than it began (an arm up, sitting down, pushing) is followed by
its reversal, as a body that sits has to stand up. Between such pairs, cyclic motions and rest come
in any order. No two consecutive segments have the same motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.procedural import figures

LABEL_NAMES: tuple[str, ...] = (*figures.MOTIONS, figures.REST)
"""The twelve motions with the labels that they have in `synthetic_actions`, then rest."""

SHORTEST = 10
"""Frames of the shortest segment of a video, also at its beginning and end."""

# The circles are not here: they end in the pose in which they began.
_WAY_BACK = {"raise_arm": "lower_arm", "sit_down": "stand_up", "push": "pull"}
_BEGINNINGS = tuple(name for name in LABEL_NAMES if name not in _WAY_BACK.values())
_ONE_WAY_FRAMES = (14, 24)
_CYCLIC_FRAMES = (24, 44)
_REST_FRAMES = (12, 24)


def plan(num_frames: int, rng: np.random.Generator) -> list[figures.Segment]:
    """Segments that add up to `num_frames`.

    The first segment may be cut short, but not below `SHORTEST`.

    Args:
      num_frames: frames of the video, at least `2 * SHORTEST`.
      rng: draws motions and lengths.

    Raises:
      InputError: too few frames.
    """
    if num_frames < 2 * SHORTEST:
        raise InputError(
            f"A timeline of {num_frames} frames has no room for two motions; use {2 * SHORTEST} "
            "frames or more."
        )
    segments: list[figures.Segment] = []
    left, last = num_frames, ""
    while left > 0:
        choices = [name for name in _BEGINNINGS if name != last]
        motion, seed = choices[rng.integers(len(choices))], int(rng.integers(2**31))
        for part in (motion, _WAY_BACK.get(motion)):
            if part is None or left <= 0:
                continue
            length = _length(part, rng)
            if not segments:
                length = int(rng.integers(SHORTEST, length + 1))
            # Frames that are too few for another segment are added to this one, and a segment that
            # is longer than what is left is cut short.
            length = left if left - length < SHORTEST else length
            segments.append(figures.Segment(part, length, seed))
            left, last = left - length, part
    return segments


def frame_labels(segments: Sequence[figures.Segment]) -> np.ndarray:
    """int32 [T]: the label of every frame of a plan."""
    labels = [LABEL_NAMES.index(segment.motion) for segment in segments]
    lengths = [segment.num_frames for segment in segments]
    return np.repeat(np.array(labels, np.int32), lengths)


def _length(motion: str, rng: np.random.Generator) -> int:
    if motion == figures.REST:
        low, high = _REST_FRAMES
    elif motion in _WAY_BACK or motion in _WAY_BACK.values():
        low, high = _ONE_WAY_FRAMES
    else:
        low, high = _CYCLIC_FRAMES
    return int(rng.integers(low, high + 1))

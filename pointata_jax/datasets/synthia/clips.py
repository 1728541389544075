"""Cuts Synthia 4D into the published clips: three frames, half of the scene, a margin for context.

A clip is a frame and the two before it. A scene is too wide for one sample, so each clip gives two:
the points on one side of the plane z = z of the car, and those up to a margin on the other side.
What lies in the margin is seen but neither trained on nor scored, so it is labeled -1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from pointata_jax.data.schema import IGNORED
from pointata_jax.datasets.synthia.frames import Frame, FrameRef
from pointata_jax.errors import InputError

FRAMES_PER_CLIP = 3
MARGIN = 1.0
"""Meters of context beyond the dividing plane."""

HALVES = ("plus", "minus")
"""Larger and smaller z than the car; z is horizontal."""


def clip_frames(
    newest: FrameRef, available: Collection[FrameRef], count: int = FRAMES_PER_CLIP
) -> list[FrameRef]:
    """The frames of a clip, newest first; where one is not there, the one found last is repeated.

    Args:
      newest: the frame that the clip is about.
      available: the frames of its split.
      count: frames of the clip.
    """
    refs = [newest]
    for back in range(1, count):
        earlier = FrameRef(newest.sequence, newest.number - back)
        refs.append(earlier if earlier in available else refs[-1])
    return refs


def half_scene(
    frame: Frame, center_z: float, half: str, margin: float = MARGIN
) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 6] and labels [n] of one half of a frame with its margin; -1 in the margin.

    Args:
      frame: all points.
      center_z: where the dividing plane is: z of the car in the newest frame of the clip.
      half: "plus" or "minus". A point on the plane itself belongs to the half "plus" (in
        the published code to none).
      margin: meters.
    """
    z = frame.points[:, 2]
    if half == "plus":
        kept, own = z > center_z - margin, z >= center_z
    else:
        kept, own = z < center_z + margin, z < center_z
    labels = np.where(own, frame.labels, IGNORED)
    return frame.points[kept], labels[kept].astype(np.int32)


def half_clip(
    refs: list[FrameRef], half: str, load: Callable[[FrameRef], Frame]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Points per frame and all labels of one half of a clip, in the order of `refs`.

    Args:
      refs: frames, one of which is the newest; the plane is that of the newest.
      half: "plus" or "minus".
      load: reads a frame.

    Raises:
      InputError: a frame has no point in this half.
    """
    center_z = float(load(max(refs)).center[2])
    points, labels = zip(*(half_scene(load(ref), center_z, half) for ref in refs), strict=True)
    for ref, part in zip(refs, points, strict=True):
        if not len(part):
            raise InputError(
                f"Frame {ref.name} has no point in the half {half} of z = {center_z:g} m, where "
                f"the car of frame {max(refs).name} is; one of the two files is not what its name "
                "says."
            )
    return list(points), np.concatenate(labels)

"""Cuts Synthia 4D into the published clips: three frames, half of the scene, a margin for context.

A clip is a frame and the two before it. A scene is too wide for one sample, so each clip gives two
halves. A half has the points on one side of a vertical plane through the car, z = z of the car, and
the points of a margin on the other side. Points of the margin are input but neither trained on nor
scored, so their label is -1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from pointata_jax.data.schema import IGNORED
from pointata_jax.datasets.synthia.frames import Frame, FrameRef
from pointata_jax.errors import InputError

FRAMES_PER_CLIP = 3
MARGIN = 1.0
"""Width of the margin beyond the dividing plane, meters."""

HALVES = ("plus", "minus")
"""Larger and smaller z than the car; z is horizontal."""


def clip_frames(
    newest: FrameRef, available: Collection[FrameRef], count: int = FRAMES_PER_CLIP
) -> list[FrameRef]:
    """The frames of a clip, newest first; a missing frame is replaced by the one after it in time.

    Args:
      newest: the last frame of the clip.
      available: the frames of its split.
      count: number of frames of the clip.
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
      center_z: z of the dividing plane, that of the car in the newest frame of the clip.
      half: "plus" or "minus". A point on the plane belongs to the half "plus"; in the published
        code it belongs to none.
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
      refs: the frames of the clip in any order; the newest decides the dividing plane.
      half: "plus" or "minus".
      load: reads a frame.

    Raises:
      InputError: a frame has no points in this half.
    """
    center_z = float(load(max(refs)).center[2])
    points, labels = zip(*(half_scene(load(ref), center_z, half) for ref in refs), strict=True)
    for ref, part in zip(refs, points, strict=True):
        if not len(part):
            raise InputError(
                f"Frame {ref.name} has no point in the half {half} of z = {center_z:g} m, where "
                f"the car of frame {max(refs).name} is; one of the two files has a wrong name, "
                "unpack both again."
            )
    return list(points), np.concatenate(labels)

"""Animates an articulated human figure before a camera: one motion, or a sequence of motions.

A body (`procedural.bodies`) performs parametrized motions (`procedural.motions`). Its surface
consists of capsules (`procedural.capsules`). All motions are computed from formulas; no recorded
motion is used.

Coordinates are meters in the frame of a depth camera at the origin: x to the right, y up, z away
from the camera. A figure with yaw zero faces the camera, so its left side is at positive x.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pointata_jax.data.rotations import axis_rotation
from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules
from pointata_jax.procedural.bodies import (
    FOOT_CLEARANCE,
    INDEX,
    JOINTS,
    PARENTS,
    RADII,
    SKELETON,
    Subject,
    bone_offsets,
    forward_kinematics,
    subject,
    with_flesh,
)
from pointata_jax.procedural.motions import MOTIONS, REST, REVERSED, perform

__all__ = [
    "JOINTS",
    "MOTIONS",
    "PARENTS",
    "RADII",
    "REST",
    "REVERSED",
    "SKELETON",
    "Segment",
    "Subject",
    "animate",
    "animate_sequence",
    "static_shape",
    "subject",
    "with_flesh",
]

TRANSITION = 8
"""Number of frames over which `animate_sequence` blends one motion into the next."""

_STANDARD_FRAMES = 24  # Frames of one performance; the tempo of sequences is relative to it.


@dataclasses.dataclass(frozen=True)
class Segment:
    """One motion of a sequence.

    Attributes:
      motion: one of `MOTIONS`, or `REST`.
      num_frames: length in frames, at least `TRANSITION`.
      seed: seed of side, amplitude, tempo and phase. A motion followed by its reversal with the
        same seed continues from the same pose.
    """

    motion: str
    num_frames: int
    seed: int


def animate(
    motion: str,
    subject: Subject,
    rng: np.random.Generator | int,
    num_frames: int = 24,
    *,
    max_yaw: float = np.pi / 3,
) -> Float[np.ndarray, "t joints 3"]:
    """One performance of a motion, in the frame of a depth camera at the origin.

    Side, phase, speed, amplitude, viewpoint (yaw, position, height of the camera) and a slow drift
    are random. For the same subject and seed, a reversed motion (`REVERSED`) has exactly the frames
    of the other one in reverse order.

    Args:
      motion: one of `MOTIONS`.
      subject: the performer.
      rng: generator or seed.
      num_frames: number T of frames, independent of the speed.
      max_yaw: largest rotation away from the camera, radians.

    Returns:
      Positions of `JOINTS`, float32, meters.

    Raises:
      InputError: unknown motion or no frames.
    """
    if motion not in MOTIONS:
        raise InputError(f"Unknown motion {motion!r}; use one of {', '.join(MOTIONS)}.")
    if num_frames < 1:
        raise InputError(f"num_frames is {num_frames}; give at least one frame.")
    rng = np.random.default_rng(rng)
    forward = REVERSED.get(motion, motion)
    pose = perform(forward, np.linspace(0.0, 1.0, num_frames), subject, rng)
    angles = pose.angles + _sway(num_frames, subject.sway, rng)
    joints = forward_kinematics(angles, bone_offsets(subject))
    shift = _shift_to_support(joints, pose.support_joints)
    joints = _put_on_floor(joints, pose.vertical_offset, shift, subject)
    joints = with_flesh(_place_before_camera(joints, subject, rng, max_yaw))
    return (joints[::-1] if motion in REVERSED else joints).astype(np.float32)


def animate_sequence(
    segments: Sequence[Segment],
    subject: Subject,
    rng: np.random.Generator | int,
    *,
    max_yaw: float = np.pi / 3,
) -> Float[np.ndarray, "t joints 3"]:
    """A sequence of motions, with blended joint angles between them.

    The blend is centered at the boundary of two segments. During `TRANSITION` frames both motions
    continue while the weight passes from one to the other, and each joint rotates the shorter way.
    A frame belongs to the motion with the larger weight. Viewpoint, sway and drift are continuous
    over the whole sequence.

    Args:
      segments: the motions, in order.
      subject: the performer.
      rng: generator or seed of viewpoint, sway and drift.
      max_yaw: largest rotation away from the camera, radians.

    Returns:
      Positions of `JOINTS`, float32, meters. T is the sum of the lengths of the segments.

    Raises:
      InputError: no segments, an unknown motion, or a segment shorter than a transition.
    """
    if not segments:
        raise InputError("A sequence needs at least one segment.")
    for segment in segments:
        if segment.motion not in (*MOTIONS, REST):
            raise InputError(
                f"Unknown motion {segment.motion!r}; use one of {', '.join((*MOTIONS, REST))}."
            )
        if segment.num_frames < TRANSITION:
            raise InputError(
                f"A segment of {segment.num_frames} frames is shorter than a transition "
                f"({TRANSITION} frames); make it longer."
            )
    rng = np.random.default_rng(rng)
    boundaries = np.cumsum([0, *(segment.num_frames for segment in segments)])
    num_frames = int(boundaries[-1])
    angles, vertical_offset = np.zeros((num_frames, len(SKELETON), 3)), np.zeros(num_frames)
    weights, supports = [], []
    for segment, start in zip(segments, boundaries[:-1], strict=True):
        frames = _frames_of(int(start), segment.num_frames, num_frames)
        time = (frames - start) / (segment.num_frames - 1)
        draw = np.random.default_rng(segment.seed)
        duration = segment.num_frames / _STANDARD_FRAMES
        pose = perform(segment.motion, time, subject, draw, duration=duration, full_length=True)
        weight = _blend_weight(frames, int(start))
        # Full turns do not change a pose; they are chosen to minimize the rotation at the boundary.
        turns = np.round((angles[start] - pose.angles[start - frames[0]]) / (2.0 * np.pi))
        unwrapped = pose.angles + 2.0 * np.pi * turns
        angles[frames] = _blend(angles[frames], unwrapped, weight[:, None, None])
        vertical_offset[frames] = _blend(vertical_offset[frames], pose.vertical_offset, weight)
        weights.append((frames, weight[:, None]))
        supports.append(pose.support_joints)
    angles += _sway(num_frames, subject.sway, rng, num_frames / _STANDARD_FRAMES)
    joints = forward_kinematics(angles, bone_offsets(subject))
    shift = np.zeros((num_frames, 2))
    for (frames, weight), support_joints in zip(weights, supports, strict=True):
        shift[frames] = _blend(
            shift[frames], _shift_to_support(joints[frames], support_joints), weight
        )
    joints = _put_on_floor(joints, vertical_offset, shift, subject)
    return with_flesh(_place_before_camera(joints, subject, rng, max_yaw, 0.15)).astype(np.float32)


def static_shape(rng: np.random.Generator | int, num_points: int) -> Float[np.ndarray, "n 3"]:
    """The whole surface of a random body in a random pose, a shape for pre-training.

    Args:
      rng: generator or seed.
      num_points: number N of points, uniform over the outer surface.

    Returns:
      float32, meters, y up, rotated about y at random, centered at the mean of its points.
    """
    rng = np.random.default_rng(rng)
    who = subject(int(rng.integers(1 << 31)))
    frames = animate(MOTIONS[rng.integers(len(MOTIONS))], who, rng, 8, max_yaw=np.pi)
    pose = frames[rng.integers(len(frames))]
    points = capsules.surface_points(pose, PARENTS, who.radii, num_points, rng, outer=True).points
    return points - points.mean(axis=0)


def _frames_of(start: int, length: int, num_frames: int) -> np.ndarray:
    """The frames that a segment contributes to: its own, and half a transition on either side."""
    half = TRANSITION // 2
    return np.arange(max(start - half, 0), min(start + length + half, num_frames))


def _blend(before: np.ndarray, after: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return after * weight + before * (1.0 - weight)


def _blend_weight(frames: np.ndarray, start: int) -> np.ndarray:
    """Weight of a segment [F], which rises from 0 to 1 around its start."""
    if not start:
        return np.ones(len(frames))
    part = np.clip((frames - start + 0.5) / TRANSITION + 0.5, 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def _sway(
    num_frames: int, size: float, rng: np.random.Generator, duration: float = 1.0
) -> np.ndarray:
    """Slow involuntary rotations of all joints [T, 20, 3], radians."""
    shape = (1, len(SKELETON), 3)
    time = np.linspace(0.0, 1.0, num_frames)[:, None, None]
    turns, phase = rng.uniform(0.3, 1.3, shape) * duration, rng.random(shape)
    return size * rng.standard_normal(shape) * np.sin(2.0 * np.pi * (turns * time + phase))


def _shift_to_support(joints: np.ndarray, support_joints: Sequence[str]) -> np.ndarray:
    """Translation along x and z [T, 2] that keeps the supporting joints in place."""
    if not support_joints:
        return np.zeros((len(joints), 2))
    return -joints[:, [INDEX[name] for name in support_joints]].mean(axis=1)[:, ::2]


def _put_on_floor(
    joints: np.ndarray, vertical_offset: np.ndarray, shift: np.ndarray, who: Subject
) -> np.ndarray:
    """Puts the figure `vertical_offset` above the floor y = 0, and shifts it along x and z."""
    clearance = FOOT_CLEARANCE * who.girth * who.height
    translation = np.zeros((len(joints), 1, 3))
    translation[:, 0, 1] = clearance + vertical_offset - joints[..., 1].min(axis=1)
    translation[:, 0, ::2] = shift
    return joints + translation


def _place_before_camera(
    joints: np.ndarray,
    who: Subject,
    rng: np.random.Generator,
    max_yaw: float,
    drift_std: float = 0.05,
) -> np.ndarray:
    """Rotates the figure and places it before a camera at the origin, with a slow drift."""
    num_frames = len(joints)
    time = np.linspace(-0.5, 0.5, num_frames)
    yaw = rng.uniform(-max_yaw, max_yaw) + rng.normal(0.0, 2.0 * who.sway) * time
    position = np.array([rng.uniform(-0.35, 0.35), -rng.uniform(0.85, 1.25), rng.uniform(2.3, 3.3)])
    drift = np.zeros((num_frames, 1, 3))
    drift[:, 0, ::2] = rng.normal(0.0, drift_std, 2) * time[:, None]
    rotated = np.einsum("tij,tkj->tki", axis_rotation(yaw, 1), joints)
    return rotated + position + drift

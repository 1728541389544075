"""The articulated figure of the embedded data, staged before a camera: one motion or many.

A body (`procedural.bodies`) performs parametrized motions (`procedural.motions`) and can be dressed
with capsules (`procedural.capsules`). Everything is made here from formulas; no recorded motion is
used.

Coordinates are meters in the frame of a depth camera at the origin: x to the right, y up, z away
from the camera. A figure with yaw zero faces the camera, so its left is at positive x.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

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
"""Frames over which `animate_sequence` passes from one motion to the next."""

_STANDARD_FRAMES = 24  # A performance of `animate`; rates of sequences are measured by it.


@dataclasses.dataclass(frozen=True)
class Segment:
    """One motion of a sequence.

    Attributes:
      motion: one of `MOTIONS`, or `REST`.
      num_frames: its length; at least `TRANSITION`.
      seed: of its side, reach, tempo and phase. A motion and its reversal with the same seed meet
        in the same pose.
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
) -> np.ndarray:
    """One performance of a motion, as a depth camera at the origin has it before it.

    Side, phase, speed, amplitude, viewpoint (yaw, place in the room, height of the camera) and a
    slow drift are drawn anew. A reversed motion (`REVERSED`) is, for the same subject and seed,
    exactly the other one with its frames in reverse order.

    Args:
      motion: one of `MOTIONS`.
      subject: who performs it.
      rng: generator or seed.
      num_frames: frames T of the performance, whatever its speed.
      max_yaw: largest turn away from the camera, radians.

    Returns:
      float32 `[T, J, 3]` positions of `JOINTS`, meters.

    Raises:
      InputError: unknown motion or no frames.
    """
    if motion not in MOTIONS:
        raise InputError(f"Unknown motion {motion!r}: use one of {', '.join(MOTIONS)}.")
    if num_frames < 1:
        raise InputError(f"num_frames is {num_frames}; a performance has at least one frame.")
    rng = np.random.default_rng(rng)
    forward = REVERSED.get(motion, motion)
    score = perform(forward, np.linspace(0.0, 1.0, num_frames), subject, rng)
    angles = score.angles + _sway(num_frames, subject.sway, rng)
    joints = forward_kinematics(angles, bone_offsets(subject))
    joints = _grounded(joints, score.hop, _anchor(joints, score.stand_on), subject)
    joints = with_flesh(_placed(joints, subject, rng, max_yaw))
    return (joints[::-1] if motion in REVERSED else joints).astype(np.float32)


def animate_sequence(
    segments: Sequence[Segment],
    subject: Subject,
    rng: np.random.Generator | int,
    *,
    max_yaw: float = np.pi / 3,
) -> np.ndarray:
    """One take of several motions after each other, with a blend of joint angles between them.

    The blend is centered at the seam: during `TRANSITION` frames both motions go on while the pose
    passes from the one to the other, each joint by the shorter way round. So a frame belongs to the
    motion that has the larger share in it. Viewpoint, sway and drift run through the whole take.

    Args:
      segments: the motions, in order.
      subject: who performs them.
      rng: generator or seed of viewpoint, sway and drift.
      max_yaw: largest turn away from the camera, radians.

    Returns:
      float32 `[T, J, 3]` positions of `JOINTS`, meters; T is the sum of the segments' lengths.

    Raises:
      InputError: no segments, an unknown motion, or a segment shorter than a transition.
    """
    if not segments:
        raise InputError("A sequence needs at least one segment.")
    for segment in segments:
        if segment.motion not in (*MOTIONS, REST):
            raise InputError(
                f"Unknown motion {segment.motion!r}: use one of {', '.join((*MOTIONS, REST))}."
            )
        if segment.num_frames < TRANSITION:
            raise InputError(
                f"A segment of {segment.num_frames} frames is shorter than a transition "
                f"({TRANSITION} frames); make it longer."
            )
    rng = np.random.default_rng(rng)
    seams = np.cumsum([0, *(segment.num_frames for segment in segments)])
    num_frames = int(seams[-1])
    angles, hop = np.zeros((num_frames, len(SKELETON), 3)), np.zeros(num_frames)
    shares, stands = [], []
    for segment, start in zip(segments, seams[:-1], strict=True):
        frames = _reach_of(int(start), segment.num_frames, num_frames)
        time = (frames - start) / (segment.num_frames - 1)
        draw = np.random.default_rng(segment.seed)
        duration = segment.num_frames / _STANDARD_FRAMES
        score = perform(segment.motion, time, subject, draw, duration=duration, brisk=True)
        share = _share(frames, int(start))[:, None, None]
        # Whole turns change no pose, so take those that bring the two motions closest at the seam.
        turns = np.round((angles[start] - score.angles[start - frames[0]]) / (2.0 * np.pi))
        own = score.angles + 2.0 * np.pi * turns
        angles[frames] = own * share + angles[frames] * (1.0 - share)
        hop[frames] = score.hop * share[:, 0, 0] + hop[frames] * (1.0 - share[:, 0, 0])
        shares.append((frames, share[:, 0]))
        stands.append(score.stand_on)
    angles += _sway(num_frames, subject.sway, rng, num_frames / _STANDARD_FRAMES)
    joints = forward_kinematics(angles, bone_offsets(subject))
    anchor = np.zeros((num_frames, 2))
    for (frames, share), stand_on in zip(shares, stands, strict=True):
        anchor[frames] = _anchor(joints[frames], stand_on) * share + anchor[frames] * (1.0 - share)
    joints = _grounded(joints, hop, anchor, subject)
    return with_flesh(_placed(joints, subject, rng, max_yaw, 0.15)).astype(np.float32)


def static_shape(rng: np.random.Generator | int, num_points: int) -> np.ndarray:
    """The whole surface of a random body in a random pose: a shape to pre-train on.

    Args:
      rng: generator or seed.
      num_points: number N of points, uniform over the outer surface.

    Returns:
      float32 `[N, 3]`, meters, y up, turned about y at random, centered at the mean of its points.
    """
    rng = np.random.default_rng(rng)
    who = subject(int(rng.integers(1 << 31)))
    frames = animate(MOTIONS[rng.integers(len(MOTIONS))], who, rng, 8, max_yaw=np.pi)
    pose = frames[rng.integers(len(frames))]
    points = capsules.surface_points(pose, PARENTS, who.radii, num_points, rng, outer=True).points
    return points - points.mean(axis=0)


def _reach_of(start: int, length: int, num_frames: int) -> np.ndarray:
    """The frames in which a segment has a share: its own and half a transition on either side."""
    half = TRANSITION // 2
    return np.arange(max(start - half, 0), min(start + length + half, num_frames))


def _share(frames: np.ndarray, start: int) -> np.ndarray:
    """Share of a segment [F], rising from 0 to 1 around its start; later ones take it away."""
    if not start:
        return np.ones(len(frames))
    part = np.clip((frames - start + 0.5) / TRANSITION + 0.5, 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def _sway(
    num_frames: int, size: float, rng: np.random.Generator, duration: float = 1.0
) -> np.ndarray:
    """Slow involuntary turns of all joints [T, 20, 3]."""
    shape = (1, len(SKELETON), 3)
    time = np.linspace(0.0, 1.0, num_frames)[:, None, None]
    turns, phase = rng.uniform(0.3, 1.3, shape) * duration, rng.random(shape)
    return size * rng.standard_normal(shape) * np.sin(2.0 * np.pi * (turns * time + phase))


def _anchor(joints: np.ndarray, stand_on: Sequence[str]) -> np.ndarray:
    """Shift along x and z [T, 2] that keeps the feet it stands on in place."""
    if not stand_on:
        return np.zeros((len(joints), 2))
    return -joints[:, [INDEX[name] for name in stand_on]].mean(axis=1)[:, ::2]


def _grounded(joints: np.ndarray, hop: np.ndarray, anchor: np.ndarray, who: Subject) -> np.ndarray:
    """Stands the figure on the floor y = 0, `hop` above it, and shifts it by `anchor`."""
    clearance = FOOT_CLEARANCE * who.girth * who.height
    shift = np.zeros((len(joints), 1, 3))
    shift[:, 0, 1] = clearance + hop - joints[..., 1].min(axis=1)
    shift[:, 0, ::2] = anchor
    return joints + shift


def _placed(
    joints: np.ndarray,
    who: Subject,
    rng: np.random.Generator,
    max_yaw: float,
    wander: float = 0.05,
) -> np.ndarray:
    """Turns the figure and puts it before a camera at the origin, slowly drifting."""
    num_frames = len(joints)
    time = np.linspace(-0.5, 0.5, num_frames)
    yaw = rng.uniform(-max_yaw, max_yaw) + rng.normal(0.0, 2.0 * who.sway) * time
    place = np.array([rng.uniform(-0.35, 0.35), -rng.uniform(0.85, 1.25), rng.uniform(2.3, 3.3)])
    drift = np.zeros((num_frames, 1, 3))
    drift[:, 0, ::2] = rng.normal(0.0, wander, 2) * time[:, None]
    turned = np.einsum("tij,tkj->tki", axis_rotation(yaw, 1), joints)
    return turned + place + drift

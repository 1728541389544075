"""Procedural motions of a human figure, as joint angles over time, computed from formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from pointata_jax.procedural.bodies import INDEX, SKELETON, Subject


class PoseSequence:
    """Joint angles of one motion over T moments.

    Positive rotations about x swing a hanging limb forward. Those about z (mirrored on the right)
    swing it sideways away from the body. Those about y twist it.

    Attributes:
      angles: rotations of each joint about x, y and z, radians.
      vertical_offset: height of the feet above the floor, in meters.
      support_joints: joints that stay in place on the floor; empty if none does.
      side: "left" or "right", the side that performs a one-sided motion.
      other_side: the other one.
      amplitude: factor of the size of the motion.
    """

    angles: Float[np.ndarray, "t joints 3"]
    vertical_offset: Float[np.ndarray, " t"]

    def __init__(
        self,
        time: Float[np.ndarray, " t"],
        who: Subject,
        rng: np.random.Generator,
        duration: float,
        full_length: bool,
    ) -> None:
        """Starts with all angles zero, and draws side, amplitude and tempo.

        Args:
          time: see `perform`.
          who: the performer.
          rng: random generator.
          duration: see `perform`.
          full_length: see `perform`.
        """
        self.angles = np.zeros((len(time), len(SKELETON), 3))
        self.vertical_offset = np.zeros(len(time))
        self.support_joints: tuple[str, ...] = ()
        self.side = "left" if rng.random() < who.left_share else "right"
        self.other_side = "right" if self.side == "left" else "left"
        self.amplitude = who.amplitude * rng.uniform(0.88, 1.12)
        self._tempo = who.tempo * rng.uniform(0.88, 1.12)
        self._rng = rng
        self._time = time
        self._duration = duration
        self._full_length = full_length

    def transition(self) -> Float[np.ndarray, " t"]:
        """A smooth transition from 0 to 1 with a random start and length."""
        if self._full_length:
            length = self._rng.uniform(0.85, 1.0)
            begin = self._rng.uniform(0.0, 1.0 - length)
        else:
            length = np.clip(0.52 / self._tempo * self._rng.uniform(0.85, 1.15), 0.3, 0.8)
            begin = self._rng.uniform(0.05, 0.95 - length)
        part = np.clip((self._time - begin) / length, 0.0, 1.0)
        return part * part * (3.0 - 2.0 * part)

    def phase(self, number: float) -> Float[np.ndarray, " t"]:
        """The phase, in radians, of about `number` cycles from a random start."""
        turns = number * self._tempo * self._duration * self._time + self._rng.random()
        return 2.0 * np.pi * turns

    def rotate(
        self,
        joint: str,
        *,
        x: np.ndarray | float | None = None,
        y: np.ndarray | float | None = None,
        z: np.ndarray | float | None = None,
    ) -> None:
        """Sets rotations of one joint; `y` and `z` are mirrored for joints of the right side."""
        mirror = -1.0 if joint.endswith("_right") else 1.0
        for axis, (value, sign) in enumerate(((x, 1.0), (y, mirror), (z, mirror))):
            if value is not None:
                self.angles[:, INDEX[joint], axis] = sign * value

    def rotate_both(self, joint: str, **rotations: np.ndarray | float) -> None:
        """Sets rotations of the left and the right joint of this name."""
        self.rotate(f"{joint}_left", **rotations)
        self.rotate(f"{joint}_right", **rotations)


def _raise_arm(pose: PoseSequence) -> None:
    lift = pose.transition() * pose.amplitude
    pose.rotate(f"shoulder_{pose.side}", x=2.75 * lift, z=0.25)
    pose.rotate(f"elbow_{pose.side}", x=0.25 - 0.15 * lift)


def _sit_down(pose: PoseSequence) -> None:
    depth = pose.transition()
    bend = 1.5 * np.clip(pose.amplitude, 0.85, 1.05) * depth
    pose.rotate_both("hip", x=bend, z=0.12)
    pose.rotate_both("knee", x=-bend)
    pose.rotate("spine", x=-0.15 * depth - 0.55 * np.sin(np.pi * depth))
    pose.rotate_both("shoulder", x=0.55 * depth, z=0.15)
    pose.rotate_both("elbow", x=0.2 + 0.5 * depth)
    pose.support_joints = ("ankle_left", "ankle_right")


def _push(pose: PoseSequence) -> None:
    out = pose.transition() * np.clip(pose.amplitude, 0.8, 1.05)
    pose.rotate_both("shoulder", x=0.35 + 1.15 * out, z=0.25)
    pose.rotate_both("elbow", x=2.15 - 2.0 * out)
    pose.rotate("spine", x=-0.15 * out)


def _wave(pose: PoseSequence) -> None:
    swing = np.sin(pose.phase(2.6))
    pose.rotate(f"shoulder_{pose.side}", z=1.6)
    pose.rotate(f"elbow_{pose.side}", z=1.15 + 0.55 * pose.amplitude * swing)


def _circle_forward(pose: PoseSequence) -> None:
    phase = pose.phase(1.6)
    pose.rotate(f"shoulder_{pose.side}", x=-phase, z=0.3)
    pose.rotate(f"elbow_{pose.side}", x=0.15)
    pose.rotate("spine", y=0.12 * np.sin(phase))


def _kick(pose: PoseSequence) -> None:
    phase = pose.phase(1.5)
    swing, follow = np.sin(phase), np.sin(phase + 0.9)
    leg, support = pose.side, pose.other_side
    pose.rotate(f"hip_{leg}", x=pose.amplitude * (0.45 + 0.85 * swing))
    pose.rotate(f"knee_{leg}", x=-0.25 - 0.5 * np.maximum(-follow, 0.0))
    pose.rotate(f"shoulder_{support}", x=0.2 + 0.6 * swing, z=0.3)
    pose.rotate(f"shoulder_{leg}", x=-0.4 * swing, z=0.3)
    pose.rotate("spine", x=0.12 * swing)
    pose.support_joints = (f"ankle_{support}",)


def _jumping_jack(pose: PoseSequence) -> None:
    phase = pose.phase(2.0)
    open_ = 0.5 - 0.5 * np.cos(phase)
    pose.rotate_both("shoulder", z=0.2 + 2.5 * pose.amplitude * open_)
    pose.rotate_both("elbow", z=0.15 * open_)
    pose.rotate_both("hip", z=0.05 + 0.42 * pose.amplitude * open_)
    pose.vertical_offset = 0.09 * pose.amplitude * np.abs(np.sin(phase))


def _march(pose: PoseSequence) -> None:
    phase = pose.phase(1.9)
    for side, part in (("left", np.sin(phase)), ("right", -np.sin(phase))):
        lift = pose.amplitude * np.maximum(part, 0.0)
        pose.rotate(f"hip_{side}", x=1.25 * lift)
        pose.rotate(f"knee_{side}", x=-1.55 * lift)
        pose.rotate(f"shoulder_{side}", x=-0.6 * pose.amplitude * part, z=0.12)
        pose.rotate(f"elbow_{side}", x=0.9)


FORWARD: dict[str, Callable[[PoseSequence], None]] = {
    "raise_arm": _raise_arm,
    "sit_down": _sit_down,
    "push": _push,
    "wave": _wave,
    "circle_forward": _circle_forward,
    "kick": _kick,
    "jumping_jack": _jumping_jack,
    "march": _march,
}

REVERSED: dict[str, str] = {
    "lower_arm": "raise_arm",
    "stand_up": "sit_down",
    "pull": "push",
    "circle_backward": "circle_forward",
}
"""Motions that are another one in reverse: a single frame cannot distinguish the two."""

MOTIONS: tuple[str, ...] = (
    "raise_arm",
    "lower_arm",
    "sit_down",
    "stand_up",
    "push",
    "pull",
    "circle_forward",
    "circle_backward",
    "wave",
    "kick",
    "jumping_jack",
    "march",
)
"""Names of the motions, in label order."""

REST = "rest"
"""Standing still, a motion of sequences only (`figures.animate_sequence`)."""


def perform(
    motion: str,
    time: Float[np.ndarray, " t"],
    who: Subject,
    rng: np.random.Generator,
    *,
    duration: float = 1.0,
    full_length: bool = False,
) -> PoseSequence:
    """One performance of a motion as joint angles, without involuntary sway.

    Args:
      motion: one of `MOTIONS`, or `REST`. Motions of `REVERSED` run backwards.
      time: the moments to compute, 0 at the start of the motion and 1 at its end. Outside of [0, 1]
        one-way motions keep their first or last pose and cyclic motions continue.
      who: the performer.
      rng: random generator of side, amplitude, tempo and phase.
      duration: length relative to a performance of `figures.animate`. Longer motions have more
        cycles, not slower ones.
      full_length: one-way motions fill nearly all of the time instead of a random part of it.
    """
    pose = PoseSequence(1.0 - time if motion in REVERSED else time, who, rng, duration, full_length)
    pose.rotate_both("shoulder", z=who.splay)
    pose.rotate_both("elbow", x=0.25)
    pose.rotate_both("knee", x=-0.06)
    pose.rotate_both("hip", x=0.03, z=0.05)
    if motion != REST:
        FORWARD[REVERSED.get(motion, motion)](pose)
    pose.angles[:, INDEX["spine"], 0] -= who.lean
    return pose

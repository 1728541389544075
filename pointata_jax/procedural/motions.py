"""The motions of the embedded data's figure, as joint angles over time, all made from formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pointata_jax.procedural.bodies import INDEX, SKELETON, Subject


class Score:
    """What a motion writes to: joint angles over time, in radians.

    Positive turns about x swing a hanging limb forward, about z (mirrored on the right) sideways
    away from the body; about y they twist it.
    """

    def __init__(
        self,
        time: np.ndarray,
        who: Subject,
        rng: np.random.Generator,
        duration: float,
        brisk: bool,
    ) -> None:
        self.angles = np.zeros((len(time), len(SKELETON), 3))
        self.hop = np.zeros(len(time))
        self.stand_on: tuple[str, ...] = ()
        self.side = "left" if rng.random() < who.left_share else "right"
        self.other = "right" if self.side == "left" else "left"
        self.reach = who.amplitude * rng.uniform(0.88, 1.12)
        self._tempo = who.tempo * rng.uniform(0.88, 1.12)
        self._rng = rng
        self._time = time
        self._duration = duration
        self._brisk = brisk

    def once(self) -> np.ndarray:
        """A smooth passage from 0 to 1 [T] with a random beginning and length."""
        if self._brisk:
            length = self._rng.uniform(0.85, 1.0)
            begin = self._rng.uniform(0.0, 1.0 - length)
        else:
            length = np.clip(0.52 / self._tempo * self._rng.uniform(0.85, 1.15), 0.3, 0.8)
            begin = self._rng.uniform(0.05, 0.95 - length)
        part = np.clip((self._time - begin) / length, 0.0, 1.0)
        return part * part * (3.0 - 2.0 * part)

    def cycles(self, number: float) -> np.ndarray:
        """A phase in radians [T] that turns about `number` times, from a random beginning."""
        turns = number * self._tempo * self._duration * self._time + self._rng.random()
        return 2.0 * np.pi * turns

    def set(self, joint: str, *, x=None, y=None, z=None) -> None:  # noqa: ANN001
        """Sets turns of one joint; `z` and `y` are mirrored for joints of the right side."""
        mirror = -1.0 if joint.endswith("_right") else 1.0
        for axis, (value, sign) in enumerate(((x, 1.0), (y, mirror), (z, mirror))):
            if value is not None:
                self.angles[:, INDEX[joint], axis] = sign * value

    def both(self, joint: str, **turns) -> None:  # noqa: ANN003
        """`set` for the joint of either side."""
        self.set(f"{joint}_left", **turns)
        self.set(f"{joint}_right", **turns)


def _raise_arm(score: Score) -> None:
    lift = score.once() * score.reach
    score.set(f"shoulder_{score.side}", x=2.75 * lift, z=0.25)
    score.set(f"elbow_{score.side}", x=0.25 - 0.15 * lift)


def _sit_down(score: Score) -> None:
    depth = score.once()
    bend = 1.5 * np.clip(score.reach, 0.85, 1.05) * depth
    score.both("hip", x=bend, z=0.12)
    score.both("knee", x=-bend)
    score.set("spine", x=-0.15 * depth - 0.55 * np.sin(np.pi * depth))
    score.both("shoulder", x=0.55 * depth, z=0.15)
    score.both("elbow", x=0.2 + 0.5 * depth)
    score.stand_on = ("ankle_left", "ankle_right")


def _push(score: Score) -> None:
    out = score.once() * np.clip(score.reach, 0.8, 1.05)
    score.both("shoulder", x=0.35 + 1.15 * out, z=0.25)
    score.both("elbow", x=2.15 - 2.0 * out)
    score.set("spine", x=-0.15 * out)


def _wave(score: Score) -> None:
    swing = np.sin(score.cycles(2.6))
    score.set(f"shoulder_{score.side}", z=1.6)
    score.set(f"elbow_{score.side}", z=1.15 + 0.55 * score.reach * swing)


def _circle_forward(score: Score) -> None:
    phase = score.cycles(1.6)
    score.set(f"shoulder_{score.side}", x=-phase, z=0.3)
    score.set(f"elbow_{score.side}", x=0.15)
    score.set("spine", y=0.12 * np.sin(phase))


def _kick(score: Score) -> None:
    phase = score.cycles(1.5)
    swing, follow = np.sin(phase), np.sin(phase + 0.9)
    leg, support = score.side, score.other
    score.set(f"hip_{leg}", x=score.reach * (0.45 + 0.85 * swing))
    score.set(f"knee_{leg}", x=-0.25 - 0.5 * np.maximum(-follow, 0.0))
    score.set(f"shoulder_{support}", x=0.2 + 0.6 * swing, z=0.3)
    score.set(f"shoulder_{leg}", x=-0.4 * swing, z=0.3)
    score.set("spine", x=0.12 * swing)
    score.stand_on = (f"ankle_{support}",)


def _jumping_jack(score: Score) -> None:
    phase = score.cycles(2.0)
    open_ = 0.5 - 0.5 * np.cos(phase)
    score.both("shoulder", z=0.2 + 2.5 * score.reach * open_)
    score.both("elbow", z=0.15 * open_)
    score.both("hip", z=0.05 + 0.42 * score.reach * open_)
    score.hop = 0.09 * score.reach * np.abs(np.sin(phase))


def _march(score: Score) -> None:
    phase = score.cycles(1.9)
    for side, part in (("left", np.sin(phase)), ("right", -np.sin(phase))):
        lift = score.reach * np.maximum(part, 0.0)
        score.set(f"hip_{side}", x=1.25 * lift)
        score.set(f"knee_{side}", x=-1.55 * lift)
        score.set(f"shoulder_{side}", x=-0.6 * score.reach * part, z=0.12)
        score.set(f"elbow_{side}", x=0.9)


FORWARD: dict[str, Callable[[Score], None]] = {
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
"""Motions that are another one played backwards: no single frame can tell the two apart."""

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
"""Standing about, which only sequences of motions know (`figures.animate_sequence`)."""


def perform(
    motion: str,
    time: np.ndarray,
    who: Subject,
    rng: np.random.Generator,
    *,
    duration: float = 1.0,
    brisk: bool = False,
) -> Score:
    """A motion as joint angles, before involuntary sway.

    Args:
      motion: one of `MOTIONS`, or `REST`. One of `REVERSED` is played backwards.
      time: [T] moments, 0 at the beginning of the motion and 1 at its end; beyond them one-way
        motions keep their last pose and cyclic ones go on.
      who: who performs it.
      rng: draws side, reach, tempo and phase.
      duration: how many times as long as a performance of `figures.animate` it takes, so that
        long ones have more cycles, not slower ones.
      brisk: one-way motions take nearly all of the time instead of a random part of it.
    """
    score = Score(1.0 - time if motion in REVERSED else time, who, rng, duration, brisk)
    score.both("shoulder", z=who.splay)
    score.both("elbow", x=0.25)
    score.both("knee", x=-0.06)
    score.both("hip", x=0.03, z=0.05)
    if motion != REST:
        FORWARD[REVERSED.get(motion, motion)](score)
    score.angles[:, INDEX["spine"], 0] -= who.lean
    return score

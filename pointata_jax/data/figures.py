"""An articulated figure that performs parametrised motions: the generator of the embedded data.

A skeleton of twenty joints (those of the first Kinect) is posed by joint angles and forward
kinematics, in bodies of different build and style, and dressed with capsules
(`pointata_jax.data.capsules`). Everything is made here from formulas; no recorded motion is used.

Coordinates are metres in the frame of a depth camera at the origin: x to the right, y up, z away
from the camera. A figure with yaw zero faces the camera, so its left is at positive x.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from pointata_jax.data import capsules
from pointata_jax.errors import InputError

# Joint, parent, offset from the parent in the rest pose (standing, arms down, height 1.76 m).
_SKELETON: tuple[tuple[str, str | None, tuple[float, float, float]], ...] = (
    ("pelvis", None, (0.0, 0.0, 0.0)),
    ("spine", "pelvis", (0.0, 0.20, 0.0)),
    ("neck", "spine", (0.0, 0.30, 0.0)),
    ("head", "neck", (0.0, 0.22, 0.0)),
    ("shoulder_left", "neck", (0.18, -0.04, 0.0)),
    ("elbow_left", "shoulder_left", (0.0, -0.28, 0.0)),
    ("wrist_left", "elbow_left", (0.0, -0.26, 0.0)),
    ("hand_left", "wrist_left", (0.0, -0.09, 0.0)),
    ("shoulder_right", "neck", (-0.18, -0.04, 0.0)),
    ("elbow_right", "shoulder_right", (0.0, -0.28, 0.0)),
    ("wrist_right", "elbow_right", (0.0, -0.26, 0.0)),
    ("hand_right", "wrist_right", (0.0, -0.09, 0.0)),
    ("hip_left", "pelvis", (0.095, -0.03, 0.0)),
    ("knee_left", "hip_left", (0.0, -0.43, 0.0)),
    ("ankle_left", "knee_left", (0.0, -0.42, 0.0)),
    ("foot_left", "ankle_left", (0.0, -0.03, -0.16)),
    ("hip_right", "pelvis", (-0.095, -0.03, 0.0)),
    ("knee_right", "hip_right", (0.0, -0.43, 0.0)),
    ("ankle_right", "knee_right", (0.0, -0.42, 0.0)),
    ("foot_right", "ankle_right", (0.0, -0.03, -0.16)),
)

# Joints without freedom of their own: mixtures of two others that give the capsules a chest, a neck
# thinner than the head, and flanks. Name, (first joint, its share), second joint.
_FLESH: tuple[tuple[str, str, float, str], ...] = (
    ("chest", "spine", 0.35, "neck"),
    ("chin", "neck", 0.30, "head"),
    ("rib_left", "shoulder_left", 0.80, "hip_left"),
    ("waist_left", "shoulder_left", 0.25, "hip_left"),
    ("rib_right", "shoulder_right", 0.80, "hip_right"),
    ("waist_right", "shoulder_right", 0.25, "hip_right"),
)

# Capsules: joint at the end of the bone, joint at its start, radius in metres.
_BODY: tuple[tuple[str, str, float], ...] = (
    ("spine", "pelvis", 0.110),
    ("chest", "spine", 0.110),
    ("neck", "chest", 0.060),
    ("chin", "neck", 0.055),
    ("head", "chin", 0.092),
    *(
        (f"{joint}_{side}", start if start in ("neck", "pelvis") else f"{start}_{side}", radius)
        for side in ("left", "right")
        for joint, start, radius in (
            ("shoulder", "neck", 0.058),
            ("elbow", "shoulder", 0.048),
            ("wrist", "elbow", 0.038),
            ("hand", "wrist", 0.042),
            ("waist", "rib", 0.085),
            ("hip", "pelvis", 0.095),
            ("knee", "hip", 0.074),
            ("ankle", "knee", 0.050),
            ("foot", "ankle", 0.040),
        )
    ),
)

SKELETON: tuple[str, ...] = tuple(name for name, _, _ in _SKELETON)
"""The twenty joints that a pose moves, and the joints that a depth sensor's tracker reports."""

JOINTS: tuple[str, ...] = SKELETON + tuple(name for name, *_ in _FLESH)
"""All J joints of the dressed body: `SKELETON` first, then those that `with_flesh` adds."""

_INDEX = {name: index for index, name in enumerate(JOINTS)}
_STARTS = {joint: _INDEX[start] for joint, start, _ in _BODY}
_THICKNESS = {joint: radius for joint, _, radius in _BODY}

PARENTS: np.ndarray = np.array([_STARTS.get(name, -1) for name in JOINTS], np.int32)
"""int32 [J]: the start of the capsule that ends at each joint, -1 where none ends."""

RADII: np.ndarray = np.array([_THICKNESS.get(name, 0.0) for name in JOINTS], np.float32)
"""float32 [J]: metres, of a body of average girth."""

_REST = np.array([offset for *_, offset in _SKELETON])
_CHAIN = [(-1 if parent is None else _INDEX[parent]) for _, parent, _ in _SKELETON]
_FOOT_CLEARANCE = 0.04  # The radius of the feet: their axis runs this high above the floor.


@dataclasses.dataclass(frozen=True)
class Subject:
    """Build and style of one performer.

    Attributes:
      height, legs, arms: factors of the whole body, the legs and the arms.
      girth: factor of the capsules' radii.
      amplitude, tempo: factors of how far and how fast the subject moves.
      lean, splay: habitual bend of the back and distance of the arms from the body, radians.
      sway: size of involuntary movement, radians.
      left_share: probability that a one-sided motion is performed with the left.
    """

    height: float
    legs: float
    arms: float
    girth: float
    amplitude: float
    tempo: float
    lean: float
    splay: float
    sway: float
    left_share: float

    @property
    def radii(self) -> np.ndarray:
        """float32 [J]: the radii of this subject's capsules, for `capsules.surface_points`."""
        return RADII * np.float32(self.girth * self.height)


def subject(number: int) -> Subject:
    """The performer with this number: always the same one."""
    rng = np.random.default_rng((0x5B, number))
    return Subject(
        height=rng.uniform(0.88, 1.10),
        legs=rng.uniform(0.94, 1.06),
        arms=rng.uniform(0.93, 1.07),
        girth=rng.uniform(0.85, 1.25),
        amplitude=rng.uniform(0.85, 1.10),
        tempo=rng.uniform(0.85, 1.20),
        lean=rng.uniform(-0.03, 0.12),
        splay=rng.uniform(0.08, 0.28),
        sway=rng.uniform(0.01, 0.05),
        left_share=float(rng.choice([0.15, 0.85])),
    )


def with_flesh(joints: np.ndarray) -> np.ndarray:
    """Adds the joints that only capsules need: `SKELETON` [..., 20, 3] -> `JOINTS` [..., J, 3]."""
    extra = [
        share * joints[..., _INDEX[first], :] + (1.0 - share) * joints[..., _INDEX[second], :]
        for _, first, share, second in _FLESH
    ]
    return np.concatenate([joints, np.stack(extra, axis=-2)], axis=-2)


class _Score:
    """What a motion writes to: joint angles over time, in radians.

    Positive turns about x swing a hanging limb forward, about z (mirrored on the right) sideways
    away from the body; about y they twist it.
    """

    def __init__(self, num_frames: int, who: Subject, rng: np.random.Generator) -> None:
        self.angles = np.zeros((num_frames, len(SKELETON), 3))
        self.hop = np.zeros(num_frames)
        self.stand_on: tuple[str, ...] = ()
        self.side = "left" if rng.random() < who.left_share else "right"
        self.other = "right" if self.side == "left" else "left"
        self.reach = who.amplitude * rng.uniform(0.88, 1.12)
        self._tempo = who.tempo * rng.uniform(0.88, 1.12)
        self._rng = rng
        self._time = np.linspace(0.0, 1.0, num_frames)

    def once(self) -> np.ndarray:
        """A smooth passage from 0 to 1 [T] with a random beginning and length."""
        length = np.clip(0.52 / self._tempo * self._rng.uniform(0.85, 1.15), 0.3, 0.8)
        begin = self._rng.uniform(0.05, 0.95 - length)
        part = np.clip((self._time - begin) / length, 0.0, 1.0)
        return part * part * (3.0 - 2.0 * part)

    def cycles(self, number: float) -> np.ndarray:
        """A phase in radians [T] that turns about `number` times, from a random beginning."""
        turns = number * self._tempo * self._time + self._rng.random()
        return 2.0 * np.pi * turns

    def set(self, joint: str, *, x=None, y=None, z=None) -> None:  # noqa: ANN001
        """Sets turns of one joint; `z` and `y` are mirrored for joints of the right side."""
        mirror = -1.0 if joint.endswith("_right") else 1.0
        for axis, (value, sign) in enumerate(((x, 1.0), (y, mirror), (z, mirror))):
            if value is not None:
                self.angles[:, _INDEX[joint], axis] = sign * value

    def both(self, joint: str, **turns) -> None:  # noqa: ANN003
        """`set` for the joint of either side."""
        self.set(f"{joint}_left", **turns)
        self.set(f"{joint}_right", **turns)


def _raise_arm(score: _Score) -> None:
    lift = score.once() * score.reach
    score.set(f"shoulder_{score.side}", x=2.75 * lift, z=0.25)
    score.set(f"elbow_{score.side}", x=0.25 - 0.15 * lift)


def _sit_down(score: _Score) -> None:
    depth = score.once()
    bend = 1.5 * np.clip(score.reach, 0.85, 1.05) * depth
    score.both("hip", x=bend, z=0.12)
    score.both("knee", x=-bend)
    score.set("spine", x=-0.15 * depth - 0.55 * np.sin(np.pi * depth))
    score.both("shoulder", x=0.55 * depth, z=0.15)
    score.both("elbow", x=0.2 + 0.5 * depth)
    score.stand_on = ("ankle_left", "ankle_right")


def _push(score: _Score) -> None:
    out = score.once() * np.clip(score.reach, 0.8, 1.05)
    score.both("shoulder", x=0.35 + 1.15 * out, z=0.25)
    score.both("elbow", x=2.15 - 2.0 * out)
    score.set("spine", x=-0.15 * out)


def _wave(score: _Score) -> None:
    swing = np.sin(score.cycles(2.6))
    score.set(f"shoulder_{score.side}", z=1.6)
    score.set(f"elbow_{score.side}", z=1.15 + 0.55 * score.reach * swing)


def _circle_forward(score: _Score) -> None:
    phase = score.cycles(1.6)
    score.set(f"shoulder_{score.side}", x=-phase, z=0.3)
    score.set(f"elbow_{score.side}", x=0.15)
    score.set("spine", y=0.12 * np.sin(phase))


def _kick(score: _Score) -> None:
    phase = score.cycles(1.5)
    swing, follow = np.sin(phase), np.sin(phase + 0.9)
    leg, support = score.side, score.other
    score.set(f"hip_{leg}", x=score.reach * (0.45 + 0.85 * swing))
    score.set(f"knee_{leg}", x=-0.25 - 0.5 * np.maximum(-follow, 0.0))
    score.set(f"shoulder_{support}", x=0.2 + 0.6 * swing, z=0.3)
    score.set(f"shoulder_{leg}", x=-0.4 * swing, z=0.3)
    score.set("spine", x=0.12 * swing)
    score.stand_on = (f"ankle_{support}",)


def _jumping_jack(score: _Score) -> None:
    phase = score.cycles(2.0)
    open_ = 0.5 - 0.5 * np.cos(phase)
    score.both("shoulder", z=0.2 + 2.5 * score.reach * open_)
    score.both("elbow", z=0.15 * open_)
    score.both("hip", z=0.05 + 0.42 * score.reach * open_)
    score.hop = 0.09 * score.reach * np.abs(np.sin(phase))


def _march(score: _Score) -> None:
    phase = score.cycles(1.9)
    for side, part in (("left", np.sin(phase)), ("right", -np.sin(phase))):
        lift = score.reach * np.maximum(part, 0.0)
        score.set(f"hip_{side}", x=1.25 * lift)
        score.set(f"knee_{side}", x=-1.55 * lift)
        score.set(f"shoulder_{side}", x=-0.6 * score.reach * part, z=0.12)
        score.set(f"elbow_{side}", x=0.9)


_FORWARD: dict[str, Callable[[_Score], None]] = {
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
      float32 `[T, J, 3]` positions of `JOINTS`, metres.

    Raises:
      InputError: unknown motion or no frames.
    """
    if motion not in MOTIONS:
        raise InputError(f"Unknown motion {motion!r}: use one of {', '.join(MOTIONS)}.")
    if num_frames < 1:
        raise InputError(f"num_frames is {num_frames}; a performance has at least one frame.")
    rng = np.random.default_rng(rng)
    score = _Score(num_frames, subject, rng)
    score.both("shoulder", z=subject.splay)
    score.both("elbow", x=0.25)
    score.both("knee", x=-0.06)
    score.both("hip", x=0.03, z=0.05)
    _FORWARD[REVERSED.get(motion, motion)](score)
    score.angles[:, _INDEX["spine"], 0] -= subject.lean
    score.angles += _sway(num_frames, subject.sway, rng)
    joints = _forward_kinematics(score.angles, _offsets(subject))
    joints = _grounded(joints, score, subject)
    joints = with_flesh(_placed(joints, subject, rng, max_yaw))
    return (joints[::-1] if motion in REVERSED else joints).astype(np.float32)


def static_shape(rng: np.random.Generator | int, num_points: int) -> np.ndarray:
    """The whole surface of a random body in a random pose: a shape to pre-train on.

    Args:
      rng: generator or seed.
      num_points: number N of points, uniform over the outer surface.

    Returns:
      float32 `[N, 3]`, metres, y up, turned about y at random, centred at the mean of its points.
    """
    rng = np.random.default_rng(rng)
    who = subject(int(rng.integers(1 << 31)))
    frames = animate(MOTIONS[rng.integers(len(MOTIONS))], who, rng, 8, max_yaw=np.pi)
    pose = frames[rng.integers(len(frames))]
    points = capsules.surface_points(pose, PARENTS, who.radii, num_points, rng, outer=True).points
    return points - points.mean(axis=0)


def _offsets(who: Subject) -> np.ndarray:
    """Bone offsets [20, 3] of this build."""
    scale = np.full(len(SKELETON), who.height)
    for index, name in enumerate(SKELETON):
        part = name.partition("_")[0]
        if part in ("knee", "ankle"):
            scale[index] *= who.legs
        elif part in ("elbow", "wrist", "hand"):
            scale[index] *= who.arms
    return _REST * scale[:, None]


def _sway(num_frames: int, size: float, rng: np.random.Generator) -> np.ndarray:
    """Slow involuntary turns of all joints [T, 20, 3]."""
    shape = (1, len(SKELETON), 3)
    time = np.linspace(0.0, 1.0, num_frames)[:, None, None]
    turns, phase = rng.uniform(0.3, 1.3, shape), rng.random(shape)
    return size * rng.standard_normal(shape) * np.sin(2.0 * np.pi * (turns * time + phase))


def _forward_kinematics(angles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Joint positions [T, 20, 3], pelvis at the origin, from angles [T, 20, 3] about x, y, z.

    The turn of a joint is Rz Rx Ry (twist first) and carries everything beyond it.
    """
    local = _turn(angles[..., 2], 2) @ _turn(angles[..., 0], 0) @ _turn(angles[..., 1], 1)
    positions = np.zeros(angles.shape)
    world = local.copy()
    for joint, parent in enumerate(_CHAIN):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ local[:, joint]
            positions[:, joint] = positions[:, parent] + world[:, parent] @ offsets[joint]
    return positions


def _turn(angle: np.ndarray, axis: int) -> np.ndarray:
    """Right-handed turn about one axis: [...] radians -> [..., 3, 3]."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., one, one] = matrix[..., two, two] = np.cos(angle)
    matrix[..., two, one] = np.sin(angle)
    matrix[..., one, two] = -matrix[..., two, one]
    return matrix


def _grounded(joints: np.ndarray, score: _Score, who: Subject) -> np.ndarray:
    """Stands the figure on the floor y = 0 and keeps the feet it stands on in place."""
    clearance = _FOOT_CLEARANCE * who.girth * who.height
    shift = np.zeros((len(joints), 1, 3))
    shift[:, 0, 1] = clearance + score.hop - joints[..., 1].min(axis=1)
    if score.stand_on:
        feet = joints[:, [_INDEX[name] for name in score.stand_on]].mean(axis=1)
        shift[:, 0, ::2] = -feet[:, ::2]
    return joints + shift


def _placed(
    joints: np.ndarray, who: Subject, rng: np.random.Generator, max_yaw: float
) -> np.ndarray:
    """Turns the figure and puts it before a camera at the origin, slowly drifting."""
    num_frames = len(joints)
    time = np.linspace(-0.5, 0.5, num_frames)
    yaw = rng.uniform(-max_yaw, max_yaw) + rng.normal(0.0, 2.0 * who.sway) * time
    place = np.array([rng.uniform(-0.35, 0.35), -rng.uniform(0.85, 1.25), rng.uniform(2.3, 3.3)])
    drift = np.zeros((num_frames, 1, 3))
    drift[:, 0, ::2] = rng.normal(0.0, 0.05, 2) * time[:, None]
    turned = np.einsum("tij,tkj->tki", _turn(yaw, 1), joints)
    return turned + place + drift

"""The body of the procedural figure: joints, capsules, body shapes, forward kinematics.

Joint angles pose a skeleton of twenty joints (those of the first Kinect). Coordinates are meters, y
up. In the rest pose the figure faces negative z, so its left side is at positive x.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from pointata_jax.data.rotations import axis_rotation

# Joint, parent, offset from the parent in the rest pose (standing, arms down, 1.76 m tall).
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

# Joints interpolated between two others. They are ends of the capsules for the chest, a neck
# thinner than the head, and the flanks. Name, first joint, weight of the first joint, second joint.
_INTERPOLATED: tuple[tuple[str, str, float, str], ...] = (
    ("chest", "spine", 0.35, "neck"),
    ("chin", "neck", 0.30, "head"),
    ("rib_left", "shoulder_left", 0.80, "hip_left"),
    ("waist_left", "shoulder_left", 0.25, "hip_left"),
    ("rib_right", "shoulder_right", 0.80, "hip_right"),
    ("waist_right", "shoulder_right", 0.25, "hip_right"),
)

# Capsules: joint at the end of the bone, joint at its start, radius in meters.
_CAPSULES: tuple[tuple[str, str, float], ...] = (
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
"""The twenty joints that a pose rotates, which are those that trackers of depth sensors report."""

JOINTS: tuple[str, ...] = SKELETON + tuple(name for name, *_ in _INTERPOLATED)
"""All J joints of a body of capsules: `SKELETON`, then the joints that `with_flesh` adds."""

INDEX: dict[str, int] = {name: index for index, name in enumerate(JOINTS)}
"""Index of each joint in `JOINTS`."""

_CAPSULE_STARTS = {joint: INDEX[start] for joint, start, _ in _CAPSULES}
_CAPSULE_RADII = {joint: radius for joint, _, radius in _CAPSULES}

PARENTS: np.ndarray = np.array([_CAPSULE_STARTS.get(name, -1) for name in JOINTS], np.int32)
"""int32 [J]: the joint where the capsule that ends at each joint starts, -1 without a capsule."""

RADII: np.ndarray = np.array([_CAPSULE_RADII.get(name, 0.0) for name in JOINTS], np.float32)
"""float32 [J]: radius of each capsule in meters, for a body of average girth."""

_REST = np.array([offset for *_, offset in _SKELETON])
CHAIN: list[int] = [(-1 if parent is None else INDEX[parent]) for _, parent, _ in _SKELETON]
"""Parent of each joint of `SKELETON` in the kinematic chain, -1 for the pelvis."""

FOOT_CLEARANCE = 0.04
"""Height of the feet's axis above the floor, which is their radius, in meters."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """Body shape and style of one performer.

    Attributes:
      height: scale of the whole body.
      legs: scale of the legs, relative to the body.
      arms: scale of the arms, relative to the body.
      girth: scale of the radii of the capsules.
      amplitude: scale of the size of motions.
      tempo: scale of the speed of motions.
      lean: forward bend of the back, radians.
      splay: angle between the hanging arms and the body, radians.
      sway: size of involuntary rotations, radians.
      left_share: probability of performing a one-sided motion with the left side.
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
    def radii(self) -> Float[np.ndarray, " joints"]:
        """Radius of each capsule of this subject, float32, meters."""
        return RADII * np.float32(self.girth * self.height)


NUM_SUBJECTS = 16
"""Number of performers of the procedural data sets."""

TEST_SUBJECTS: tuple[int, ...] = (12, 13, 14, 15)
"""Numbers of the performers of the test splits; the train splits have performers 0 to 11."""


def subject(number: int) -> Subject:
    """The performer with this number; the same number gives the same performer."""
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


def with_flesh(joints: Float[np.ndarray, "*batch 20 3"]) -> Float[np.ndarray, "*batch joints 3"]:
    """Adds the joints that only the capsules need: from positions of `SKELETON` to `JOINTS`."""
    extra = [
        weight * joints[..., INDEX[first], :] + (1.0 - weight) * joints[..., INDEX[second], :]
        for _, first, weight, second in _INTERPOLATED
    ]
    return np.concatenate([joints, np.stack(extra, axis=-2)], axis=-2)


def bone_offsets(who: Subject) -> Float[np.ndarray, "20 3"]:
    """Offset of each joint from its parent in the rest pose of a performer, meters."""
    scale = np.full(len(SKELETON), who.height)
    for index, name in enumerate(SKELETON):
        part = name.partition("_")[0]
        if part in ("knee", "ankle"):
            scale[index] *= who.legs
        elif part in ("elbow", "wrist", "hand"):
            scale[index] *= who.arms
    return _REST * scale[:, None]


def forward_kinematics(
    angles: Float[np.ndarray, "t 20 3"], offsets: Float[np.ndarray, "20 3"]
) -> Float[np.ndarray, "t 20 3"]:
    """Joint positions from joint angles, with the pelvis at the origin.

    The rotation of a joint is Rz Rx Ry (twist first). It applies to all joints below it in the
    kinematic chain.

    Args:
      angles: rotations of each joint about x, y and z, radians.
      offsets: offset of each joint from its parent (`bone_offsets`).
    """
    local = (
        axis_rotation(angles[..., 2], 2)
        @ axis_rotation(angles[..., 0], 0)
        @ axis_rotation(angles[..., 1], 1)
    )
    positions = np.zeros(angles.shape)
    world = local.copy()
    for joint, parent in enumerate(CHAIN):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ local[:, joint]
            positions[:, joint] = positions[:, parent] + world[:, parent] @ offsets[joint]
    return positions

"""The body of the embedded data's figure: joints, capsules, build and style, forward kinematics.

A skeleton of twenty joints (those of the first Kinect) is posed by joint angles. Meters, y up; in
the rest pose the figure looks along negative z, so its left is at positive x.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pointata_jax.data.rotations import axis_rotation

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

# Capsules: joint at the end of the bone, joint at its start, radius in meters.
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

INDEX: dict[str, int] = {name: index for index, name in enumerate(JOINTS)}
"""Number of each joint of `JOINTS`."""

_STARTS = {joint: INDEX[start] for joint, start, _ in _BODY}
_THICKNESS = {joint: radius for joint, _, radius in _BODY}

PARENTS: np.ndarray = np.array([_STARTS.get(name, -1) for name in JOINTS], np.int32)
"""int32 [J]: the start of the capsule that ends at each joint, -1 where none ends."""

RADII: np.ndarray = np.array([_THICKNESS.get(name, 0.0) for name in JOINTS], np.float32)
"""float32 [J]: meters, of a body of average girth."""

_REST = np.array([offset for *_, offset in _SKELETON])
CHAIN: list[int] = [(-1 if parent is None else INDEX[parent]) for _, parent, _ in _SKELETON]
"""Parent of each joint of `SKELETON` in the kinematic chain, -1 for the pelvis."""

FOOT_CLEARANCE = 0.04
"""The radius of the feet, meters: their axis runs this high above the floor."""


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


NUM_SUBJECTS = 16
"""Performers of the embedded data sets."""

TEST_SUBJECTS: tuple[int, ...] = (12, 13, 14, 15)
"""Performers of their test splits; the train splits have performers 0 to 11."""


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
        share * joints[..., INDEX[first], :] + (1.0 - share) * joints[..., INDEX[second], :]
        for _, first, share, second in _FLESH
    ]
    return np.concatenate([joints, np.stack(extra, axis=-2)], axis=-2)


def bone_offsets(who: Subject) -> np.ndarray:
    """Bone offsets [20, 3] of this build."""
    scale = np.full(len(SKELETON), who.height)
    for index, name in enumerate(SKELETON):
        part = name.partition("_")[0]
        if part in ("knee", "ankle"):
            scale[index] *= who.legs
        elif part in ("elbow", "wrist", "hand"):
            scale[index] *= who.arms
    return _REST * scale[:, None]


def forward_kinematics(angles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Joint positions [T, 20, 3], pelvis at the origin, from angles [T, 20, 3] about x, y, z.

    The turn of a joint is Rz Rx Ry (twist first) and carries everything beyond it.
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

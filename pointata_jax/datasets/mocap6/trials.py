"""Reads the exercise trials of CMU motion capture that have human frame labels, and dresses them.

Motion and labels are real: trials 13_29, 13_30, 13_31, 14_14 and 14_20 of the CMU Graphics Lab
Motion Capture Database (mocap.cs.cmu.edu) with the labels of Fox, Hughes, Sudderth and Jordan,
Joint Modeling of Multiple Time Series via the Beta Process with Application to Motion Capture
Segmentation (Annals of Applied Statistics 8(3), 2014; github.com/michaelchughes/mocap6dataset).
The body's surface is made here: capsules around the bones, seen from one side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.array_files import as_floats, check_numbers, read_arrays
from pointata_jax.data.folder_walk import find_near
from pointata_jax.data.rotations import axis_rotation
from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules, figures

PACKED_NAME = "mocap6.npz"

CLASSES: tuple[str, ...] = (
    "background",
    "JumpJack",
    "Jog",
    "Squat",
    "KneeRaise",
    "ArmCircle",
    "Twist",
    "SideReach",
    "Box",
    "UpDown",
    "ToeTouchOneHand",
    "SideBend",
    "ToeTouchTwoHands",
)
"""In label order; background, SideReach, Box and SideBend occur in none of the five trials."""

NUM_FRAMES: dict[str, int] = {
    "13_29": 1148,
    "13_30": 617,
    "13_31": 755,
    "14_14": 1164,
    "14_20": 1161,
}
"""Frames of each trial; the part of the name before the underscore is the person."""

FRAME_RATE = 30
"""Frames a second; the labels were given ten times a second."""

WHERE = (
    f"Expected there: {PACKED_NAME} with joints [frames, 31, 3] in meters, labels, seq_frames, "
    "seq_name, classes, joint_names and fps, made from the trials 13_29, 13_30, 13_31, 14_14 and "
    "14_20 of mocap.cs.cmu.edu and the labels of github.com/michaelchughes/mocap6dataset."
)

# The joint of the file for each of `figures.SKELETON`. A joint of the file is named for the bone
# that ends at it, so the upper arm (humerus) gives the elbow.
_JOINTS: dict[str, str] = {
    "pelvis": "root",
    "spine": "upperback",
    "neck": "lowerneck",
    "head": "head",
    "shoulder_left": "lclavicle",
    "elbow_left": "lhumerus",
    "wrist_left": "lwrist",
    "hand_left": "lfingers",
    "shoulder_right": "rclavicle",
    "elbow_right": "rhumerus",
    "wrist_right": "rwrist",
    "hand_right": "rfingers",
    "hip_left": "lhipjoint",
    "knee_left": "lfemur",
    "ankle_left": "ltibia",
    "foot_left": "ltoes",
    "hip_right": "rhipjoint",
    "knee_right": "rfemur",
    "ankle_right": "rtibia",
    "foot_right": "rtoes",
}
_KEYS = ("joints", "labels", "seq_frames", "seq_name", "classes", "joint_names", "fps")
_SEED = 0x6D36  # Random streams differ from those of generators with small keys.


@dataclasses.dataclass(frozen=True)
class Trial:
    """One recording.

    Attributes:
      name: such as "13_29".
      joints: `[T, 20, 3]`, float32 or the file's float64, the joints of `figures.SKELETON` in
        meters, y up, right-handed; the person faces positive z.
      labels: int32 `[T]`, indices into `CLASSES`.
    """

    name: str
    joints: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Camera:
    """Position of the camera, and build of the body.

    Attributes:
      yaw: degrees from the direction that the person mostly faces.
      distance: meters from the middle of the trial.
      height: meters above the origin of the trial's heights.
      girth: factor of the capsules' radii.
    """

    yaw: float = 0.0
    distance: float = 3.0
    height: float = 1.1
    girth: float = 1.0


def camera(trial: str, view: int) -> Camera:
    """The camera of a view. Number 0 is in front, the others are within 45 degrees of it.

    Args:
      trial: name of the trial.
      view: number of the view.
    """
    if not view:
        return Camera()
    rng = np.random.default_rng((_SEED, *trial.encode(), view))
    return Camera(
        yaw=rng.uniform(-45.0, 45.0),
        distance=rng.uniform(2.6, 3.4),
        height=rng.uniform(0.9, 1.3),
        girth=rng.uniform(0.85, 1.2),
    )


def read_trials(folder: str | Path, *, partial: bool = False) -> list[Trial]:
    """The trials of a data folder, in the file's order.

    Args:
      folder: holds `mocap6.npz`, at its top or one folder below.
      partial: accept other trials or lengths than those of `NUM_FRAMES`.

    Raises:
      InputError: the file is missing or damaged, or has other contents.
    """
    path = find_source(folder)
    packed = read_arrays(path, _KEYS)
    missing = [key for key in _KEYS if key not in packed]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}. {WHERE}")
    joints, labels, sizes, names, classes, joint_names, rate = packed.values()
    for key in ("labels", "seq_frames", "seq_name", "classes", "joint_names"):
        if packed[key].ndim != 1:
            raise InputError(
                f"{path}: {key} has shape {packed[key].shape}, expected a list; copy it again."
            )
    if rate.size != 1 or rate.dtype.kind not in "fiu":
        raise InputError(f"{path}: fps is {rate!r}, expected one number; copy it again.")
    rate = rate.item()
    for key, kinds in (("joints", "f"), ("labels", "iu"), ("seq_frames", "iu")):
        check_numbers(packed[key], kinds, f"values of {key}", path)
    if tuple(str(name) for name in classes) != CLASSES or rate != FRAME_RATE:
        raise InputError(
            f"{path}: expected the classes {', '.join(CLASSES)} at {FRAME_RATE} frames a second; "
            f"this file has {', '.join(str(name) for name in classes)} at {rate}; copy it again."
        )
    order = _joint_order([str(name) for name in joint_names], path)
    if joints.ndim != 3 or joints.shape[1:] != (len(joint_names), 3):
        raise InputError(
            f"{path}: joints have shape {joints.shape}, expected [frames, {len(joint_names)}, 3]; "
            "copy it again."
        )
    if (
        len(labels) != len(joints)
        or sizes.sum() != len(joints)
        or len(names) != len(sizes)
        or (sizes < 0).any()
    ):
        raise InputError(
            f"{path}: {len(sizes)} trials of {int(sizes.sum())} frames in all do not fit "
            f"{len(names)} names, {len(joints)} frames of joints and {len(labels)} labels; the "
            "file is damaged, copy it again."
        )
    if not np.isfinite(joints).all():
        raise InputError(f"{path} holds NaN or infinite coordinates; copy it again.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(CLASSES):
        bad = int(labels.min() if labels.min() < 0 else labels.max())
        raise InputError(
            f"{path}: label {bad} is outside 0..{len(CLASSES) - 1}, the range of the classes; "
            "copy it again."
        )
    ends = np.cumsum(sizes)
    trials = [
        Trial(str(name), as_floats(joints[end - size : end, order]), part)
        for name, size, end, part in zip(
            names, sizes, ends, np.split(labels.astype(np.int32), ends[:-1]), strict=True
        )
    ]
    found = {trial.name: len(trial.labels) for trial in trials}
    if len(found) != len(trials):
        raise InputError(f"{path} holds a trial twice; copy it again.")
    if found != NUM_FRAMES and not partial:
        raise InputError(
            f"{path} holds the trials (frames) {found}, the data set has {NUM_FRAMES}; complete "
            "the copy, or give partial=True to use what is there."
        )
    return trials


def find_source(folder: str | Path) -> Path:
    """The packed file in a user's data folder; InputError if there is none."""
    path = find_near(folder, PACKED_NAME)
    if path is not None:
        return path
    raise InputError(f"The data folder {folder} holds no {PACKED_NAME}. {WHERE}")


def dress(
    trial: Trial, view: int, frames: Sequence[int] | np.ndarray, num_points: int
) -> np.ndarray:
    """The points that the camera of a view sees of these frames, float32 `[F, N, 3]`.

    Coordinates are those of the camera in meters: x to the right, y up, z away from it. The random
    draw of a frame depends on trial, view and number of the frame only.

    Args:
      trial: the recording.
      view: number of the view, see `camera`.
      frames: numbers of F frames.
      num_points: number N of points of a frame.
    """
    place = camera(trial.name, view)
    middle = np.median(trial.joints[:, 0], axis=0) * [1.0, 0.0, 1.0]
    turned = (trial.joints[frames].astype(np.float64) - middle) @ axis_rotation(
        np.deg2rad(place.yaw), 1
    ).T
    # The person faces positive z and the camera looks in the opposite direction. So x stays as it
    # is (the camera's right is the person's left), and z changes its sign.
    joints = turned * [1.0, 1.0, -1.0] + [0.0, -place.height, place.distance]
    bodies = figures.with_flesh(joints).astype(np.float32)
    key = (_SEED, *trial.name.encode(), view)
    return np.stack(
        [
            capsules.depth_view(
                body,
                figures.PARENTS,
                figures.RADII * np.float32(place.girth),
                num_points,
                capsules.frame_rng(*key, int(frame)),
            )[0]
            for body, frame in zip(bodies, frames, strict=True)
        ]
    )


def _joint_order(names: list[str], path: Path) -> list[int]:
    missing = [name for name in _JOINTS.values() if name not in names]
    if missing:
        raise InputError(
            f"{path} has no joint {', '.join(missing)}, only {', '.join(names)}; copy it again."
        )
    return [names.index(_JOINTS[name]) for name in figures.SKELETON]

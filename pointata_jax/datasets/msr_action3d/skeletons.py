"""Real skeletons of MSR-Action3D, dressed: from joints, the points that a depth camera would see.

Motion, people and camera position are those of the recordings. The body surface is made here
(capsules around the bones), so results say nothing about the depth maps of the same recordings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointata_jax.data.array_files import check_numbers, read_npz
from pointata_jax.data.text_files import numbered_lines
from pointata_jax.datasets.msr_action3d import protocol
from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules, figures

PACKED_NAME = "real3d.npz"
SUFFIX = "_skeleton3D.txt"
NUM_JOINTS = 20

UNUSABLE: tuple[protocol.Recording, ...] = (
    protocol.Recording(13, 9, 2),
    protocol.Recording(13, 9, 3),
)
"""Recordings that are left out: the tracker lost the person in all frames of the first and in 740
of 936 frames of the second."""

# The data set's number (from 0) of each joint of `figures.SKELETON`. The person faces the camera,
# so the joints with the larger x are those of the left side.
_JOINT_NUMBERS: dict[str, int] = {
    "pelvis": 6,
    "spine": 3,
    "neck": 2,
    "head": 19,
    "shoulder_left": 1,
    "elbow_left": 8,
    "wrist_left": 10,
    "hand_left": 12,
    "shoulder_right": 0,
    "elbow_right": 7,
    "wrist_right": 9,
    "hand_right": 11,
    "hip_left": 5,
    "knee_left": 14,
    "ankle_left": 16,
    "foot_left": 18,
    "hip_right": 4,
    "knee_right": 13,
    "ankle_right": 15,
    "foot_right": 17,
}
_ORDER = [_JOINT_NUMBERS[name] for name in figures.SKELETON]
_PACKED_KEYS = ("joints", "seq_frames", "action", "subject", "trial")
_SEED = 0x4D5352  # Random streams differ from those of generators with small keys.


def read_skeletons(folder: str | Path) -> dict[protocol.Recording, np.ndarray]:
    """All usable recordings of a folder: joints float32 [T, 20, 3] by recording, meters.

    Axes are those of the sensor (x right, y up, z away from it). Joints are in the data set's
    order. Frames in which the tracker lost the person (all zero) are kept. Reads `real3d.npz` or,
    without it, the authors' text files. The recordings in `UNUSABLE` are left out.

    Raises:
      InputError: the folder holds no skeletons, or a file is damaged.
    """
    folder = Path(folder)
    if (folder / PACKED_NAME).is_file():
        found = _read_packed(folder / PACKED_NAME)
    else:
        files = protocol.find_files(folder, SUFFIX)
        if not files:
            where = protocol.WHERE["skeleton"]
            raise InputError(f"The folder {folder} holds no skeletons of MSR-Action3D. {where}")
        found = {key: _read_text(path) for key, path in files.items()}
    return {key: joints for key, joints in found.items() if key not in UNUSABLE}


def tracked_frames(joints: np.ndarray) -> np.ndarray:
    """Numbers [T'] of the frames of [T, 20, 3] in which the tracker found the person."""
    return np.flatnonzero(joints.any(axis=(1, 2)))


def dress(joints: np.ndarray, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """The points float32 [N, 3] that the sensor would see of one frame, meters.

    Args:
      joints: [20, 3] in the data set's order, in the sensor's coordinates.
      num_points: number N of points.
      rng: source of randomness.
    """
    body = figures.with_flesh(joints[_ORDER])
    return capsules.depth_view(body, figures.PARENTS, figures.RADII, num_points, rng)[0]


def dress_recording(key: protocol.Recording, joints: np.ndarray, num_points: int) -> np.ndarray:
    """All tracked frames of a recording, dressed: float32 [T', N, 3].

    The random draw of a frame depends on the recording and the number of the frame only.

    Args:
      key: the recording.
      joints: [T, 20, 3] in the data set's order.
      num_points: number N of points of a frame.

    Raises:
      InputError: the tracker found the person in no frame.
    """
    frames = tracked_frames(joints)
    if not len(frames):
        raise InputError(
            f"Recording {key.video_id}: the tracker lost the person in every frame (all joints "
            "zero); remove the recording."
        )
    seeds = [(_SEED, key.action, key.subject, key.trial, int(frame)) for frame in frames]
    return np.stack(
        [
            dress(joints[frame], num_points, capsules.frame_rng(*seed))
            for frame, seed in zip(frames, seeds, strict=True)
        ]
    )


def _read_packed(path: Path) -> dict[protocol.Recording, np.ndarray]:
    joints, sizes, *numbers = read_npz(path, _PACKED_KEYS)
    check_numbers(joints, "f", "joints", path)
    for key, column in zip(_PACKED_KEYS[1:], (sizes, *numbers), strict=True):
        check_numbers(column, "iu", f"values of {key}", path)
        if column.ndim != 1 or (key == "seq_frames" and len(column) and column.min() < 0):
            raise InputError(f"{path}: {key} must be a list of counts; copy it again.")
    if joints.ndim != 3 or joints.shape[1] != NUM_JOINTS or joints.shape[2] < 3:
        raise InputError(
            f"{path}: joints have shape {joints.shape}, expected [frames, 20, 3 or 4]; copy it "
            "again."
        )
    if any(len(column) != len(sizes) for column in numbers) or sizes.sum() != len(joints):
        raise InputError(
            f"{path}: {len(sizes)} recordings of {int(sizes.sum())} frames in all do not fit "
            f"{len(joints)} frames of joints; the file is damaged, copy it again."
        )
    parts = np.split(_finite(joints[..., :3], path), np.cumsum(sizes)[:-1])
    found: dict[protocol.Recording, np.ndarray] = {}
    for action, subject, trial, part in zip(*numbers, parts, strict=True):
        found[protocol.recording(action, subject, trial, path)] = part
    if len(found) != len(sizes):
        raise InputError(f"{path} holds a recording twice; copy it again.")
    return found


def _read_text(path: Path) -> np.ndarray:
    """One text file: a line `x y z confidence` per joint, twenty lines per frame."""
    lines = [line for _, line in numbered_lines(path, comments=("#",))]
    try:
        rows = np.loadtxt(lines, ndmin=2, comments=None) if lines else np.empty((0, 4))
    except ValueError as error:
        raise InputError(
            f"{path} cannot be read as lines of numbers ({error}); copy it again."
        ) from error
    if not len(rows) or len(rows) % NUM_JOINTS or rows.shape[1] not in (3, 4):
        raise InputError(
            f"{path} has {rows.shape[0]} lines of {rows.shape[1]} numbers, expected twenty lines "
            "'x y z confidence' per frame; the file is cut off or no skeleton, copy it again."
        )
    return _finite(rows.reshape(-1, NUM_JOINTS, rows.shape[1])[..., :3], path)


def _finite(joints: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(joints).all():
        raise InputError(f"{path} holds NaN or infinite coordinates; copy it again.")
    return joints.astype(np.float32)

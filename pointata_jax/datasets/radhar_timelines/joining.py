"""Joins recordings of single activities, end to end at random cuts, to videos of several.

A frame of a video is made of `frame_merge` neighboring radar frames of one recording, since a radar
frame holds some 21 points, too few to see a body. Pieces are cut between merged frames. So no frame
mixes two recordings, and its label, the activity of its recording, is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from pointata_jax.datasets.radhar.recordings import CLASSES, Recording
from pointata_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of one recording.

    Attributes:
      recording: its index among those that are joined.
      start: first radar frame.
      num_frames: number of merged frames.
    """

    recording: int
    start: int
    num_frames: int


def groups(recordings: Sequence[Recording], count: int, seed: int) -> np.ndarray:
    """Assigns each recording to one of `count` groups, int64 [R]; classes are spread evenly.

    Videos are joined within a group, so a group that is held out shares no recording with the
    others. The assignment depends on the names of the recordings and the seed, not on their order.
    """
    rng = np.random.default_rng((seed, 0))
    assigned = np.zeros(len(recordings), np.int64)
    begin = 0
    for label in range(len(CLASSES)):
        members = [i for i, recording in enumerate(recordings) if recording.label == label]
        members.sort(key=lambda i: recordings[i].video_id)
        order = rng.permutation(len(members))
        # Each class begins where the last one ended, so that groups stay equally large.
        assigned[[members[i] for i in order]] = (begin + np.arange(len(members))) % count
        begin += len(members)
    return assigned


def round_rng(seed: int, is_test: bool, group: int, turn: int) -> np.random.Generator:
    """The generator of one plan.

    Args:
      seed: of the data set.
      is_test: whether the recordings are those of the test split.
      group: number of the group.
      turn: number of the round.
    """
    return np.random.default_rng((seed, 1, int(is_test), group, turn))


def plan(
    recordings: Sequence[Recording],
    rng: np.random.Generator,
    *,
    num_frames: int,
    frame_merge: int,
    shortest: int,
    longest: int,
) -> Iterator[list[Piece]]:
    """Cuts recordings from their beginnings and yields the pieces of one video at a time.

    No radar frame is in two videos of a plan. Consecutive pieces have different labels. The plan
    ends when the frames that are left do not make another video.

    Args:
      recordings: the recordings to join.
      rng: draws the cuts, the order, and the first frame of each recording (0 to
        `frame_merge` - 1).
      num_frames: merged frames of a video.
      frame_merge: radar frames of a merged frame.
      shortest: smallest number of merged frames of a piece.
      longest: largest number of merged frames of a piece.

    Raises:
      InputError: a video cannot be made of pieces of these lengths.
    """
    if not 1 <= shortest <= longest // 2 or num_frames < shortest:
        raise InputError(
            f"Videos of {num_frames} frames cannot be made of pieces of {shortest} to {longest} "
            "frames; the longest must be at least twice the shortest, and a video no shorter."
        )
    labels = np.array([recording.label for recording in recordings])
    lengths = np.array([len(recording.frame_sizes) for recording in recordings])
    position = rng.integers(frame_merge, size=len(recordings))
    while True:
        pieces: list[Piece] = []
        left, last = num_frames, -1
        while left:
            length = int(rng.integers(shortest, longest + 1))
            if left - length < shortest:
                length = left - shortest if left >= 2 * shortest else left
                length = min(length, longest)
            rest = (lengths - position) // frame_merge
            free = np.where((labels != last) & (rest >= length), rest, 0)
            if not free.sum():
                return
            index = int(rng.choice(len(free), p=free / free.sum()))
            pieces.append(Piece(index, int(position[index]), length))
            position[index] += length * frame_merge
            left, last = left - length, labels[index]
        yield pieces


def join(
    recordings: Sequence[Recording], pieces: Sequence[Piece], frame_merge: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The video of these pieces.

    Args:
      recordings: those of the plan.
      pieces: the pieces of one video.
      frame_merge: radar frames of a merged frame.

    Returns:
      points float32 [ΣN, 5], frame sizes int32 [T] and frame labels int32 [T].
    """
    points, sizes, labels = [], [], []
    for piece in pieces:
        recording = recordings[piece.recording]
        offsets = np.concatenate([[0], np.cumsum(recording.frame_sizes)])
        edges = offsets[piece.start + frame_merge * np.arange(piece.num_frames + 1)]
        points.append(recording.points[edges[0] : edges[-1]])
        sizes.append(np.diff(edges))
        labels.append(np.full(piece.num_frames, recording.label))
    return (
        np.concatenate(points),
        np.concatenate(sizes).astype(np.int32),
        np.concatenate(labels).astype(np.int32),
    )

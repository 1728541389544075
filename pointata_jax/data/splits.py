"""Holds out training videos for validation: by subject, or a share of the recordings.

Early stopping and the choice of settings use these videos, never the test split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pointata_jax.data.videos import VideoSource
from pointata_jax.errors import InputError


def hold_out_subjects(
    videos: VideoSource, subjects: Sequence[str]
) -> tuple[VideoSource, VideoSource]:
    """Splits training videos into those of other subjects and those of `subjects`.

    Raises:
      InputError: an unknown subject, or no videos in one of the parts.
    """
    chosen = set(subjects)
    unknown = sorted(chosen - set(videos.subjects))
    if unknown:
        known = sorted(set(videos.subjects))
        shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
        raise InputError(
            f"{videos.name} has no subject {', '.join(unknown)}; its subjects are {shown}."
        )
    held = np.array([subject in chosen for subject in videos.subjects])
    return _divide(videos, held)


def named_subjects(videos: VideoSource) -> tuple[str, ...]:
    """The subjects, sorted; empty where the data set does not name persons.

    In that case the subject of a video is the name of the recording, and all are different.
    """
    subjects = tuple(sorted(set(videos.subjects)))
    return subjects if len(subjects) < len(videos) else ()


def choose_subjects(videos: VideoSource, fraction: float, *, seed: int = 0) -> tuple[str, ...]:
    """Chooses subjects with about `fraction` of the videos; every class keeps training videos.

    Subjects are chosen in random order until they have the requested share of the videos. A subject
    is skipped if fewer than two subjects or not all classes would be left for training. The choice
    depends on the names of the subjects and the seed, not on the order of the videos.

    Args:
      videos: training videos.
      fraction: share of the videos to hold out, in (0, 1).
      seed: seed of the random order.

    Returns:
      The chosen subjects, sorted; empty if no choice is possible.
    """
    _check_fraction(fraction)
    known = named_subjects(videos)
    order = [known[i] for i in np.random.default_rng(seed).permutation(len(known))]
    classes = np.any(videos.index.present, axis=0)
    held, chosen = np.zeros(len(videos), bool), []
    for name in order:
        if held.sum() >= fraction * len(videos):
            break
        also_held = held | np.array([subject == name for subject in videos.subjects])
        left = np.any(videos.index.present[~also_held], axis=0)
        if len(known) - len(chosen) > 2 and np.array_equal(left, classes):
            held = also_held
            chosen.append(name)
    return tuple(sorted(chosen))


def hold_out_fraction(
    videos: VideoSource, fraction: float, *, seed: int = 0
) -> tuple[VideoSource, VideoSource]:
    """Splits training videos at random: a share of the recordings of each class is held out.

    Videos whose frames or points carry the labels are treated as one class. Of a class with two or
    more recordings, at least one is held out and at least one is kept. A single recording of a
    class is kept for training. The choice depends on the names of the recordings and the seed, not
    on their order.

    Args:
      videos: training videos.
      fraction: share to hold out, in (0, 1).
      seed: seed of the random choice.

    Returns:
      The videos to train on and the videos held out.
    """
    _check_fraction(fraction)
    held = np.zeros(len(videos), bool)
    for members in _shuffled_classes(videos, seed):
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held[members[:count]] = True
    return _divide(videos, held)


def few_videos(
    videos: VideoSource, *, per_class: int = 0, fraction: float = 1.0, seed: int = 0
) -> VideoSource:
    """A random part of the training videos, the same number or the same share of each class.

    The draw depends on the names of the recordings and the seed, not on their order, and a smaller
    draw is part of a larger one. A class keeps at least one video.

    Args:
      videos: training videos, each with a label.
      per_class: videos of each class; 0: decided by `fraction`. Smaller classes keep all theirs.
      fraction: share of the videos of each class.
      seed: seed of the draw.

    Raises:
      InputError: frames or points carry the labels, or the numbers make no sense.
    """
    if per_class < 0 or not 0 < fraction <= 1 or (per_class and fraction < 1):
        raise InputError(
            f"{per_class} videos per class and a share of {fraction} of them: give a positive "
            "number or a share from 0 to 1, not both."
        )
    if not per_class and fraction == 1:
        return videos
    if videos.labels is None:
        raise InputError(
            f"the frames or points of {videos.name} carry the labels, so there are no videos of a "
            "class to choose: leave --videos_per_class and --label_fraction away."
        )
    kept = np.zeros(len(videos), bool)
    for members in _shuffled_classes(videos, seed):
        kept[members[: per_class or max(round(fraction * len(members)), 1)]] = True
    return videos.select(np.flatnonzero(kept), f"{videos.name}, {int(kept.sum())} videos")


def _shuffled_classes(videos: VideoSource, seed: int) -> Iterator[np.ndarray]:
    """Indices of the videos of each class, in an order that depends on their names and the seed.

    Videos whose frames or points carry the labels are one class.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros(len(videos), int) if videos.labels is None else videos.labels
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        yield rng.permutation(members[np.argsort([videos.video_ids[i] for i in members])])


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(f"The share to hold out must be between 0 and 1, it is {fraction}.")


def _divide(videos: VideoSource, held: np.ndarray) -> tuple[VideoSource, VideoSource]:
    if held.all() or not held.any():
        raise InputError(
            f"Holding out {int(held.sum())} of the {len(videos)} videos of {videos.name} leaves "
            "nothing to train on or nothing to validate on; hold out other videos."
        )
    return (
        videos.select(np.flatnonzero(~held), f"{videos.name}, training part"),
        videos.select(np.flatnonzero(held), f"{videos.name}, validation part"),
    )

"""Leave one trial out: which classes a fold has seen, and accuracy over those.

Five trials are few: some activities occur in one trial only, so a model that has not seen that
trial cannot know them. Their frames do not count, and a result names them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from pointata_jax.datasets.mocap6.trials import CLASSES, Trial
from pointata_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Fold:
    """One trial for testing, the others for training.

    Attributes:
      held_out: name of the test trial.
      seen: classes of the training trials, in label order.
      lacking: classes of the test trial that no training trial has, in label order.
    """

    held_out: str
    seen: tuple[str, ...]
    lacking: tuple[str, ...]


def fold(trials: Sequence[Trial], held_out: str) -> Fold:
    """The fold that leaves `held_out` out; InputError if there is no such trial or no other one."""
    names = [trial.name for trial in trials]
    if held_out not in names or len(names) < 2:
        raise InputError(
            f"Trial {held_out!r} cannot be left out of the trials {', '.join(names) or '(none)'}: "
            "name one of two or more."
        )
    test = next(trial for trial in trials if trial.name == held_out)
    seen = seen_classes(trial.labels for trial in trials if trial.name != held_out)
    lacking = sorted(set(np.unique(test.labels).tolist()) - set(seen.tolist()))
    return Fold(
        held_out, tuple(CLASSES[label] for label in seen), tuple(CLASSES[i] for i in lacking)
    )


def seen_classes(labels: Iterable[np.ndarray]) -> np.ndarray:
    """Sorted labels that occur in these arrays of frame labels, such as those of training."""
    return np.unique(np.concatenate([np.asarray(part) for part in labels]))


def seen_accuracy(
    predictions: np.ndarray, labels: np.ndarray, seen: Sequence[str] | np.ndarray
) -> dict[str, float | int]:
    """Frame accuracy over the frames whose class was seen in training.

    Args:
      predictions, labels: int `[F]`, indices into `CLASSES`.
      seen: names (`Fold.seen`) or labels (`seen_classes`) of the classes seen.

    Returns:
      `frame_accuracy` (per cent; NaN without frames), `frames` that count and `frames_lacking` that
      do not.
    """
    known = [CLASSES.index(name) if isinstance(name, str) else int(name) for name in seen]
    counts = np.isin(labels, known)
    hits = np.asarray(predictions)[counts] == np.asarray(labels)[counts]
    return {
        "frame_accuracy": 100.0 * float(hits.mean()) if len(hits) else float("nan"),
        "frames": int(counts.sum()),
        "frames_lacking": int((~counts).sum()),
    }

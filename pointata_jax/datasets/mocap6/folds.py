"""Leave one trial out: the classes that occur in training, and the accuracy over those.

Some activities occur in one of the five trials only, so a model that is not trained on that trial
cannot know them. Their frames do not count, and a result names the classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from pointata_jax.datasets.mocap6.trials import CLASSES, Trial
from pointata_jax.errors import InputError
from pointata_jax.metrics.classification import accuracy_on_classes


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
    """The fold that leaves one trial out.

    Args:
      trials: two or more.
      held_out: name of the trial to leave out.

    Raises:
      InputError: there is no such trial, or no other one.
    """
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
      predictions: int `[F]`, indices into `CLASSES`.
      labels: int `[F]`, indices into `CLASSES`.
      seen: names (`Fold.seen`) or labels (`seen_classes`) of the classes in training.

    Returns:
      `frame_accuracy` (per cent; NaN without frames), `frames` (number of those that count) and
      `frames_lacking` (number of the others).
    """
    known = [CLASSES.index(name) if isinstance(name, str) else int(name) for name in seen]
    accuracy, frames = accuracy_on_classes(predictions, labels, known)
    return {
        "frame_accuracy": accuracy,
        "frames": frames,
        "frames_lacking": len(labels) - frames,
    }

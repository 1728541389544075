"""Confusion matrices of points, and what follows from them: IoU, mIoU, accuracy.

A matrix is int `[K, K]`, rows the true and columns the predicted class. Matrices of batches, of
devices and of hosts add up to the matrix of all, so only they are ever summed, never scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax.errors import InputError


def confusion_matrix(predictions: np.ndarray, targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix int64 `[K, K]` of labels of any (equal) shape; negative targets are ignored.

    Raises:
      InputError: shapes that differ, labels that are not integers, or a class outside 0..K-1 at a
        position that counts.
    """
    predictions, targets = np.asarray(predictions), np.asarray(targets)
    if predictions.shape != targets.shape:
        raise InputError(
            f"Predictions {predictions.shape} and targets {targets.shape} must have the same shape."
        )
    for name, array in (("predictions", predictions), ("targets", targets)):
        if not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"The {name} are {array.dtype}, expected integers.")
    counted = targets >= 0
    predictions, targets = predictions[counted].astype(np.int64), targets[counted].astype(np.int64)
    for name, array in (("predictions", predictions), ("targets", targets)):
        if array.size and (array.min() < 0 or array.max() >= num_classes):
            bad = array.min() if array.min() < 0 else array.max()
            raise InputError(f"Class {bad} in the {name} is outside 0..{num_classes - 1}.")
    flat = np.bincount(targets * num_classes + predictions, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def batch_confusion_matrix(
    predictions: jax.Array,
    targets: jax.Array,
    num_classes: int,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The same under `jit`, int32 `[K, K]`; over a sharded batch it is that of the whole batch.

    Classes cannot be checked under `jit`: a position whose target is negative or not below K, or
    whose prediction is outside 0..K-1, is left out. int32 holds one batch; add batches up in int64.

    Args:
      predictions, targets: int `[B, ...]`.
      num_classes: K, static.
      weights: `[B]`, 0 for the rows that only fill up a batch; they do not count.
    """
    counted = (targets >= 0) & (targets < num_classes)
    counted &= (predictions >= 0) & (predictions < num_classes)
    if weights is not None:
        counted &= (weights > 0).reshape(weights.shape + (1,) * (targets.ndim - weights.ndim))
    # One slot more than there are pairs takes what does not count.
    pairs = jnp.where(counted, targets * num_classes + predictions, num_classes**2)
    flat = jnp.zeros(num_classes**2 + 1, jnp.int32).at[pairs.reshape(-1)].add(1)
    return flat[:-1].reshape(num_classes, num_classes)


def iou_per_class(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class `[K]`, 0 to 1; NaN where it was neither true nor said.

    Args:
      matrix: `[K, K]`.
    """
    matrix = np.asarray(matrix, np.float64)
    intersection = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - intersection
    return np.divide(intersection, union, out=np.full(len(matrix), np.nan), where=union > 0)


def segmentation_scores(
    matrix: np.ndarray, class_names: Sequence[str], *, skip: Sequence[int] = ()
) -> dict[str, Any]:
    """Scores of a confusion matrix, in per cent.

    Args:
      matrix: `[K, K]`.
      class_names: K names.
      skip: classes that the means leave out (the HOI4D benchmark: 0 and 1); their points still
        count in the unions of the others.

    Returns:
      `mean_iou`, over the classes that occur in the ground truth (the rule of HOI4D);
      `mean_iou_published`, over all classes, an absent one counting 0 (the rule of MeteorNet and
      P4Transformer on Synthia); `point_accuracy`; `mean_class_accuracy`; `per_class`, the IoU by
      name (None where a class is absent from the ground truth); `num_points`; `num_classes`, those
      in `mean_iou`.

    Raises:
      InputError: no points, or a matrix that does not fit the names.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(class_names), len(class_names)):
        raise InputError(
            f"The confusion matrix has shape {matrix.shape}, there are {len(class_names)} classes."
        )
    true = matrix.sum(1)
    kept = np.ones(len(class_names), bool)
    kept[list(skip)] = False
    present = kept & (true > 0)
    if not present.any():
        raise InputError("No point has a label that counts, so there is nothing to score.")
    iou = 100.0 * iou_per_class(matrix)
    recall = 100.0 * np.diag(matrix) / np.maximum(true, 1)
    return {
        "mean_iou": float(iou[present].mean()),
        "mean_iou_published": float(np.nan_to_num(iou)[kept].mean()),
        "point_accuracy": 100.0 * float(np.trace(matrix) / matrix.sum()),
        "mean_class_accuracy": float(recall[present].mean()),
        "per_class": {
            name: round(float(value), 2) if there else None
            for name, value, there in zip(class_names, iou, true > 0, strict=True)
        },
        "num_points": int(matrix.sum()),
        "num_classes": int(present.sum()),
    }

"""Confusion matrices of points, and the scores computed from them: IoU, mIoU, accuracy.

Rows of a matrix are true classes, columns are predicted classes. The matrices of batches, devices
and hosts add up to the matrix of the whole data, so matrices are summed and scores are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Int64, Num

from pointata_jax.errors import InputError
from pointata_jax.metrics.classification import by_class_name


def confusion_matrix(
    predictions: Int[np.ndarray, "*shape"], targets: Int[np.ndarray, "*shape"], num_classes: int
) -> Int64[np.ndarray, "{num_classes} {num_classes}"]:
    """Confusion matrix of labels of any shape; negative targets are ignored.

    Raises:
      InputError: shapes that differ, labels that are not integers, or a class outside
        `[0, num_classes)` at a position that is not ignored.
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
    predictions: Int[Array, " b *rest"],
    targets: Int[Array, " b *rest"],
    num_classes: int,
    weights: Num[Array, " b"] | None = None,
) -> Int32[Array, "{num_classes} {num_classes}"]:
    """`confusion_matrix` of a batch for use under `jit`; of the whole batch if it is sharded.

    Classes cannot be checked under `jit`, so positions with a target or a prediction outside
    `[0, num_classes)` are ignored. int32 holds the counts of one batch; sum batches in int64.

    Args:
      predictions: predicted classes.
      targets: true classes.
      num_classes: static number of classes.
      weights: 0 for rows that pad the batch, which are ignored; None if there are none.
    """
    counted = (targets >= 0) & (targets < num_classes)
    counted &= (predictions >= 0) & (predictions < num_classes)
    if weights is not None:
        counted &= (weights > 0).reshape(weights.shape + (1,) * (targets.ndim - weights.ndim))
    # Ignored positions are counted in one extra slot, which is cut off.
    pairs = jnp.where(counted, targets * num_classes + predictions, num_classes**2)
    flat = jnp.zeros(num_classes**2 + 1, jnp.int32).at[pairs.reshape(-1)].add(1)
    return flat[:-1].reshape(num_classes, num_classes)


def iou_per_class(matrix: Num[np.ndarray, "classes classes"]) -> Float[np.ndarray, " classes"]:
    """Intersection over union of each class, 0 to 1; NaN for a class neither true nor predicted."""
    matrix = np.asarray(matrix, np.float64)
    intersection = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - intersection
    return np.divide(intersection, union, out=np.full(len(matrix), np.nan), where=union > 0)


def segmentation_scores(
    matrix: Num[np.ndarray, "classes classes"],
    class_names: Sequence[str],
    *,
    skip: Sequence[int] = (),
) -> dict[str, Any]:
    """Scores of a confusion matrix, in per cent.

    Args:
      matrix: confusion matrix of all points.
      class_names: names of the classes.
      skip: classes that the means leave out (0 and 1 in the HOI4D benchmark). Their points still
        count in the unions of the other classes.

    Returns:
      `mean_iou`, over the classes that occur in the ground truth (the rule of HOI4D);
      `mean_iou_published`, over all classes, with 0 for an absent one (the rule of MeteorNet and
      P4Transformer on Synthia); `point_accuracy`; `mean_class_accuracy`; `per_class`, the IoU by
      name (None where a class is absent from the ground truth); `num_points`; `num_classes`, the
      number of classes in `mean_iou`.

    Raises:
      InputError: no points to score, or a matrix that does not fit the names.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(class_names), len(class_names)):
        raise InputError(
            f"The confusion matrix has shape {matrix.shape}, but there are {len(class_names)} "
            "classes: give one row and one column per class."
        )
    true = matrix.sum(1)
    kept = np.ones(len(class_names), bool)
    kept[list(skip)] = False
    present = kept & (true > 0)
    if not present.any():
        raise InputError(
            "There is nothing to score: every point is ignored or belongs to a skipped class."
        )
    iou = 100.0 * iou_per_class(matrix)
    recall = 100.0 * np.diag(matrix) / np.maximum(true, 1)
    return {
        "mean_iou": float(iou[present].mean()),
        "mean_iou_published": float(np.nan_to_num(iou)[kept].mean()),
        "point_accuracy": 100.0 * float(np.trace(matrix) / matrix.sum()),
        "mean_class_accuracy": float(recall[present].mean()),
        "per_class": by_class_name(np.where(true > 0, iou, np.nan), class_names),
        "num_points": int(matrix.sum()),
        "num_classes": int(present.sum()),
    }

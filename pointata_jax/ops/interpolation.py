"""Interpolation of features from few points to many."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Num, Real

from pointata_jax.errors import InputError
from pointata_jax.ops.checks import as_points, common_axes
from pointata_jax.ops.neighbors import gather, knn

EPSILON = 1e-8


def three_nn_interpolate(
    targets: Real[ArrayLike, "*#batch n 3"],
    sources: Real[ArrayLike, "*#batch m 3"],
    features: Num[ArrayLike, "*#batch m c"],
    *,
    distance: Literal["euclidean", "squared"] = "euclidean",
    valid: Bool[ArrayLike, "*#batch m"] | None = None,
) -> Num[Array, "*batch n c"]:
    """Interpolate features at `targets` from the three nearest `sources`, by inverse distance.

    The weights are `1 / (d + 1e-8)`, normalized over the three (PointNet++ feature propagation).
    Differentiable in all three arrays; at coincident points, where the distance has a cusp, its
    derivative is taken as zero.

    Args:
      targets: the points that get features.
      sources: the points that have them, m >= 3, in the unit of `targets`.
      features: one row for each source.
      distance: "euclidean" weighs by the distance (pointnet2_ops), "squared" by its square (the
        part segmentation of Point-BERT and Point-MAE).
      valid: the sources that may be read, as in `knn`; None for all.

    Returns:
      One row for each target, in the type of `features`.

    Raises:
      InputError: wrong shapes, fewer than three sources, or an unknown distance.
    """
    if distance not in ("euclidean", "squared"):
        raise InputError(f'distance must be "euclidean" or "squared", got {distance!r}.')
    finer, coarser = as_points(targets, "targets"), as_points(sources, "sources")
    values = jnp.asarray(features)
    if values.ndim < 2 or values.shape[-2] != coarser.shape[-2]:
        raise InputError(
            f"features must hold one row for each of the {coarser.shape[-2]} sources, "
            f"got shape {values.shape}."
        )
    if coarser.shape[-2] < 3:
        raise InputError(
            f"three_nn_interpolate needs at least 3 sources, got {coarser.shape[-2]}; "
            f"sample more centers."
        )
    lead = common_axes(
        ("targets", finer.shape[:-2]),
        ("sources", coarser.shape[:-2]),
        ("features", values.shape[:-2]),
    )
    finer, coarser, values = (
        jnp.broadcast_to(array, lead + array.shape[-2:]) for array in (finer, coarser, values)
    )

    nearest = knn(finer, coarser, 3, valid=valid)
    dx, dy, dz = jnp.moveaxis(gather(coarser, nearest) - finer[..., None, :], -1, 0)
    d = dx * dx + dy * dy + dz * dz
    if distance == "euclidean":
        # The square root's slope at 0 is infinite; the inner where keeps it out of the gradient.
        d = jnp.where(d > 0, jnp.sqrt(jnp.where(d > 0, d, 1.0)), 0.0)
    d = d + EPSILON
    # 1/d_i normalized, multiplied through by the product of all: the reciprocals reach 1e8 at
    # coincident points, where their gradients would cancel to noise.
    others = d[..., (1, 2, 0)] * d[..., (2, 0, 1)]
    weights = others / jnp.sum(others, axis=-1, keepdims=True)
    return jnp.sum(weights[..., None].astype(values.dtype) * gather(values, nearest), axis=-2)

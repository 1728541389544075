"""Which points of a cloud are copies of others."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from pointata_jax.errors import InputError


def repeated_points(points: ArrayLike) -> jax.Array:
    """Whether an equal point has a lower index, bool `[..., N]`; false for the first of equals.

    A sparse frame that was filled up to N by drawing its points again holds many copies. They say
    nothing new and take the places of different neighbors: `valid=~repeated_points(points)` of
    `ball_query` and `knn` passes them over. Carries no gradient.

    Args:
      points: `[..., N, C]`; points are equal where all C values are (0 equals -0, NaN nothing).

    Raises:
      InputError: fewer than two axes.
    """
    cloud = jnp.asarray(points)
    if cloud.ndim < 2:
        raise InputError(f"points must have shape [..., N, C], got {cloud.shape}.")
    return _repeated(cloud)


@jax.jit
def _repeated(points: jax.Array) -> jax.Array:
    lead, count = points.shape[:-2], points.shape[-2]
    rows = jax.lax.stop_gradient(points).reshape(-1, count, points.shape[-1])
    values = [rows[..., column] for column in range(rows.shape[-1])]
    place = jax.lax.broadcasted_iota(jnp.int32, rows.shape[:-1], 1)
    # Sorted by all columns, equal points stand side by side and, the sort being stable, in the
    # order of their indices. Comparing all pairs takes three to ten times as long.
    *values, place = jax.lax.sort((*values, place), num_keys=len(values), is_stable=True)
    same = functools.reduce(jnp.logical_and, [v[:, 1:] == v[:, :-1] for v in values])
    same = jnp.pad(same, ((0, 0), (1, 0)))
    cloud = jax.lax.broadcasted_iota(jnp.int32, place.shape, 0)
    flags = jnp.zeros(place.shape, bool).at[cloud, place].set(same, unique_indices=True)
    return flags.reshape(*lead, count)

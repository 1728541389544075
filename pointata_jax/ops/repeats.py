"""Which points of a cloud are copies of others."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Shaped

from pointata_jax.errors import InputError


def repeated_points(points: Shaped[ArrayLike, "*batch n c"]) -> Bool[Array, "*batch n"]:
    """Whether an equal point has a lower index; false for the first of equal points.

    A sparse frame that was filled up to n points by drawing its points again holds many copies.
    They carry no information and take the places of different neighbors. `ball_query` and `knn`
    skip them with `valid=~repeated_points(points)`. Carries no gradient.

    Args:
      points: points are equal where all c values are (0 equals -0, NaN equals nothing).

    Raises:
      InputError: fewer than two axes.
    """
    cloud = jnp.asarray(points)
    if cloud.ndim < 2:
        raise InputError(f"points must have shape [..., n, c], got {cloud.shape}.")
    return _repeated(cloud)


@jax.jit
def _repeated(points: Shaped[Array, "*batch n c"]) -> Bool[Array, "*batch n"]:
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

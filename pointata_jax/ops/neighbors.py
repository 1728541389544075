"""Neighbors of centers in a cloud: ball query, k nearest, and the gather that uses them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, Real, Shaped

from pointata_jax.errors import InputError
from pointata_jax.ops.checks import as_count, as_mask, as_points, common_axes
from pointata_jax.ops.selection import argmax, top_k

# Distances held at a time (4 MB in float32); more are computed in blocks of centers. On a CPU this
# is faster too, by up to 3 times, because a block stays near the cache.
BLOCK_ELEMENTS = 1 << 20


def ball_query(
    centers: Real[ArrayLike, "*#batch m 3"],
    points: Real[ArrayLike, "*#batch n 3"],
    radius: Real[ArrayLike, ""],
    k: int,
    *,
    order: Literal["index", "distance"] = "index",
    empty: Literal["nearest", "zero"] = "nearest",
    valid: Bool[ArrayLike, "*#batch n"] | None = None,
) -> Int32[Array, "*batch m {k}"]:
    """Indices of k points strictly inside the ball of `radius` around each center.

    A ball with fewer than k points repeats its first one. Carries no gradient.

    Args:
      centers: in the unit of `points`.
      points: the clouds; leading axes broadcast against those of `centers`.
      radius: in the unit of `points`; a point at exactly this distance is outside.
      k: a Python integer, at most n.
      order: "index" takes the first k inside in index order. This is the rule of the CUDA kernel
        in pointnet2_ops; its result depends on the order of the points. "distance" takes the k
        nearest inside, sorted; its result does not.
      empty: what an empty ball holds k times: "nearest" the nearest point, "zero" index 0, which
        is what pointnet2_ops leaves there.
      valid: the points that may be chosen, at least one of each cloud (see `repeated_points`);
        None for all.

    Raises:
      InputError: wrong shapes, n < k, a radius that is not positive, or an unknown rule.
    """
    if order not in ("index", "distance"):
        raise InputError(f'order must be "index" or "distance", got {order!r}.')
    if empty not in ("nearest", "zero"):
        raise InputError(f'empty must be "nearest" or "zero", got {empty!r}.')
    if isinstance(radius, (int, float)) and not radius > 0:
        raise InputError(f"radius must be positive, got {radius}.")
    queries, cloud, mask, k = _check_search(centers, points, k, valid)
    if order == "index" and cloud.shape[-2] > 1 << 24:
        raise InputError(
            f"ball_query in index order holds at most {1 << 24} points for each cloud, "
            f'got {cloud.shape[-2]}; split the cloud or use order="distance".'
        )
    return _ball_query(queries, cloud, mask, jnp.asarray(radius, cloud.dtype), k, order, empty)


@functools.partial(jax.jit, static_argnames=("k", "order", "empty"))
def _ball_query(
    centers: Float[Array, "*batch m 3"],
    points: Float[Array, "*batch n 3"],
    valid: Bool[Array, "*batch n"] | None,
    radius: Float[Array, ""],
    k: int,
    order: str,
    empty: str,
) -> Int32[Array, "*batch m {k}"]:
    radius_sq = jax.lax.stop_gradient(radius * radius)

    def in_ball(d2: jax.Array) -> jax.Array:
        # top_k is far faster on floats than on integers; an index is exact in one below 2^24.
        index = jax.lax.broadcasted_iota(d2.dtype, d2.shape, d2.ndim - 1)
        key = jnp.where(d2 < radius_sq, -d2 if order == "distance" else -index, -jnp.inf)
        value, found = top_k(key, k)
        hit = value > -jnp.inf
        fallback = argmax(-d2)[..., None] if empty == "nearest" else 0
        first = jnp.where(hit[..., :1], found[..., :1], fallback)
        return jnp.where(hit, found, first)

    return _select_by_distance(in_ball, centers, points, valid)


def knn(
    centers: Real[ArrayLike, "*#batch m 3"],
    points: Real[ArrayLike, "*#batch n 3"],
    k: int,
    *,
    valid: Bool[ArrayLike, "*#batch n"] | None = None,
) -> Int32[Array, "*batch m {k}"]:
    """Indices of the k points nearest to each center, nearest first, ties by the lower index.

    Carries no gradient.

    Args:
      centers: in the unit of `points`.
      points: the clouds; leading axes broadcast against those of `centers`.
      k: a Python integer, at most n.
      valid: the points that may be chosen, at least one of each cloud (see `repeated_points`);
        None for all. Where there are fewer than k, the nearest is repeated.

    Raises:
      InputError: wrong shapes, or n < k.
    """
    queries, cloud, mask, k = _check_search(centers, points, k, valid)
    return _knn(queries, cloud, mask, k)


@functools.partial(jax.jit, static_argnames=("k",))
def _knn(
    centers: Float[Array, "*batch m 3"],
    points: Float[Array, "*batch n 3"],
    valid: Bool[Array, "*batch n"] | None,
    k: int,
) -> Int32[Array, "*batch m {k}"]:
    def nearest(d2: jax.Array) -> jax.Array:
        # The nearest of each of k groups are k points, so the farthest of these bounds the k-th
        # distance. Most points lie beyond it and never enter the heap of top_k. The margin is for
        # distances that XLA computes anew, which may then differ in the last bit.
        group = d2.shape[-1] // k
        groups = d2[..., : k * group].reshape(*d2.shape[:-1], k, group)
        bound = jnp.max(jnp.min(groups, axis=-1), axis=-1, keepdims=True)
        value, found = top_k(jnp.where(d2 <= bound * (1 + 1e-6), -d2, -jnp.inf), k)
        return found if valid is None else jnp.where(value > -jnp.inf, found, found[..., :1])

    return _select_by_distance(nearest, centers, points, valid)


def _check_search(
    centers: ArrayLike, points: ArrayLike, k: int, valid: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None, int]:
    """Centers, points and mask with common leading axes and one type, and k."""
    queries, cloud = as_points(centers, "centers"), as_points(points, "points")
    lead = common_axes(("centers", queries.shape[:-2]), ("points", cloud.shape[:-2]))
    k = as_count(k, "k", cloud.shape[-2], "points")
    dtype = jnp.promote_types(queries.dtype, cloud.dtype)
    queries = jnp.broadcast_to(queries, lead + queries.shape[-2:]).astype(dtype)
    cloud = jnp.broadcast_to(cloud, lead + cloud.shape[-2:]).astype(dtype)
    return queries, cloud, None if valid is None else as_mask(valid, cloud.shape[:-1]), k


def _select_by_distance(
    select: Callable[[jax.Array], jax.Array],
    centers: Float[Array, "*batch m 3"],
    points: Float[Array, "*batch n 3"],
    valid: Bool[Array, "*batch n"] | None,
) -> Int32[Array, "*batch m k"]:
    """Neighbors that `select` chooses by squared distance, in blocks of centers to bound memory.

    Blocks are cut across the centers, never across the clouds: an axis that is split over devices
    stays whole, so no device has to fetch another's points.

    Args:
      select: from squared distances `[..., n]` to indices `[..., k]`; points that are not `valid`
        are infinitely far away.
      centers: the queries.
      points: the clouds.
      valid: the points that may be chosen; None for all.
    """
    num_centers = centers.shape[-2]
    queries = jax.lax.stop_gradient(centers).reshape((-1, num_centers, 3))
    cloud = jax.lax.stop_gradient(points).reshape((-1,) + points.shape[-2:])
    planes = cloud[..., 0], cloud[..., 1], cloud[..., 2]
    mask = None if valid is None else valid.reshape((-1, 1, valid.shape[-1]))

    def neighbors(block: jax.Array) -> jax.Array:  # [clouds, rows, 3] -> [clouds, rows, k]
        # Direct differences: |a|^2 + |b|^2 - 2ab loses a ball of radius 0.2 in clouds of size 1e2.
        x, y, z = (p[:, None, :] - block[..., i, None] for i, p in enumerate(planes))
        d2 = x * x + y * y + z * z
        return select(d2 if mask is None else jnp.where(mask, d2, jnp.inf))

    rows = max(1, BLOCK_ELEMENTS // max(1, planes[0].size))
    if num_centers <= rows:
        found = neighbors(queries)
    else:
        found = jax.lax.map(
            lambda center: neighbors(center[:, None])[:, 0],
            queries.swapaxes(0, 1),
            batch_size=rows,
        ).swapaxes(0, 1)
    return found.reshape(centers.shape[:-1] + found.shape[-1:])


def gather(
    points: Shaped[ArrayLike, "*batch n c"],
    indices: Int[ArrayLike, "*batch m"] | Int[ArrayLike, "*batch m k"],
) -> Shaped[Array, "*batch m c"] | Shaped[Array, "*batch m k c"]:
    """Rows of each cloud by index; differentiable in `points`.

    Args:
      points: coordinates or features.
      indices: into axis n. With one axis less than `points` they are `[..., m]`, with as many axes
        as `points` they are `[..., m, k]`.

    Returns:
      The rows, in the type of `points`.

    Raises:
      InputError: shapes that do not fit, or indices that are not integers.
    """
    rows, chosen = jnp.asarray(points), jnp.asarray(indices)
    if not jnp.issubdtype(chosen.dtype, jnp.integer):
        raise InputError(f"indices must be integers, got {chosen.dtype}.")
    if rows.ndim < 2 or chosen.ndim not in (rows.ndim - 1, rows.ndim):
        raise InputError(
            f"points [..., n, c] and indices [..., m] or [..., m, k] do not fit: "
            f"got {rows.shape} and {chosen.shape}."
        )
    lead = rows.shape[:-2]
    if chosen.shape[: len(lead)] != lead:
        raise InputError(
            f"the leading axes do not agree: points {lead}, indices {chosen.shape[: len(lead)]}; "
            f"give the arguments the same leading axes."
        )
    taken = jnp.take_along_axis(rows, chosen.reshape((*lead, -1, 1)), axis=-2)
    return taken.reshape(chosen.shape + rows.shape[-1:])

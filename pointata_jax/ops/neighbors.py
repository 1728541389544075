"""Neighbors of centers in a cloud: ball query, k nearest, and the gather that uses them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from pointata_jax.errors import InputError
from pointata_jax.ops.checks import as_count, as_points, common_axes
from pointata_jax.ops.selection import argmax, top_k

# Distances held at a time (4 MB in float32): more than that is worked off in blocks of centers. On
# a CPU this is faster too, by up to 3 times, because a block stays near the cache.
BLOCK_ELEMENTS = 1 << 20


def ball_query(
    centers: ArrayLike,
    points: ArrayLike,
    radius: ArrayLike,
    k: int,
    *,
    order: Literal["index", "distance"] = "index",
    empty: Literal["nearest", "zero"] = "nearest",
    valid: ArrayLike | None = None,
) -> jax.Array:
    """Indices of k points strictly inside the ball of `radius` around each center.

    A ball with fewer than k points repeats its first one. Carries no gradient.

    Args:
      centers: `[..., n, 3]`, in the unit of `points`.
      points: `[..., N, 3]`; leading axes broadcast against those of `centers`.
      radius: in the unit of `points`; a point at exactly this distance is outside.
      k: a Python integer, at most N.
      order: "index" takes the first k inside in index order, the rule of the CUDA kernel in
        pointnet2_ops, whose result depends on the order of the points; "distance" takes the k
        nearest inside, sorted, which does not.
      empty: what an empty ball holds k times: "nearest" the nearest point, "zero" index 0, which
        is what pointnet2_ops leaves there.
      valid: bool `[..., N]`, the points that may be chosen, at least one of each cloud (see
        `repeated_points`); None for all.

    Returns:
      int32 `[..., n, k]`.

    Raises:
      InputError: wrong shapes, N < k, a radius that is not positive, or an unknown rule.
    """
    if order not in ("index", "distance"):
        raise InputError(f'order must be "index" or "distance", got {order!r}.')
    if empty not in ("nearest", "zero"):
        raise InputError(f'empty must be "nearest" or "zero", got {empty!r}.')
    if isinstance(radius, (int, float)) and not radius > 0:
        raise InputError(f"radius must be positive, got {radius}.")
    queries, cloud, k = _checked(centers, points, k)
    if order == "index" and cloud.shape[-2] > 1 << 24:
        raise InputError(
            f"ball_query in index order holds at most {1 << 24} points for each cloud, "
            f'got {cloud.shape[-2]}; split the cloud or use order="distance".'
        )
    mask = _as_mask(valid, cloud)
    return _ball_query(queries, cloud, mask, jnp.asarray(radius, cloud.dtype), k, order, empty)


def knn(
    centers: ArrayLike, points: ArrayLike, k: int, *, valid: ArrayLike | None = None
) -> jax.Array:
    """Indices of the k points nearest to each center, nearest first, ties by the lower index.

    Carries no gradient.

    Args:
      centers: `[..., n, 3]`, in the unit of `points`.
      points: `[..., N, 3]`; leading axes broadcast against those of `centers`.
      k: a Python integer, at most N.
      valid: bool `[..., N]`, the points that may be chosen, at least one of each cloud (see
        `repeated_points`); None for all. Where there are fewer than k, the nearest is repeated.

    Returns:
      int32 `[..., n, k]`.

    Raises:
      InputError: wrong shapes, or N < k.
    """
    queries, cloud, k = _checked(centers, points, k)
    return _knn(queries, cloud, _as_mask(valid, cloud), k)


def gather(points: ArrayLike, indices: ArrayLike) -> jax.Array:
    """Rows of each cloud by index; differentiable in `points`.

    Args:
      points: `[..., N, C]`, coordinates or features.
      indices: int `[..., n]` or `[..., n, k]` into axis N. With as many axes as `points` less one
        it is `[..., n]`, with as many as `points` it is `[..., n, k]`.

    Returns:
      `[..., n, C]` or `[..., n, k, C]`, in the type of `points`.

    Raises:
      InputError: shapes that do not fit, or indices that are not integers.
    """
    rows, chosen = jnp.asarray(points), jnp.asarray(indices)
    if not jnp.issubdtype(chosen.dtype, jnp.integer):
        raise InputError(f"indices must be integers, got {chosen.dtype}.")
    if rows.ndim < 2 or chosen.ndim not in (rows.ndim - 1, rows.ndim):
        raise InputError(
            f"points [..., N, C] and indices [..., n] or [..., n, k] do not fit: "
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


def _checked(centers: ArrayLike, points: ArrayLike, k: int) -> tuple[jax.Array, jax.Array, int]:
    queries, cloud = as_points(centers, "centers"), as_points(points, "points")
    lead = common_axes(("centers", queries.shape[:-2]), ("points", cloud.shape[:-2]))
    k = as_count(k, "k", cloud.shape[-2], "points")
    dtype = jnp.promote_types(queries.dtype, cloud.dtype)
    queries = jnp.broadcast_to(queries, lead + queries.shape[-2:]).astype(dtype)
    cloud = jnp.broadcast_to(cloud, lead + cloud.shape[-2:]).astype(dtype)
    return queries, cloud, k


def _as_mask(valid: ArrayLike | None, cloud: jax.Array) -> jax.Array | None:
    if valid is None:
        return None
    mask = jnp.asarray(valid)
    if mask.dtype != jnp.bool_:
        raise InputError(f"valid must be boolean, got {mask.dtype}.")
    try:
        return jnp.broadcast_to(mask, cloud.shape[:-1])
    except ValueError:
        raise InputError(
            f"valid must hold one value for each point, {cloud.shape[:-1]}, got {mask.shape}."
        ) from None


def _by_centers(
    select: Callable[[jax.Array], jax.Array],
    centers: jax.Array,
    points: jax.Array,
    valid: jax.Array | None,
    k: int,
) -> jax.Array:
    """Apply `select` (squared distances `[..., N]` to indices `[..., k]`) to blocks of centers.

    Points that are not `valid` are infinitely far away.

    Blocks are cut across the centers, never across the clouds: an axis that is split over devices
    stays whole, so no device has to fetch another's points.
    """
    lead, n = centers.shape[:-2], centers.shape[-2]
    centers = jax.lax.stop_gradient(centers).reshape((-1, n, 3))
    points = jax.lax.stop_gradient(points).reshape((-1,) + points.shape[-2:])
    planes = points[..., 0], points[..., 1], points[..., 2]
    if valid is not None:
        valid = valid.reshape((-1, 1, valid.shape[-1]))

    def neighbors(centers):  # [clouds, rows, 3] -> [clouds, rows, k]
        # Direct differences: |a|^2 + |b|^2 - 2ab loses a ball of radius 0.2 in clouds of size 1e2.
        x, y, z = (p[:, None, :] - centers[..., i, None] for i, p in enumerate(planes))
        d2 = x * x + y * y + z * z
        return select(d2 if valid is None else jnp.where(valid, d2, jnp.inf))

    rows = max(1, BLOCK_ELEMENTS // max(1, planes[0].size))
    if n <= rows:
        found = neighbors(centers)
    else:
        found = jax.lax.map(
            lambda center: neighbors(center[:, None])[:, 0],
            centers.swapaxes(0, 1),
            batch_size=rows,
        ).swapaxes(0, 1)
    return found.reshape((*lead, n, k))


@functools.partial(jax.jit, static_argnames=("k",))
def _knn(centers: jax.Array, points: jax.Array, valid: jax.Array | None, k: int) -> jax.Array:
    def select(d2):
        # The nearest of each of k groups are k points, so the farthest of these bounds the k-th
        # distance. Most points lie beyond it and never enter the heap of top_k. The margin is for
        # distances that XLA computes anew, which may then differ in the last bit.
        group = d2.shape[-1] // k
        groups = d2[..., : k * group].reshape(*d2.shape[:-1], k, group)
        bound = jnp.max(jnp.min(groups, axis=-1), axis=-1, keepdims=True)
        value, found = top_k(jnp.where(d2 <= bound * (1 + 1e-6), -d2, -jnp.inf), k)
        return found if valid is None else jnp.where(value > -jnp.inf, found, found[..., :1])

    return _by_centers(select, centers, points, valid, k)


@functools.partial(jax.jit, static_argnames=("k", "order", "empty"))
def _ball_query(
    centers: jax.Array,
    points: jax.Array,
    valid: jax.Array | None,
    radius: jax.Array,
    k: int,
    order: str,
    empty: str,
) -> jax.Array:
    radius_sq = jax.lax.stop_gradient(radius * radius)

    def select(d2):
        # top_k is far faster on floats than on integers; an index is exact in one below 2^24.
        index = jax.lax.broadcasted_iota(d2.dtype, d2.shape, d2.ndim - 1)
        key = jnp.where(d2 < radius_sq, -d2 if order == "distance" else -index, -jnp.inf)
        value, found = top_k(key, k)
        hit = value > -jnp.inf
        fallback = argmax(-d2)[..., None] if empty == "nearest" else 0
        first = jnp.where(hit[..., :1], found[..., :1], fallback)
        return jnp.where(hit, found, first)

    return _by_centers(select, centers, points, valid, k)

"""Farthest-point sampling."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Int32, Real

from pointata_jax.errors import InputError
from pointata_jax.ops.checks import as_count, as_points
from pointata_jax.ops.selection import argmax


def farthest_point_sample(
    points: Real[ArrayLike, "*batch n 3"],
    num_samples: int,
    *,
    skip_radius_sq: float = 0.0,
    start: Int[ArrayLike, "*batch"] | None = None,
) -> Int32[Array, "*batch {num_samples}"]:
    """Indices of points, each the farthest from all those chosen before it.

    Among equally far points the lowest index is taken, so once every distinct position is used up
    (duplicated points) index 0 is repeated. Carries no gradient.

    Args:
      points: in any unit.
      num_samples: a Python integer, at most n.
      skip_radius_sq: in squared units of `points`. 0 skips nothing. A point with squared norm at
        most this value is never selected, except as the first; if all are skipped, index 0 is
        repeated. 1e-3 gives the rule of the CUDA kernel in pointnet2_ops, on which most published
        checkpoints were trained. With it, clouds normalized around the origin lose their middle.
      start: the first index of each cloud; None is index 0.

    Raises:
      InputError: wrong shape, or n < num_samples.
    """
    cloud = as_points(points, "points")
    lead, count = cloud.shape[:-2], cloud.shape[-2]
    num_samples = as_count(num_samples, "num_samples", count, "points")
    first = jnp.zeros(lead, jnp.int32) if start is None else jnp.asarray(start)
    if first.shape != lead or not jnp.issubdtype(first.dtype, jnp.integer):
        raise InputError(
            f"start must be an integer array of shape {lead}, one index for each cloud, "
            f"got {first.dtype} {first.shape}."
        )
    return _sample(cloud, first, num_samples, float(skip_radius_sq))


@functools.partial(jax.jit, static_argnames=("num_samples", "skip_radius_sq"))
def _sample(
    points: Float[Array, "*batch n 3"],
    start: Int[Array, "*batch"],
    num_samples: int,
    skip_radius_sq: float,
) -> Int32[Array, "*batch {num_samples}"]:
    lead = points.shape[:-2]
    # One contiguous [clouds, N] plane for each axis: with the sum over axes written out, XLA fuses
    # distance, minimum and arg-max into one pass; a reduction over a last axis of 3 is 10x slower.
    cloud = jax.lax.stop_gradient(points).reshape((-1,) + points.shape[-2:])
    x, y, z = cloud[..., 0], cloud[..., 1], cloud[..., 2]
    nearest = jnp.full(x.shape, jnp.inf, x.dtype)
    if skip_radius_sq > 0:
        # -1 survives every minimum and loses every arg-max, except when all points are skipped.
        nearest = jnp.where(x * x + y * y + z * z <= skip_radius_sq, -1.0, nearest)

    def step(carry, _):
        nearest, last = carry
        px, py, pz = (jnp.take_along_axis(plane, last[:, None], axis=1) for plane in (x, y, z))
        nearest = jnp.minimum(nearest, (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2)
        return (nearest, argmax(nearest)), last

    first = start.reshape(-1).astype(jnp.int32)
    _, chosen = jax.lax.scan(step, (nearest, first), length=num_samples)
    return chosen.T.reshape((*lead, num_samples))

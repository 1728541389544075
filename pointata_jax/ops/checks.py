"""Checks of the arguments of operations on points, made before anything is traced or compiled."""

from __future__ import annotations

import operator

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from pointata_jax.errors import InputError


def as_points(array: ArrayLike, name: str) -> Float[Array, "*batch n 3"]:
    """Return coordinates in float32 or wider.

    Args:
      array: `[..., n, 3]`, of any real type.
      name: the argument's name, for the error.

    Raises:
      InputError: any other shape.
    """
    points = jnp.asarray(array)
    if points.ndim < 2 or points.shape[-1] != 3:
        raise InputError(
            f"{name} must have shape [..., n, 3], got {points.shape}; "
            f"pass the coordinates only, for example {name}[..., :3]."
        )
    # Half precision cannot order distances; integers (depth images, voxels) become floats too.
    return points.astype(jnp.promote_types(points.dtype, jnp.float32))


def as_count(value: int, name: str, available: int, source: str) -> int:
    """Return a static count.

    Args:
      value: at least 1 and at most `available`.
      name: the argument's name, for the error.
      available: number of points in `source`.
      source: name of the cloud, for the error.

    Raises:
      InputError: not an integer, or out of range.
    """
    try:
        value = operator.index(value)
    except TypeError:
        raise InputError(
            f"{name} must be a Python integer because it fixes a shape, got {value!r}."
        ) from None
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value}.")
    if value > available:
        raise InputError(
            f"{name}={value} is more than the {available} points of {source}; "
            f"lower {name} or resample the cloud to at least {value} points."
        )
    return value


def as_mask(valid: ArrayLike, shape: tuple[int, ...]) -> Bool[Array, "*batch n"]:
    """Return the mask of the points that may be chosen, broadcast to `shape`.

    Args:
      valid: booleans, one for each point.
      shape: `[..., n]` of the cloud.

    Raises:
      InputError: not boolean, or not of that shape.
    """
    mask = jnp.asarray(valid)
    if mask.dtype != jnp.bool_:
        raise InputError(f"valid must be boolean, got {mask.dtype}.")
    try:
        return jnp.broadcast_to(mask, shape)
    except ValueError:
        raise InputError(
            f"valid must hold one value for each point, {shape}, got {mask.shape}."
        ) from None


def common_axes(*named: tuple[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the broadcast shape of the leading axes.

    Args:
      *named: name and leading axes of each argument.

    Raises:
      InputError: the axes do not broadcast; the message lists them.
    """
    try:
        return jnp.broadcast_shapes(*(axes for _, axes in named))
    except ValueError:
        listing = ", ".join(f"{name} {axes}" for name, axes in named)
        raise InputError(
            f"the leading axes do not agree: {listing}; give the arguments the same leading axes."
        ) from None

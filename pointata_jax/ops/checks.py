"""What every operation on points asks of its arguments, before anything is traced or compiled."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from pointata_jax.errors import InputError


def as_points(array: ArrayLike, name: str) -> jax.Array:
    """Return `[..., N, 3]` in float32 or wider; any other shape is an InputError."""
    points = jnp.asarray(array)
    if points.ndim < 2 or points.shape[-1] != 3:
        raise InputError(
            f"{name} must have shape [..., N, 3], got {points.shape}; "
            f"pass the coordinates only, for example {name}[..., :3]."
        )
    # Half precision cannot order distances; integers (depth images, voxels) become floats too.
    return points.astype(jnp.promote_types(points.dtype, jnp.float32))


def as_count(value: int, name: str, available: int, source: str) -> int:
    """Return a static count with 1 <= value <= available, the number of points in `source`."""
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


def common_axes(*named: tuple[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Broadcast leading axes, or say in an InputError which arguments do not agree."""
    try:
        return jnp.broadcast_shapes(*(axes for _, axes in named))
    except ValueError:
        listing = ", ".join(f"{name} {axes}" for name, axes in named)
        raise InputError(
            f"the leading axes do not agree: {listing}; give the arguments the same leading axes."
        ) from None

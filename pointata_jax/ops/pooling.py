"""Maximum over neighbors, with a backward pass that needs only the places of the maxima."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

PLACES = "places of the maxima over neighbors"
"""Name under which `neighbor_max` keeps its result and the places of the maxima.

With `jax.checkpoint_policies.save_only_these_names(PLACES)` the backward pass recomputes everything
except layers whose output goes into the maximum alone.
"""


def neighbor_max(features: Float[Array, "*batch k c"]) -> Float[Array, "*batch c"]:
    """Maximum of features over the neighbors.

    The gradient goes to the first of equal neighbors; `jnp.max` splits it between them. For
    neighbors that are repeats of one point the result is the same. `jnp.max` keeps all features for
    the backward pass and compares them again, which takes a CPU several times as long.
    """
    return _max(features, features.shape[-2])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max(features: jax.Array, count: int) -> jax.Array:
    del count
    return features.max(-2)


def _forward(features: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    largest = features.max(-2)
    place = jax.lax.broadcasted_iota(jnp.float32, features.shape, features.ndim - 2)
    first = jnp.where(features == largest[..., None, :], place, count).min(-2)
    # NaN equals nothing: stay inside.
    first = jnp.minimum(first, count - 1).astype(jnp.uint8 if count <= 256 else jnp.int32)
    return checkpoint_name(largest, PLACES), checkpoint_name(first, PLACES)


def _backward(count: int, first: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    place = jnp.arange(count, dtype=first.dtype)[:, None]
    return (jnp.where(first[..., None, :] == place, gradient[..., None, :], 0),)


_max.defvjp(_forward, _backward)

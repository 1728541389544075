"""Pairwise squared distances, exact enough to be a transport cost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

AnyArray = jax.Array | np.ndarray
"""Type of the arguments that may be NumPy arrays. Results are always JAX arrays."""

# The default precision of a float32 product is TF32 on recent GPUs and bfloat16 on TPUs. That
# leaves about three digits of a cost, too few for the divergence, a difference of three costs.
PRECISION = jax.lax.Precision.HIGHEST


def as_float(features: Num[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """The array in float32 or wider, so that costs are never computed in bfloat16."""
    array = jnp.asarray(features)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def squared_distances(a: Num[AnyArray, "n d"], b: Num[AnyArray, "m d"]) -> Float[Array, "n m"]:
    """Squared Euclidean distances between the rows of `a` and the rows of `b`."""
    a, b = as_float(a), as_float(b)
    # A common shift does not change distances. Without it, a large mean shared by all features
    # loses the digits that tell them apart when |a|² + |b|² - 2ab is rounded.
    shift = jax.lax.stop_gradient((a.mean(0) + b.mean(0)) / 2)
    a, b = a - shift, b - shift
    inner = jnp.einsum("id,jd->ij", a, b, precision=PRECISION)
    squared = jnp.square(a).sum(-1)[:, None] + jnp.square(b).sum(-1)[None, :] - 2 * inner
    return jnp.maximum(squared, 0)

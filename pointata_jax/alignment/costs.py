"""Pairwise squared distances, exact enough to be a transport cost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
"""What comes in may be a NumPy array; what goes out is JAX's."""

# The default precision of a float32 product is TF32 on recent GPUs and bfloat16 on TPUs, which
# would leave three digits of a cost; the divergence is a difference of three of them.
PRECISION = jax.lax.Precision.HIGHEST


def as_float(features: Array) -> jax.Array:
    """The array in float32 or wider: bfloat16 features are widened before any cost is made."""
    array = jnp.asarray(features)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def squared_distances(a: Array, b: Array) -> jax.Array:
    """Squared Euclidean distances `[n, m]` between the rows of `a` `[n, D]` and `b` `[m, D]`."""
    a, b = as_float(a), as_float(b)
    # Distances do not see a common shift, but the rounding of |a|² + |b|² - 2ab does: without it
    # a large mean shared by all features would eat the digits that tell them apart.
    shift = jax.lax.stop_gradient((a.mean(0) + b.mean(0)) / 2)
    a, b = a - shift, b - shift
    inner = jnp.einsum("id,jd->ij", a, b, precision=PRECISION)
    squared = jnp.square(a).sum(-1)[:, None] + jnp.square(b).sum(-1)[None, :] - 2 * inner
    return jnp.maximum(squared, 0)

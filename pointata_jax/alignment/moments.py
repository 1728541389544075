"""Moment matching: an embedder that starts with the source bank's mean and deviation per channel.

An affine map with a positive scale commutes with the maximum over a tube and with the mean over
tokens, so it can be written into the last Dense layer exactly. It removes the offset between the
means before the first step. That offset is nearly all of an OTDD between raw features.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from pointata_jax.alignment.costs import AnyArray
from pointata_jax.errors import InputError

# A channel whose deviation is below this part of the root mean square over channels counts as
# constant. Dividing it by its own deviation would amplify rounding errors.
RELATIVE_FLOOR = 1e-2


def feature_moments(
    features: Num[AnyArray, "n d"],
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Mean and floored standard deviation of every channel, float32."""
    rows = jnp.asarray(features, jnp.float32)
    deviation = rows.std(0)
    floor = RELATIVE_FLOOR * jnp.sqrt(jnp.square(deviation).mean())
    return rows.mean(0), jnp.maximum(deviation, jnp.maximum(floor, 1e-12))


def match_last_layer(
    dense_params: Mapping[str, AnyArray],
    target_mean: Float[AnyArray, " d"],
    target_std: Float[AnyArray, " d"],
    bank_mean: Float[AnyArray, " d"],
    bank_std: Float[AnyArray, " d"],
) -> dict[str, jax.Array]:
    """Parameters of a Dense layer after which features have the bank's mean and deviation.

    Args:
      dense_params: {"kernel" `[k, d]`, "bias" `[d]`} of the layer that makes the features. Only
        maxima and means may follow it.
      target_mean: mean of the features as the layer makes them now (`feature_moments`).
      target_std: their standard deviation.
      bank_mean: mean of the bank (`SourceBank.standardization`).
      bank_std: its standard deviation.

    Returns:
      New {"kernel", "bias"} in the layer's own types.

    Raises:
      InputError: a layer without bias, different widths, or a deviation that is not positive.
    """
    if set(dense_params) != {"kernel", "bias"}:
        raise InputError(
            f"Moment matching needs a Dense layer with kernel and bias; it got "
            f"{', '.join(sorted(dense_params)) or 'nothing'}."
        )
    kernel, bias = (jnp.asarray(dense_params[name]) for name in ("kernel", "bias"))
    moments = {
        "target mean": target_mean,
        "target deviation": target_std,
        "bank mean": bank_mean,
        "bank deviation": bank_std,
    }
    for name, value in moments.items():
        if jnp.shape(value) != bias.shape:
            raise InputError(
                f"The {name} has shape {jnp.shape(value)} but the layer makes {bias.shape[0]} "
                "channels: use a source bank made by a backbone of the same width."
            )
    if not (bool(jnp.all(target_std > 0)) and bool(jnp.all(bank_std > 0))):
        raise InputError("Moment matching needs positive deviations; use `feature_moments`.")
    scale = bank_std / target_std
    return {
        "kernel": (kernel * scale).astype(kernel.dtype),
        "bias": ((bias - target_mean) * scale + bank_mean).astype(bias.dtype),
    }

"""The ways in which the transformers of the families differ, and the check of their settings.

The backbone (`pointata_jax.models.point_mae`) and the conversion share them.
"""

from __future__ import annotations

from typing import Any

from pointata_jax.errors import InputError

CHOICES: dict[str, tuple[str, ...]] = {
    "block": ("point_mae", "recon"),
    "position_input": ("xyz", "sinusoidal"),
    "final_norm": ("all", "class", "none"),
    "qkv_bias": ("none", "all", "query_value"),
    "mlp": ("gelu", "swiglu"),
}
"""Values of the settings that are names."""
FLAGS = (
    "class_token", "position_every_block", "qkv_fused", "mlp_fused", "mlp_norm", "gate_first",
    "embedder_bias",
)  # fmt: skip
"""Settings that are True or False."""
VARIANTS: dict[str, Any] = {
    "position_input": "xyz",
    "position_every_block": True,
    "norm_epsilon": 1e-5,
    "final_norm": "all",
    "qkv_bias": "none",
    "qkv_fused": True,
    "mlp": "gelu",
    "mlp_fused": True,
    "mlp_norm": False,
    "gate_first": True,
    "embedder_bias": True,
}
"""Settings in which a family may differ from Point-MAE, with Point-MAE's values."""
_OF_BLOCKS = ("norm_epsilon", "qkv_bias", "qkv_fused", "mlp", "mlp_fused", "mlp_norm", "gate_first")


def variants_of(config: Any) -> dict[str, Any]:
    """The values of `VARIANTS` in a configuration of a backbone."""
    return {name: getattr(config, name) for name in VARIANTS}


def check_variants(config: Any) -> None:
    """Checks settings that are neither sizes nor counts.

    Args:
      config: a `BackboneConfig`, or an object with the same fields.

    Raises:
      InputError: a setting has no known value, or two of them contradict each other.
    """
    for name, choices in CHOICES.items():
        value = getattr(config, name)
        if value not in choices:
            raise InputError(
                f"unknown kind of {name} {value!r}: choose one of {', '.join(choices)}."
            )
    for name in FLAGS:
        if not isinstance(getattr(config, name), bool):
            raise InputError(f"{name} is {getattr(config, name)!r}: choose True or False.")
    epsilon = config.norm_epsilon
    if not (isinstance(epsilon, float) and 0 < epsilon < 1):
        raise InputError(f"norm_epsilon is {epsilon!r}: give a number between 0 and 1.")
    if config.block == "recon" and any(getattr(config, n) != VARIANTS[n] for n in _OF_BLOCKS):
        raise InputError(
            f"blocks of kind recon have no variants, but {', '.join(_OF_BLOCKS)} are not all at "
            'their defaults: choose block="point_mae".'
        )
    if config.final_norm == "class" and not config.class_token:
        raise InputError(
            'final_norm="class" normalizes the class token, but the backbone has none: set '
            'class_token=True or final_norm="none".'
        )
    if config.position_input == "sinusoidal" and config.width % 6:
        raise InputError(
            f"a sinusoidal position has one sine and one cosine for each of x, y, z, so a width "
            f"of {config.width} does not fit: choose a multiple of 6."
        )
    if config.mlp == "gelu" and (config.mlp_norm or not config.mlp_fused):
        raise InputError(
            "mlp_norm and mlp_fused=False are variants of a gated MLP, but mlp is gelu: "
            'set mlp="swiglu" or leave them at their defaults.'
        )
    if config.mlp_norm and config.mlp_fused:
        raise InputError("a norm inside a gated MLP needs mlp_fused=False: set it.")
    constants = config.channel_constants
    numbers = all(isinstance(c, (int, float)) and abs(c) < 1e6 for c in constants)
    if not numbers or len(constants) not in (0, config.input_channels - 3):
        raise InputError(
            f"channel_constants {constants} must be one number for each of the "
            f"{config.input_channels - 3} input channels besides x, y, z, or empty."
        )

"""The video models by name: PointATA, and the baseline that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from pointata_jax.errors import InputError
from pointata_jax.models.p4transformer import P4Transformer, P4TransformerConfig
from pointata_jax.models.pointata import PointATA, PointATAConfig

VideoModelConfig = PointATAConfig | P4TransformerConfig

ARCHITECTURES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "pointata": (PointATAConfig, PointATA),
    "p4transformer": (P4TransformerConfig, P4Transformer),
}
"""Configuration and module by name."""


def architecture(config: VideoModelConfig) -> str:
    """The name of the configuration's model."""
    return next(name for name, (kind, _) in ARCHITECTURES.items() if isinstance(config, kind))


def build(config: VideoModelConfig) -> nn.Module:
    """The module; called on clips `[b, t, n, 3+C]`, with `train`, it returns logits."""
    return ARCHITECTURES[architecture(config)][1](config)


def to_dict(config: VideoModelConfig) -> dict[str, Any]:
    """The configuration as JSON-able values, with its name under "architecture"."""
    return {"architecture": architecture(config), **config.to_dict()}


def from_dict(values: Mapping[str, Any]) -> VideoModelConfig:
    """Inverse of `to_dict`; values without a name are those of a `PointATA`."""
    values = dict(values)
    name = values.pop("architecture", "pointata")
    if name not in ARCHITECTURES:
        raise InputError(f"unknown model {name!r}: choose one of {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name][0].from_dict(values)

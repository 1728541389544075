"""How many parameters a model has, and how many of them a tuning trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pointata_jax.models.point_mae import BackboneConfig, random_backbone
from pointata_jax.models.pointata import PointATA, PointATAConfig

PARTS = ("backbone", "embedder", "pva", "sce", "lora", "side", "temporal", "head")
# Parts that train, by tuning. `scratch` trains the same parts as `full`, `adapter` and
# `random_frozen` the same as `pointata`; they differ in the initial parameters.
TRAINED_PARTS: Mapping[str, tuple[str, ...]] = {
    "pointata": PARTS[1:],
    "adapter": PARTS[1:],
    "random_frozen": PARTS[1:],
    "lora": PARTS[1:],
    "full": PARTS,
    "scratch": PARTS,
    "frame": PARTS,
    "side": PARTS[1:],
    "probe": ("head",),
}


def backbone_size(config: BackboneConfig) -> int:
    """Number of parameters of the whole 3D backbone with its patch embedder.

    Shares of trained parameters usually refer to it. A `PointATA` replaces the patch embedder and
    contains the rest.
    """
    variables = jax.eval_shape(lambda: random_backbone(config, 0))
    return _size(variables["params"])


def parameter_counts(model: PointATAConfig | Mapping[str, Any]) -> dict[str, int]:
    """Number of parameters of each of `PARTS`.

    Args:
      model: a configuration (nothing is computed or allocated), or variables `{"params": …}` of a
        `PointATA`, or its parameters, all or some of them.
    """
    if isinstance(model, PointATAConfig):
        frames = (model.num_anchors - 1) * model.anchor_stride + 1
        points = max(model.num_centers, model.neighbors)
        clip = jax.ShapeDtypeStruct((1, frames, points, 3 + model.channels), jnp.float32)
        variables = jax.eval_shape(PointATA(model).init, jax.random.key(0), clip)
    else:
        variables = model
    params = variables.get("params", variables)
    counts: dict[str, int] = dict.fromkeys(PARTS, 0)
    for name, tree in params.items():
        # "pva_3" -> "pva", "sce_gates" -> "sce", "temporal_embedding" -> "temporal".
        counts[name.split("_")[0]] += _size(tree)
    return counts


def summary(config: PointATAConfig) -> str:
    """A table of parameter counts per part and per tuning, as text for a terminal.

    Shares are of the whole 3D backbone, its patch embedder included (`backbone_size`).
    """
    counts = parameter_counts(config)
    whole = backbone_size(config.backbone)

    def row(name: str, count: int) -> str:
        return f"{name:<34}{count:>13,}{100 * count / whole:>12.2f} %"

    lines = [f"{'part':<34}{'parameters':>13}{'of backbone':>14}"]
    lines.append(row("3D backbone, whole", whole))
    labels = {"backbone": "  of it used here", "temporal": "temporal embedding"}
    lines += [row(labels.get(part, part), counts[part]) for part in PARTS if counts[part]]
    lines.append(row("this model", sum(counts.values())))
    own = {"side": config.side_width, "lora": config.lora_rank, "frame": config.frame_wise}
    tunings = [name for name, made_for in own.items() if made_for] or TRAINED_PARTS.keys() - own
    for name in [tuning for tuning in TRAINED_PARTS if tuning in tunings]:
        lines.append(row(f"trained by {name}", sum(counts[part] for part in TRAINED_PARTS[name])))
    return "\n".join(lines)


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))

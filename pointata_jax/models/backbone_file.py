"""Backbones on disk: one `.safetensors` file, its architecture in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from pointata_jax import hub
from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import Backbone, BackboneConfig

FORMAT = "pointata_jax.backbone/1"
SHIPPED = ("tiny",)
ASSETS = Path(__file__).parent.parent / "assets"


def find_backbone(name: str | os.PathLike) -> Path:
    """Path of a backbone file, given a shipped name (`SHIPPED`), a path, or a name on the hub."""
    if hub.is_reference(name):
        return hub.fetch_backbone(str(name))[0]
    return ASSETS / f"backbone_{name}.safetensors" if name in SHIPPED else Path(name)


def find_source_bank(name: str | os.PathLike) -> Path:
    """Path of a source bank, given the name of a shipped backbone (`SHIPPED`) or a path."""
    return ASSETS / f"source_bank_{name}.npz" if name in SHIPPED else Path(name)


def save_backbone(
    path: str | os.PathLike,
    config: BackboneConfig,
    variables: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes `Backbone` variables and their architecture, atomically.

    Args:
      path: the `.safetensors` file to write.
      config: architecture; stored as JSON under the metadata key `config`.
      variables: {"params", "batch_stats"}, as `Backbone(config).init` returns them.
      metadata: further strings to store (source, license, command …).
    """
    from safetensors.numpy import save_file

    flat = traverse_util.flatten_dict({k: variables[k] for k in ("params", "batch_stats")}, sep="/")
    tensors = {name: np.ascontiguousarray(value) for name, value in flat.items()}
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    save_file(
        tensors,
        partial,
        metadata={**(metadata or {}), "format": FORMAT, "config": json.dumps(config.to_dict())},
    )
    os.replace(partial, path)


def load_backbone(
    path: str | os.PathLike,
    *,
    num_heads: int | None = None,
    num_groups: int | None = None,
    group_size: int | None = None,
    key: str | None = None,
    prefix: str | None = None,
) -> tuple[BackboneConfig, dict[str, Any]]:
    """Reads a backbone: (architecture, {"params", "batch_stats"}) with NumPy leaves.

    Args:
      path: a backbone file, an original checkpoint of Point-MAE or a related model
        (`weights_convert`: `.pth`, `.pt`, `.t7`, `.ckpt` or `.safetensors`), the name of a shipped
        backbone (`SHIPPED`), or a name on the hub (`pointata_jax.hub`).
      num_heads: attention heads of an original checkpoint; by default what the file states,
        otherwise heads of 64 channels.
      num_groups: patches that its model cuts a shape into; by default what the file states,
        otherwise the family's usual number.
      group_size: points of a patch; by default as `num_groups`.
      key: entry of an original checkpoint that holds the weights, dotted where nested. Needed where
        it cannot be found or is one of several (`model_ema`).
      prefix: start of the names of the tensors to read; others are left out.

    Raises:
      InputError: the file is missing, damaged or not a backbone, or its tensors do not fit the
        architecture that it states or are not finite.
    """
    path = find_backbone(path)
    if not os.path.lexists(path):
        raise InputError(
            f"backbone file {path} does not exist: give the path of a backbone.safetensors or of a "
            "published checkpoint, or make one with `python -m experiments.pretrain`."
        )
    flat: dict[str, Any]
    found = _read_own_format(path) if path.is_file() else None
    options = {
        "num_heads": num_heads,
        "num_groups": num_groups,
        "group_size": group_size,
        "key": key,
        "prefix": prefix,
    }
    if found is None:
        # Imported here because most runs never need the package.
        from weights_convert.convert import Options, read_backbone

        architecture, tree = read_backbone(path, Options(**options))
        config = BackboneConfig.from_dict(architecture.to_dict())
        flat = traverse_util.flatten_dict(tree, sep="/")
    elif any(value is not None for value in options.values()):
        raise InputError(
            f"{path} states its own architecture, so remove {', '.join(list(options)[:-1])} and "
            "prefix, which are for original checkpoints only."
        )
    else:
        config, flat = found
    # A damaged file may state more blocks than it has tensors. Tracing them could take very long.
    too_deep = config.depth > len(flat)
    shapes = {} if too_deep else jax.tree.map(np.shape, backbone_shapes(config))
    expected = traverse_util.flatten_dict(shapes, sep="/")
    wrong = sorted(
        name
        for name in expected.keys() | flat.keys()
        if name not in flat or name not in expected or flat[name].shape != expected[name]
    )
    if wrong:
        raise InputError(
            f"backbone file {path} does not fit the architecture that it states: {len(wrong)} "
            "tensors are missing, unexpected or of another shape, the first are "
            f"{', '.join(wrong[:6])}; write or convert the file again."
        )
    not_finite = [name for name, value in flat.items() if not np.isfinite(value).all()]
    if not_finite:
        raise InputError(
            f"backbone file {path} has values that are not finite in {len(not_finite)} tensors, "
            f"the first are {', '.join(not_finite[:6])}: its training diverged or it is damaged; "
            "use another file."
        )
    return config, traverse_util.unflatten_dict(flat, sep="/")


def _read_own_format(path: Path) -> tuple[BackboneConfig, dict[str, np.ndarray]] | None:
    """Architecture and tensors of a file that `save_backbone` wrote; None for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                return None
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return BackboneConfig.from_dict(json.loads(metadata["config"])), flat
    except (SafetensorError, OSError):
        return None  # Perhaps a PyTorch file; `weights_convert` raises the error if it is not.
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"backbone file {path} states no usable architecture ({error}): it is damaged, or "
            "written by another version of pointata_jax."
        ) from error


def backbone_shapes(config: BackboneConfig) -> dict[str, Any]:
    """Shapes and types of `Backbone` variables, computed without allocating them."""
    cloud = (1, max(config.num_groups, config.group_size), config.input_channels)
    points = jax.ShapeDtypeStruct(cloud, np.float32)
    return jax.eval_shape(Backbone(config).init, jax.random.key(0), points)

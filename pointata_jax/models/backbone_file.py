"""Backbones on disk: one `.safetensors` file, its architecture in the metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import Backbone, BackboneConfig

FORMAT = "pointata_jax.backbone/1"
SHIPPED = ("tiny",)
ASSETS = Path(__file__).parent.parent / "assets"


def find_backbone(name: str | os.PathLike) -> Path:
    """The file of a shipped backbone by its name (`SHIPPED`); any other value is a path."""
    return ASSETS / f"backbone_{name}.safetensors" if name in SHIPPED else Path(name)


def find_source_bank(name: str | os.PathLike) -> Path:
    """The file of a shipped backbone's source bank; any other value is a path."""
    return ASSETS / f"source_bank_{name}.npz" if name in SHIPPED else Path(name)


def file_sha256(path: str | os.PathLike) -> str:
    """Hash by which a run and a source bank remember the backbone that they belong to."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save_backbone(
    path: str | os.PathLike,
    config: BackboneConfig,
    variables: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes `Backbone` variables ({"params", "batch_stats"}) and their architecture, atomically.

    Args:
      path: the `.safetensors` file to write.
      config: architecture; stored as JSON under the metadata key `config`.
      variables: trees as `Backbone(config).init` makes them.
      metadata: further strings to keep (source, licence, command …).
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


def load_backbone(path: str | os.PathLike) -> tuple[BackboneConfig, dict[str, Any]]:
    """Reads a backbone: (architecture, {"params", "batch_stats"}) with NumPy leaves.

    Args:
      path: a `.safetensors` file, or the name of a shipped backbone (`SHIPPED`).

    Raises:
      InputError: the file is missing, damaged, not a backbone, or its tensors do not fit the
        architecture that it names.
    """
    from safetensors import SafetensorError, safe_open

    path = find_backbone(path)
    if not path.is_file():
        raise InputError(
            f"backbone file {path} does not exist: give the path of a backbone.safetensors, or "
            "make one with `python -m experiments.pretrain`."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"backbone file {path} cannot be read as safetensors ({error}): it is damaged or of "
            "another kind; fetch or convert it again."
        ) from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a backbone file of this library (no '{FORMAT}' in its metadata): "
            "PyTorch checkpoints must be converted first (weights_convert)."
        )
    config = BackboneConfig.from_dict(json.loads(metadata["config"]))
    shapes = jax.tree.map(np.shape, backbone_shapes(config))
    expected = traverse_util.flatten_dict(shapes, sep="/")
    wrong = sorted(
        name
        for name in expected.keys() | flat.keys()
        if name not in flat or name not in expected or flat[name].shape != expected[name]
    )
    if wrong:
        raise InputError(
            f"backbone file {path} does not fit the architecture that it names; missing, "
            f"unexpected or misshapen are {len(wrong)} tensors, first {', '.join(wrong[:6])}."
        )
    return config, traverse_util.unflatten_dict(flat, sep="/")


def backbone_shapes(config: BackboneConfig) -> dict[str, Any]:
    """Shapes and types of `Backbone` variables, computed without allocating them."""
    points = jax.ShapeDtypeStruct((1, config.num_groups * config.group_size, 3), np.float32)
    return jax.eval_shape(Backbone(config).init, jax.random.key(0), points)

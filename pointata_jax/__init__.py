"""PointATA-JAX: point-cloud video understanding by aligning, then adapting a frozen 3D transformer.

The names below are imported on first use. Importing the package is therefore fast, and the models
run where the libraries for data or optimal transport are not installed:

  load_backbone(path)     a pre-trained 3D backbone and its configuration
  PointATA, PointATAConfig    the adapted model, a Flax module, and its settings
  load_run(folder)        a trained run, ready to predict
  open_recording(path)    frames of sensor files or a bag
  PRESETS, BackboneConfig     the named sizes of the backbone
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pointata_jax.errors import InputError

if TYPE_CHECKING:
    from pointata_jax.data.recordings import open_recording
    from pointata_jax.models.backbone_file import load_backbone
    from pointata_jax.models.point_mae import PRESETS, BackboneConfig
    from pointata_jax.models.pointata import PointATA, PointATAConfig
    from pointata_jax.serving.predictor import load_run

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "BackboneConfig",
    "InputError",
    "PointATA",
    "PointATAConfig",
    "load_backbone",
    "load_run",
    "open_recording",
]

_MODULE_OF = {
    "PRESETS": "pointata_jax.models.point_mae",
    "BackboneConfig": "pointata_jax.models.point_mae",
    "PointATA": "pointata_jax.models.pointata",
    "PointATAConfig": "pointata_jax.models.pointata",
    "load_backbone": "pointata_jax.models.backbone_file",
    "load_run": "pointata_jax.serving.predictor",
    "open_recording": "pointata_jax.data.recordings",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_MODULE_OF))

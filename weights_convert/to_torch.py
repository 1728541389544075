"""Converts a backbone of this library to the names and shapes that its family's code reads.

The file has the standard names of `trunk`, which are those of a fine-tuned Point-MAE without its
head. If the backbone has `reduce_dim`, further tokens or a second stream, these have the names of
Point-BERT and ReCon. Therefore

    model.load_state_dict(safetensors.torch.load_file("backbone_torch.safetensors"), strict=False)

fills the encoder of the official `PointTransformer`. BatchNorm's counters, which PyTorch requires,
are written as 0. The number of heads and the number and size of patches are in the metadata,
because PyTorch code keeps them in configurations. Reading the file restores the backbone bit by
bit.

A backbone with the transformer of Point-JEPA or Uni3D has the names of that family, because
Point-MAE's code would run it without an error and compute something else. One with the position of
PCP-MAE has the standard names, which are also those of PCP-MAE.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pointata_jax.errors import InputError
from weights_convert import pcp_mae, point_jepa, point_mae, uni3d
from weights_convert.safetensors_file import Planned
from weights_convert.trunk import Architecture, Entry, entries
from weights_convert.variants import VARIANTS, variants_of

_FINE_TUNED = (
    point_mae.FORMATS[-1],
    pcp_mae.FORMATS[-1],
    point_jepa.FORMATS[-1],
    uni3d.FORMATS[-1],
)
_PRE_TRAINED = (
    point_mae.FORMATS[-1],
    pcp_mae.FORMATS[-1],
    point_jepa.FORMATS[0],
    uni3d.FORMATS[-1],
)


def torch_names(architecture: Architecture) -> dict[Entry, str]:
    """The name of every tensor of a backbone in a file for PyTorch.

    Raises:
      InputError: no published code runs a backbone of this architecture.
    """
    found = entries(architecture)
    shapes = {entry.name: entry.shape for entry in found}
    variants = variants_of(architecture)
    for fmt in _FINE_TUNED if architecture.class_token else _PRE_TRAINED:
        names = {entry: name for entry in found if (name := fmt.torch_name(entry.name)) is not None}
        of_family = {k: v for k, v in fmt.variants(shapes).items() if k in VARIANTS}
        if VARIANTS | of_family == variants and len(names) == len(found):
            return names
    differing = ", ".join(f"{k}={v}" for k, v in variants.items() if v != VARIANTS[k])
    raise InputError(
        f"no published PyTorch code runs a backbone with {differing}: use the backbone file itself."
    )


def plan(architecture: Architecture, value: Callable[[Entry], np.ndarray]) -> list[Planned]:
    """The tensors of the PyTorch file.

    Args:
      architecture: architecture of the backbone.
      value: function from an entry to its tensor in the layout of this library, float32; it is
        called when the tensor is written.
    """
    planned: list[Planned] = []
    names = torch_names(architecture)
    # Point-JEPA's code has tokens without leading axes.
    flat_tokens = "cls_token" in names.values() and architecture.qkv_bias == "all"
    for entry, name in names.items():
        shape = entry.shape[-1:] if flat_tokens and name.startswith("cls_") else entry.shape
        planned.append(
            Planned(
                name,
                shape,
                np.dtype(np.float32),
                lambda entry=entry, shape=shape: entry.to_torch(value(entry)).reshape(shape),
            )
        )
        if name.endswith(".running_var"):
            counter = f"{name.removesuffix('running_var')}num_batches_tracked"
            planned.append(Planned(counter, (), np.dtype(np.int64), lambda: np.zeros((), np.int64)))
    return planned

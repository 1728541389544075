"""Converts a backbone of this library to the names and shapes that Point-MAE's code reads.

The file has the standard names of `trunk`, which are those of a fine-tuned Point-MAE without its
head. If the backbone has `reduce_dim`, further tokens or a second stream, these have the names of
Point-BERT and ReCon. Therefore

    model.load_state_dict(safetensors.torch.load_file("backbone_torch.safetensors"), strict=False)

fills the encoder of the official `PointTransformer`. BatchNorm's counters, which PyTorch requires,
are written as 0. The number of heads and the number and size of patches are in the metadata,
because PyTorch code keeps them in configurations. Reading the file restores the backbone bit by
bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from weights_convert.safetensors_file import Planned
from weights_convert.trunk import Architecture, Entry, entries


def plan(architecture: Architecture, value: Callable[[Entry], np.ndarray]) -> list[Planned]:
    """The tensors of the PyTorch file.

    Args:
      architecture: architecture of the backbone.
      value: function from an entry to its tensor in the layout of this library, float32; it is
        called when the tensor is written.
    """
    planned: list[Planned] = []
    for entry in entries(architecture):
        planned.append(
            Planned(
                entry.name,
                entry.shape,
                np.dtype(np.float32),
                lambda entry=entry: entry.to_torch(value(entry)),
            )
        )
        if entry.name.endswith(".running_var"):
            counter = f"{entry.name.removesuffix('running_var')}num_batches_tracked"
            planned.append(Planned(counter, (), np.dtype(np.int64), lambda: np.zeros((), np.int64)))
    return planned

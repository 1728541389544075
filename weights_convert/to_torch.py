"""The way back: one of our backbones under the names and shapes that Point-MAE's code reads.

The file has the standard names of `trunk`, those of a fine-tuned Point-MAE without its head (with
`reduce_dim`, further tokens or a second stream where the backbone has them, under the names of
Point-BERT and ReCon), so

    model.load_state_dict(safetensors.torch.load_file("backbone_torch.safetensors"), strict=False)

fills the encoder of the official `PointTransformer`. BatchNorm's counters are written as 0, because
PyTorch asks for them. Heads, number and size of patches, which PyTorch keeps in configurations,
stand in the metadata, and reading the file back gives the backbone bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from weights_convert.safetensors_file import Planned
from weights_convert.trunk import Architecture, Entry, entries


def plan(architecture: Architecture, value: Callable[[Entry], np.ndarray]) -> list[Planned]:
    """The tensors of the PyTorch file.

    Args:
      architecture: of the backbone.
      value: gives an entry's tensor in our layout, float32, when it is written.
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

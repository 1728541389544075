"""Synthia 4D: half scenes of 3 frames x 16,384 points with colors, 12 classes.

The protocol is that of MeteorNet and P4Transformer without four defects of P4Transformer's code:

- its flip reflects one point of each frame instead of mirroring the clip;
- its rotation is by 1 to 2π radians instead of 0 to 2π;
- the loss of one half of a scene uses the mask of the other half;
- each half of a batch gets an optimizer step of its own.

`PUBLISHED` repeats the first two. The others cannot occur here, since halves are separate clips.
"""

import dataclasses
import math

from pointata_jax.data.clips import ClipConfig
from pointata_jax.datasets.synthia.frames import class_weights
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="synthia",
    dataset="synthia",
    kind="point",
    clip=ClipConfig(
        frames=3,
        stride=3,
        eval_stride=3,
        points=16384,
        channels=("red", "green", "blue"),
        scale_min=0.8,
        scale_max=1.2,
        yaw_max=180.0,
        mirror_axis="x",
    ),
    model=ModelSettings(
        anchor_stride=1, num_centers=512, neighbors=8, radius=0.05, head_hidden=128
    ),
    align=AlignSettings(steps=100, batch_size=8, units=128, report_clips=32),
    adapt=AdaptSettings(
        steps=20000, batch_size=8, eval_every=2000, class_weights=tuple(class_weights().tolist())
    ),
    score="mean_iou_published",
    validation_split="validation",
)

PUBLISHED = dataclasses.replace(
    CONFIG,
    clip=dataclasses.replace(
        CONFIG.clip,
        scale_axes="all",
        mirror_axis="first point",
        yaw_min=math.degrees(1.0),
        yaw_max=360.0,
    ),
    validation_split="",
)

"""SHREC'17 hand gestures: 32 frames x 128 points; `--variant=labels14` or `labels28`.

`PUBLISHED` has the augmentation of PointLSTM's loader: one factor for all axes, a small rotation
(deviation 0.06 radians, at most 0.18), up to a fifth of the points replaced.
"""

import dataclasses
import math

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="shrec17",
    dataset="shrec17",
    variant="labels28",
    clip=ClipConfig(
        frames=32,
        stride=32,
        eval_stride=32,
        points=128,
        short_clip_policy="repeat",
        scale_min=0.9,
        scale_max=1.1,
    ),
    model=ModelSettings(anchor_stride=2, num_centers=16, neighbors=8, radius=0.2),
    align=AlignSettings(steps=100, batch_size=32),
    adapt=AdaptSettings(steps=24500, batch_size=8, eval_every=2450),
)

PUBLISHED = dataclasses.replace(
    CONFIG,
    clip=dataclasses.replace(
        CONFIG.clip, scale_axes="all", rotation_std=math.degrees(0.06), point_dropout=0.2
    ),
)

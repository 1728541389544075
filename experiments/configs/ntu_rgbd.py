"""NTU RGB+D: 24 frames x 2,048 points of depth maps; `--variant` names set and split.

The published loader centers a clip at the mean of its points (`PUBLISHED`). Ours uses the median,
which depends less on stray points.
"""

import dataclasses

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="ntu_rgbd",
    dataset="ntu_rgbd",
    variant="ntu60_cross_subject",
    clip=ClipConfig(
        frames=24,
        points=2048,
        eval_stride=1,
        short_clip_policy="repeat",
        scale_min=0.9,
        scale_max=1.1,
    ),
    model=ModelSettings(anchor_stride=2, num_centers=64, neighbors=6, radius=0.1),
    embedder_init="backbone",
    align=AlignSettings(steps=100, batch_size=32),
    adapt=AdaptSettings(steps=33000, batch_size=24, eval_every=3300),
)

PUBLISHED = dataclasses.replace(CONFIG, clip=dataclasses.replace(CONFIG.clip, center="mean"))

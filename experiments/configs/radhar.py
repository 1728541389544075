"""RadHAR (mmWave radar, 5 activities): 2-second windows of the authors' split, five columns.

Radar frames hold some 21 points, so five neighboring ones make a frame of the clip.
"""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="radhar",
    dataset="radhar",
    clip=ClipConfig(
        frames=12,
        frame_merge=5,
        stride=10,
        eval_stride=60,
        last_window="drop",  # the authors' windows do not overlap
        points=128,
        channels=("velocity", "intensity"),
        scale="p95",
        up_axis="z",
    ),
    model=ModelSettings(anchor_stride=2, num_centers=12, neighbors=8, radius=0.3),
    align=AlignSettings(steps=100, batch_size=40),
    adapt=AdaptSettings(steps=2000, batch_size=8),
    score="window_accuracy",
)

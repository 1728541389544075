"""Your own npz videos with a label per frame (layout: `datasets.point_videos.layout`)."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="point_videos_frames",
    dataset="point_videos",
    kind="frame",
    clip=ClipConfig(
        frames=150, stride=25, eval_stride=75, points=256, short_clip_policy="repeat", scale="p95"
    ),
    model=ModelSettings(
        anchor_stride=3, num_centers=16, neighbors=8, radius=0.25, pva_dilations=(1, 2, 4, 8)
    ),
    align=AlignSettings(steps=100, batch_size=8, report_clips=32),
    adapt=AdaptSettings(steps=1000, batch_size=8),
    score="f1@50",
    validation_split="validation",
)

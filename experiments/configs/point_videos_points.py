"""Your own npz videos with a label per point (layout: `datasets.point_videos.layout`)."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="point_videos_points",
    dataset="point_videos",
    kind="point",
    clip=ClipConfig(
        frames=3, stride=3, eval_stride=3, points=2048, short_clip_policy="repeat", scale="p95"
    ),
    model=ModelSettings(anchor_stride=1, num_centers=128, neighbors=8, radius=0.1, head_hidden=128),
    align=AlignSettings(steps=100, batch_size=8, report_clips=32),
    adapt=AdaptSettings(steps=2000, batch_size=8),
    score="mean_iou",
    validation_split="validation",
)

"""Your own npz videos with a label per clip (layout: `datasets.point_videos.layout`)."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="point_videos_clips",
    dataset="point_videos",
    kind="clip",
    clip=ClipConfig(
        frames=24, stride=4, eval_stride=12, points=512, short_clip_policy="repeat", scale="p95"
    ),
    model=ModelSettings(anchor_stride=2, num_centers=32, neighbors=6, radius=0.2),
    embedder_init="backbone",
    align=AlignSettings(steps=100, batch_size=32),
    adapt=AdaptSettings(steps=2000, batch_size=8),
    validation_split="validation",
)

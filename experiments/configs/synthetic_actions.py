"""Embedded default: procedural figures seen by one depth camera; for trying and testing."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="synthetic_actions",
    dataset="synthetic_actions",
    clip=ClipConfig(frames=24, stride=24, eval_stride=24, points=256, short_clip_policy="repeat"),
    model=ModelSettings(anchor_stride=2, num_centers=12, neighbors=8, radius=0.25),
    align=AlignSettings(steps=40, batch_size=32, report_clips=64),
    adapt=AdaptSettings(steps=240, batch_size=16, eval_every=80),
    validation_subjects=("10", "11"),
    needs_data_dir=False,
)

"""Embedded takes of several motions with a label per frame; for trying and testing."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="synthetic_timelines",
    dataset="synthetic_timelines",
    kind="frame",
    clip=ClipConfig(frames=150, stride=150, eval_stride=150, points=128),
    model=ModelSettings(
        anchor_stride=3, num_centers=12, neighbors=8, radius=0.25, pva_dilations=(1, 2, 4, 8)
    ),
    align=AlignSettings(steps=40, batch_size=8, units=64, report_clips=32),
    adapt=AdaptSettings(steps=480, batch_size=8, eval_every=160),
    score="f1@50",
    validation_subjects=("10", "11"),
    needs_data_dir=False,
)

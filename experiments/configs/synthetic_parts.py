"""Embedded rooms with a figure, a label per point; for trying and testing."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.training.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="synthetic_parts",
    dataset="synthetic_parts",
    kind="point",
    clip=ClipConfig(frames=3, hop=3, eval_hop=3, points=1024, yaw=15.0),
    model=ModelSettings(anchor_stride=1, num_centres=64, neighbors=8, radius=0.15, head_hidden=128),
    align=AlignSettings(steps=40, batch_size=8, units=64, report_clips=32),
    adapt=AdaptSettings(steps=600, batch_size=8, eval_every=200),
    score="mean_iou",
    validation_subjects=("10", "11"),
    needs_data_dir=False,
)

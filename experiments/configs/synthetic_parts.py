"""Embedded rooms with a figure, a label per point; for trying and testing."""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="synthetic_parts",
    dataset="synthetic_parts",
    kind="point",
    clip=ClipConfig(frames=3, stride=3, eval_stride=3, points=1024, yaw_max=15.0),
    model=ModelSettings(anchor_stride=1, num_centers=96, neighbors=8, radius=0.12, head_hidden=128),
    align=AlignSettings(steps=40, batch_size=8, units=64, report_clips=32),
    # Upper arms have one per cent of the points and the torso eight times as many. Without weights
    # the class is never predicted.
    adapt=AdaptSettings(
        steps=700,
        batch_size=8,
        eval_every=350,
        class_weights=(2.0, 1.0, 4.0, 3.0, 1.5, 1.5, 1.0, 1.0),
    ),
    score="mean_iou",
    validation_subjects=("10", "11"),
    needs_data_dir=False,
)

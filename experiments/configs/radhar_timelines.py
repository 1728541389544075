"""RadHAR recordings joined end to end: real radar points and labels, joins made by us.

A subject is a group of recordings that no other group shares, so validation holds out a subject.
"""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="radhar_timelines",
    dataset="radhar_timelines",
    kind="frame",
    clip=ClipConfig(
        frames=150,
        stride=150,
        eval_stride=150,
        points=128,
        channels=("velocity", "intensity"),
        scale="p95",
        up_axis="z",
    ),
    model=ModelSettings(
        anchor_stride=3, num_centers=12, neighbors=8, radius=0.3, pva_dilations=(1, 2, 4, 8)
    ),
    align=AlignSettings(steps=40, batch_size=8, units=64, report_clips=32),
    adapt=AdaptSettings(steps=600, batch_size=8, eval_every=200),
    score="f1@50",
    validation_subjects=("4",),
)

"""MSR-Action3D from its depth maps or their points: the published 24-frame protocol, 20 actions.

Every window of 24 frames is a clip of 2,048 points a frame. Shorter videos are left out (287 of 297
test videos remain). Training scales by 0.9 to 1.1. Subjects 1-5 train; the accuracy is that of the
averaged softmax of a video's windows. Two things differ from the published code on purpose: a clip
is centered and scaled to the unit sphere, as the frozen position MLP needs, and the points sampled
at test time depend on the video and the window only.
"""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="msr_action3d",
    dataset="msr_action3d",
    variant="depth",
    clip=ClipConfig(
        frames=24,
        stride=1,
        eval_stride=1,
        points=2048,
        short_clip_policy="drop",
        scale_min=0.9,
        scale_max=1.1,
    ),
    model=ModelSettings(anchor_stride=2, num_centers=64, neighbors=6, radius=0.15),
    embedder_init="backbone",
    align=AlignSettings(steps=100, batch_size=40),
    adapt=AdaptSettings(steps=6000, batch_size=16, eval_every=1000),
    validation_subjects=("5",),
)

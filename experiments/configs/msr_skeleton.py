"""MSR-Action3D, real skeletons dressed with capsules and seen from one side: 20 actions.

Motion, subjects and split are real, the body surface is ours: never compare with results on the
depth maps. 24 frames, subjects 1-5 train, 6-10 test, video accuracy over all windows.
"""

from pointata_jax.data.clips import ClipConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

CONFIG = TaskConfig(
    task="msr_skeleton",
    dataset="msr_action3d",
    variant="skeleton",
    clip=ClipConfig(
        frames=24,
        stride=1,
        eval_stride=1,
        points=512,
        short_clip_policy="repeat",
        yaw_max=15.0,
        scale_min=0.9,
        scale_max=1.1,
    ),
    # As in pre-training: 32 patches of 16 points, here 6 from each of three frames.
    model=ModelSettings(anchor_stride=2, num_centers=32, neighbors=6, radius=0.2),
    embedder_init="backbone",
    align=AlignSettings(steps=60, batch_size=40),
    adapt=AdaptSettings(
        steps=1750,
        batch_size=8,
        adapter_lr_multiplier=3.0,
        # 1e-3 was better than 3e-4 for pointata on subject 5 after 500 steps.
        learning_rates={**AdaptSettings().learning_rates, "scratch": 3e-4},
    ),
    validation_subjects=("5",),
)

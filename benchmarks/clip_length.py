"""How the cost of a training step grows with the length of the clip.

python -m benchmarks.clip_length [--preset=small]

Trains the same model, with a label per frame and tuning pointata, on one clip of 24 and on one of
150 frames of 2,048 points. Prints seconds per step, their ratio (that of the frames is 6.25), and
the largest resident memory of the process after each.
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time

import jax
import numpy as np

from experiments import command_line
from pointata_jax.models.point_mae import PRESETS
from pointata_jax.models.pointata import PointATA, PointATAConfig
from pointata_jax.tasks.losses import make_loss
from pointata_jax.training.optimizer import OptimizerConfig, make_optimizer
from pointata_jax.training.partition import assign_groups, split, trainable_groups, tuning_rules
from pointata_jax.training.step import create_train_state, make_train_step


@dataclasses.dataclass(frozen=True)
class Args:
    """Cost of a step by the length of the clip."""

    preset: str = "small"  # backbone size
    points: int = 2048  # points of a frame
    num_centers: int = 64  # tokens of an anchor frame
    anchor_stride: int = 2  # frames between anchors
    remat: bool = False  # recompute blocks in the backward pass
    repeats: int = 3  # timed steps


def main(args: Args) -> None:
    """Measures both lengths and prints the ratio."""
    print(f"device: {jax.devices()[0].device_kind}, {args}")
    seconds = {}
    for frames in (24, 150):
        config = PointATAConfig(
            backbone=PRESETS[args.preset],
            kind="frame",
            num_anchors=-(-frames // args.anchor_stride),
            anchor_stride=args.anchor_stride,
            num_centers=args.num_centers,
            pva_dilations=(1, 2, 4, 8),
            remat=args.remat,
        )
        model = PointATA(config)
        rng = np.random.default_rng(0)
        clip = rng.normal(size=(1, frames, args.points, 3)).astype(np.float32) / 4
        batch = {"points": clip, "label": np.arange(frames)[None] % config.num_classes}
        variables = jax.jit(model.init)(jax.random.key(0), clip)
        groups = assign_groups(variables["params"], tuning_rules("pointata"))
        trainable, frozen = split(variables["params"], groups)
        optimizer = make_optimizer(OptimizerConfig(), trainable_groups(groups))
        step = make_train_step(make_loss(model), optimizer)
        state = create_train_state(trainable, {"batch_stats": variables["batch_stats"]}, optimizer)
        times = []
        for _ in range(args.repeats + 1):
            start = time.perf_counter()
            state, _ = step(state, frozen, batch, jax.random.key(1))
            jax.block_until_ready(state)
            times.append(time.perf_counter() - start)
        seconds[frames] = statistics.median(times[1:])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{frames:4} frames  {seconds[frames]:8.2f} s/step  peak so far {peak:.2f} GB")
    print(f"ratio {seconds[150] / seconds[24]:.2f}")


if __name__ == "__main__":
    command_line.run(main, Args)

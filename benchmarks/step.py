"""Cost of a training step of several tunings and of the baseline, measured in turns in one run.

python -m benchmarks.step [--preset=small]
python -m benchmarks.step --kind=point --frames=3 --points=16384 --num_centers=512 --anchor_stride=1
python -m benchmarks.step --tunings=pointata,full,p4transformer

All devices share the batch; XLA_FLAGS=--xla_force_host_platform_device_count=2 makes two of a CPU.
Prints the median time of a step, the bytes of the optimizer's state, XLA's own count of temporary
memory, and the ratios to `full`.
"""

from __future__ import annotations

import dataclasses
import statistics
import time

import jax
import numpy as np

from experiments import command_line
from pointata_jax.errors import InputError
from pointata_jax.models import architectures
from pointata_jax.models.p4transformer import P4TransformerConfig
from pointata_jax.models.point_mae import PRESETS
from pointata_jax.models.pointata import KINDS, PointATAConfig
from pointata_jax.stages.config import TUNING_CHANGES, BaselineSettings
from pointata_jax.tasks.losses import make_loss
from pointata_jax.training import sharding
from pointata_jax.training.optimizer import OptimizerConfig, make_optimizer
from pointata_jax.training.partition import (
    P4TRANSFORMER,
    assign_groups,
    count_parameters,
    split,
    trainable_groups,
    tuning_rules,
)
from pointata_jax.training.step import create_train_state, make_train_step


@dataclasses.dataclass(frozen=True)
class Args:
    """Time of a training step, adapters against everything."""

    preset: str = "small"  # backbone size
    kind: str = "clip"  # what has a label: clip, frame or point
    batch_size: int = 1  # clips
    frames: int = 24  # frames of a clip
    points: int = 1024  # points of a frame
    num_centers: int = 64  # tokens of an anchor frame
    anchor_stride: int = 2  # frames per anchor frame
    tunings: str = "pointata,side,full"  # with commas; p4transformer for the baseline
    repeats: int = 12  # timed steps of each tuning


def main(args: Args) -> None:
    """Measures the tunings and prints a table."""
    mesh = sharding.make_mesh()
    sharding.check_batch_size(args.batch_size, mesh)
    whole = PointATAConfig(
        backbone=PRESETS[args.preset],
        kind=args.kind,
        num_anchors=-(-args.frames // args.anchor_stride),
        anchor_stride=args.anchor_stride,
        num_centers=args.num_centers,
    )
    baseline = P4TransformerConfig(
        kind=args.kind,
        num_centers=args.num_centers,
        radius=whole.radius,
        anchor_stride=args.anchor_stride,
        **dataclasses.asdict(BaselineSettings()),
    )
    rng = np.random.default_rng(0)
    shape = (args.batch_size, args.frames, args.points)
    points = rng.normal(size=(*shape, 3)).astype(np.float32) / 4
    labels = rng.integers(0, whole.num_classes, shape[: 1 + KINDS.index(args.kind)])
    batch = {"points": points, "label": labels.astype(np.int32)}
    batch, key = sharding.shard_batch(batch, mesh), sharding.replicate(jax.random.key(1), mesh)
    runs = {}
    tunings = args.tunings.split(",")
    if "full" not in tunings:
        raise InputError(f"--tunings={args.tunings}: full must be among them, to compare with.")
    for tuning in tunings:
        config: architectures.VideoModelConfig = baseline
        if tuning != P4TRANSFORMER:
            config = dataclasses.replace(whole, **TUNING_CHANGES.get(tuning, {}))
        model = architectures.build(config)
        variables = jax.jit(model.init)(jax.random.key(0), points)
        groups = assign_groups(variables["params"], tuning_rules(tuning))
        trainable, frozen = split(variables["params"], groups)
        optimizer = make_optimizer(OptimizerConfig(), trainable_groups(groups))
        model_state = {name: tree for name, tree in variables.items() if name != "params"}
        frozen = sharding.replicate(frozen, mesh)
        step = make_train_step(make_loss(model), optimizer, mesh=mesh)
        state = create_train_state(trainable, model_state, optimizer, mesh=mesh)
        state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state.opt_state))
        memory = step.lower(state, frozen, batch, key).compile().memory_analysis()  # type: ignore[attr-defined]
        state, _ = step(state, frozen, batch, key)
        runs[tuning] = {
            "step": step,
            "state": jax.block_until_ready(state),
            "frozen": frozen,
            "times": [],
            "state_bytes": state_bytes,
            "temporary_bytes": memory.temp_size_in_bytes,
            "trainable": count_parameters(trainable),
        }
    # In turns of five steps. The first is not timed: caches and pages are the other tuning's.
    for _ in range(-(-args.repeats // 4)):
        for run in runs.values():
            for number in range(5):
                start = time.perf_counter()
                run["state"], _ = run["step"](run["state"], run["frozen"], batch, key)
                jax.block_until_ready(run["state"])
                if number:
                    run["times"].append(time.perf_counter() - start)
    print(f"devices: {mesh.size} x {jax.devices()[0].device_kind}, {args}")
    print(
        f"{'tuning':15}{'trainable':>12}{'s/step':>10}{'optimizer MB':>15}{'temporary MB':>15}"
        f"{'of full:':>10}{'time':>7}{'optimizer':>11}{'memory':>8}"
    )
    rows = {
        name: (statistics.median(run["times"]), run["state_bytes"], run["temporary_bytes"])
        for name, run in runs.items()
    }
    for name, (seconds, state_bytes, temporary) in rows.items():
        ratios = [a / b for a, b in zip(rows[name], rows["full"], strict=True)]
        print(
            f"{name:15}{runs[name]['trainable']:>12,}{seconds:>10.3f}{state_bytes / 1e6:>15.2f}"
            f"{temporary / 1e6:>15.1f}{'':10}{ratios[0]:>7.2f}{ratios[1]:>11.3f}{ratios[2]:>8.2f}"
        )


if __name__ == "__main__":
    command_line.run(main, Args)

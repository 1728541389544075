"""Stage 1: aligns the P4D embedder of a task with the source bank of a 3D backbone.

python -m experiments.align                                   # the embedded task
python -m experiments.align --task=radhar --data_dir=DIR      # real data

Writes `<workdir>/align/`: config, log, checkpoints, the embedder, and `result.json` with the
held-out figures before and after.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args(command_line.TaskFlags):
    """Stage 1: align the video embedder with the 3D source bank."""

    workdir: str | None = None  # run folder; default: runs/<task>[-<own data>]
    backbone: str = "tiny"  # shipped backbone by name, or a backbone.safetensors
    source_bank: str = ""  # default: the bank of the backbone
    objective: str | None = None  # otdd, sinkhorn, mmd, l2, classwise, moments, none
    pseudo_classes: int | None = None  # so many k-means clusters of the videos instead of labels
    steps: int | None = None  # upper bound of steps; default: the task's
    batch_size: int | None = None  # clips per step; default: the task's
    learning_rate: float | None = None  # default: the task's
    resume: bool = False  # continue the run in workdir
    distributed: bool = False  # join a multi-host run (jax.distributed)


def main(args: Args) -> None:
    """Runs stage 1 and prints the held-out figures."""
    from experiments import runs
    from pointata_jax.stages.task_data import DataPlace, load_training, look_ahead
    from pointata_jax.training.run_folder import readable

    runs.start_devices(args.distributed)
    config = runs.task_config(args, stage="align")
    backbone = runs.open_backbone(args.backbone)
    bank = runs.open_source_bank(args.source_bank, backbone)
    data = load_training(config, DataPlace(args.data_dir, args.cache_dir, args.download))
    runs.say(*look_ahead(config, data))
    result = runs.run_alignment(
        config,
        data,
        backbone,
        bank,
        args.workdir or runs.default_workdir(config, args.data_dir),
        seed=args.seed,
        resume=args.resume,
    )
    shown = {k: v for k, v in result.items() if k != "history"}
    print(readable(shown))


if __name__ == "__main__":
    command_line.run(main, Args)

"""Stage 2: trains embedder, adapters and head of a task around the frozen 3D backbone.

python -m experiments.adapt                                           # the embedded task
python -m experiments.adapt --task=radhar --data_dir=DIR              # after experiments.align
python -m experiments.adapt --task=radhar --data_dir=DIR --tuning=full

`--tuning=pointata` and `side` start from stage 1 in the same run folder, and run it first where it
is missing. Writes `<workdir>/`: config, log, checkpoints, `adapter.safetensors`, `result.json`.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args(command_line.TaskFlags):
    """Stage 2: adapt the frozen 3D backbone to a task."""

    model: str = "pointata"  # or p4transformer, a published baseline that trains from scratch
    # pointata; adapter (no stage 1), random_frozen, lora, side (a ladder beside the backbone),
    # probe (head alone), full, scratch, frame (full, every frame alone)
    tuning: str = "pointata"
    workdir: str | None = None  # run folder; default: runs/<task>[-<own data>][-<tuning>]
    backbone: str = "tiny"  # shipped backbone by name, or a backbone.safetensors
    source_bank: str = ""  # for stage 1; default: the bank of the backbone
    steps: int | None = None  # default: the task's
    batch_size: int | None = None  # default: the task's
    learning_rate: float | None = None  # default: the task's for this tuning
    eval_every: int | None = None  # steps between validations; default: the task's
    class_weights: str = ""  # balanced: by the inverse frequency in training; default: the task's
    validation: bool = True  # hold videos out of training; off: train on all, keep the last step
    cache_features: bool = False  # with --tuning=side: compute the frozen tokens once
    test: bool = True  # read the test split at the end; off while choosing settings
    report: bool = True  # write report.html, a page about the run
    tensorboard: bool = False  # also log to <workdir>/tensorboard
    wandb: bool = False  # also log to Weights & Biases
    measure_memory: bool = False  # note the temporary memory of a step; compiles it twice
    resume: bool = False  # continue the run in workdir
    distributed: bool = False  # join a multi-host run (jax.distributed)


def main(args: Args) -> None:
    """Runs stage 2 (and stage 1 where it is missing) and prints the result."""
    from experiments import report, runs
    from experiments.outcome import outcome
    from pointata_jax.errors import InputError
    from pointata_jax.models import architectures
    from pointata_jax.models.point_mae import random_backbone
    from pointata_jax.progress import is_first_process
    from pointata_jax.stages.adapt import Start, adapt
    from pointata_jax.stages.config import WITH_STAGE_1
    from pointata_jax.stages.task_data import (
        DataPlace,
        deciding_score,
        load_split,
        load_training,
        look_ahead,
        splits,
    )
    from pointata_jax.training import sharding, trackers
    from pointata_jax.training.partition import P4TRANSFORMER, tuning_rules
    from pointata_jax.training.run_folder import RunFolder, load_adapter

    if args.model not in architectures.ARCHITECTURES:
        known = ", ".join(architectures.ARCHITECTURES)
        raise InputError(f"unknown --model={args.model}: choose one of {known}.")
    baseline = args.model == P4TRANSFORMER
    if baseline and args.tuning not in ("pointata", "scratch"):
        raise InputError(f"--model={args.model} trains from scratch: leave out --tuning.")
    tuning = P4TRANSFORMER if baseline else args.tuning
    tuning_rules(tuning)
    config = runs.task_config(args, stage="adapt", tuning=tuning)
    if args.cache_features and not config.adapt.cached_uses:
        config = dataclasses.replace(config, adapt=dataclasses.replace(config.adapt, cached_uses=8))
    if args.learning_rate is not None and not args.learning_rate > 0:
        raise InputError(f"--learning_rate={args.learning_rate}: give a positive number.")
    runs.start_devices(args.distributed)
    sharding.check_batch_size(config.adapt.batch_size, sharding.make_mesh())
    backbone = runs.open_backbone(args.backbone)
    place = DataPlace(args.data_dir, args.cache_dir, args.download)
    workdir = args.workdir or runs.default_workdir(config, args.data_dir, tuning)
    data = load_training(config, place, hold_out=args.validation)
    test = None
    if args.test and "test" in splits(config, place):
        test = load_split(config, place, "test")
    elif args.test:
        runs.say(f"{args.data_dir or args.task} has no test split: there will be no test score.")
    score, why = deciding_score(config, data)
    runs.say(*look_ahead(config, data, test), *([why] if why else []))
    model: architectures.VideoModelConfig
    if baseline:
        model = config.baseline_config(data.train.num_classes)
    else:
        model = config.model_config(backbone.config, data.train.num_classes)
    run = RunFolder.create(
        workdir,
        task=config.task,
        settings={
            "task": dataclasses.replace(config, clip=data.clip).to_dict(),
            "model": architectures.to_dict(model),
            "tuning": tuning,
            "backbone": backbone.reference,
            "learning_rate": args.learning_rate,
            "validation": args.validation,
            "seed": args.seed,
            "class_names": data.train.label_names,
            "columns": data.train.columns,
        },
        resume=args.resume,
        videos=data.digests | ({"test": test.digests} if test is not None else {}),
    )
    if is_first_process():
        if args.tensorboard:
            last = max((row.get("step", 0) for row in run.read_log()), default=0)
            run.trackers.append(trackers.tensorboard(run.path / "tensorboard", last))
        if args.wandb:
            run.trackers.append(trackers.wandb(run.path, run.settings))
    embedder = None
    if tuning in WITH_STAGE_1:
        # Stage 1 always needs held-out videos to stop by, also with --novalidation.
        aligned = data if args.validation else load_training(config, place)
        embedder = load_adapter(
            runs.aligned_embedder(config, aligned, backbone, args.source_bank, workdir, args.seed)
        )[0]["embedder"]
    variables = backbone.variables
    if tuning == "random_frozen":
        variables = random_backbone(backbone.config, args.seed)
    result = adapt(
        model,
        config.adapt,
        Start(tuning, variables, embedder, config.embedder_init),
        data,
        run,
        score=score,
        test=test,
        learning_rate=args.learning_rate,
        seed=args.seed,
        resume=args.resume,
        measure_memory=args.measure_memory,
    )
    page = None
    if args.report:
        try:
            page = report.write(run, test, place)
        except InputError as error:  # What was trained and measured is there without it.
            runs.say(f"no report: {error}")
    print("\n".join(outcome(result, run.path, page)))


if __name__ == "__main__":
    command_line.run(main, Args)

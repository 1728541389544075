"""Trains all five folds of mocap6 (leave one trial out), and majority and linear baselines.

python -m experiments.mocap6_folds --data_dir=DIR

Trains `--task=mocap6` once per fold without validation, in `<workdir>/<trial>`, and writes
`<workdir>/result.json`: the frame accuracy of each fold and their mean. Frames count if their class
occurs in the training trials of the fold; the other classes are listed. A fold that is finished is
not trained again.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments import adapt, command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Leave one trial of mocap6 out, five times, and compare with linear baselines."""

    data_dir: str | None = None  # folder with mocap6.npz
    cache_dir: str | None = None  # prepared records; default: the user's cache folder
    workdir: str = "runs/mocap6_folds"  # one run folder per fold in here
    tuning: str = "pointata"  # as in experiments.adapt
    backbone: str = "tiny"  # shipped backbone by name, or a backbone.safetensors
    steps: int | None = None  # default: the task's
    seed: int = 0  # of every fold


def check_finished(folder: Path, args: adapt.Args) -> None:
    """InputError unless a finished fold was trained as `experiments.adapt` would with `args`."""
    from experiments import runs
    from pointata_jax.errors import InputError
    from pointata_jax.stages.task_data import DataPlace, load_training
    from pointata_jax.training.run_folder import RunFolder

    run, config = RunFolder.open(folder), runs.task_config(args, stage="adapt")
    wanted = {
        "tuning": args.tuning,
        "seed": args.seed,
        "backbone": runs.open_backbone(args.backbone).reference["sha256"],
        "steps": config.adapt.steps,
    }
    found = {name: run.settings[name] for name in ("tuning", "seed")} | {
        "backbone": run.settings["backbone"]["sha256"],
        "steps": run.settings["task"]["adapt"]["steps"],
    }
    differing = [name for name, value in wanted.items() if found[name] != value]
    if differing:
        raise InputError(
            f"the finished fold in {folder} was trained with another {' and '.join(differing)}: "
            "give the same flags, or another --workdir."
        )
    place = DataPlace(args.data_dir, args.cache_dir)
    run.check_videos(load_training(config, place, hold_out=False).digests)


def main(args: Args) -> None:
    """Trains the folds that are not finished, then prints and writes the means."""
    import json

    import numpy as np

    from pointata_jax.datasets.mocap6.baselines import leave_one_trial_out
    from pointata_jax.datasets.mocap6.trials import read_trials
    from pointata_jax.errors import InputError
    from pointata_jax.training.run_folder import readable, write_json

    if not args.data_dir:
        raise InputError("--data_dir must name the folder that holds mocap6.npz.")
    trials = read_trials(Path(args.data_dir))
    folds = {}
    for trial in trials:
        folder = Path(args.workdir) / trial.name
        adapting = adapt.Args(
            task="mocap6",
            tuning=args.tuning,
            data_dir=args.data_dir,
            cache_dir=args.cache_dir,
            workdir=str(folder),
            variant=trial.name,
            backbone=args.backbone,
            steps=args.steps,
            validation=False,
            seed=args.seed,
            resume=folder.exists(),
        )
        if not (folder / "result.json").is_file():
            adapt.main(adapting)
        elif (folder / "config.json").is_file():
            check_finished(folder, adapting)
        result = json.loads((folder / "result.json").read_text())
        test = result["test"]
        folds[trial.name] = {
            "frame_accuracy": test["seen_frame_accuracy"],
            "frames": test["num_seen_frames"],
            "frames_lacking": test["num_frames"] - test["num_seen_frames"],
            "classes_not_in_training": result["classes_not_in_training"],
            "edit": test["edit"],
            "f1@50": test["f1@50"],
        }
    means = {args.tuning: float(np.mean([fold["frame_accuracy"] for fold in folds.values()]))}
    baselines = leave_one_trial_out(trials)
    means |= {name: found["mean_frame_accuracy"] for name, found in baselines.items()}
    content = {
        "mean_frame_accuracy": means,
        "folds": folds,
        "baselines": {name: found["folds"] for name, found in baselines.items()},
        "seed": args.seed,
    }
    write_json(Path(args.workdir) / "result.json", content)
    print(readable({"mean_frame_accuracy": means, "folds": folds}))


if __name__ == "__main__":
    command_line.run(main, Args)

"""Measures, before any training, how far a task's clips are from what each backbone knows.

python -m experiments.gap --backbones=tiny --task=radhar --data_dir=DIR
python -m experiments.gap --backbones=tiny,other/backbone.safetensors --task=point_videos_clips \
    --data_dir=DIR

For each backbone: the optimal-transport distance (OTDD, per channel) between its source bank and
the training clips as a copy of its embedder sees them, with the 5 % and 95 % quantiles of a
bootstrap; how much permuted labels add to it; and the share of the validation labels that frozen
features explain. The list begins with the smallest distance. README says what this did and did not
predict.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args(command_line.TaskFlags):
    """Rank backbones for a task without training."""

    backbones: str = "tiny"  # with commas: shipped ones by name, or files with a bank beside them
    clips: int = 256  # training clips, and validation clips, that are measured
    resamples: int = 20  # draws of the bootstrap
    output: str = ""  # JSON file for the result; default: it is only printed


def main(args: Args) -> None:
    """Measures every backbone and prints the ranking."""
    from pathlib import Path

    import numpy as np

    from experiments import runs
    from pointata_jax.errors import InputError
    from pointata_jax.stages.gap import GapSettings, measure_gap
    from pointata_jax.stages.task_data import DataPlace, load_training
    from pointata_jax.training import run_folder

    names = runs.names_of(args.backbones)
    if not names or args.clips < 2 or args.resamples < 1:
        raise InputError("give --backbones at least one, --clips two or more, --resamples one.")
    config = runs.task_config(args, stage="align")
    runs.start_devices(distributed=False)
    data = load_training(config, DataPlace(args.data_dir, args.cache_dir, args.download))
    settings = GapSettings(
        clips=args.clips, resamples=args.resamples, label_weight=config.align.label_weight
    )
    config = dataclasses.replace(config, embedder_init="backbone")
    found = {}
    for name in names:
        runs.say(f"measuring {name}")
        backbone = runs.open_backbone(name)
        found[name] = measure_gap(
            (backbone.config, backbone.variables),
            config.model_config(backbone.config, data.train.num_classes).p4d,
            runs.open_source_bank("", backbone),
            data,
            settings,
            args.seed,
        )
    draws = np.array([result.pop("draws") for result in found.values()])
    nearest = np.bincount(draws.argmin(0), minlength=len(names)) / draws.shape[1]
    for result, own, share in zip(found.values(), draws, nearest, strict=True):
        result["otdd_interval"] = np.quantile(own, (0.05, 0.95)).tolist()
        result["nearest_in_draws"] = float(share)
    ranking = sorted(found, key=lambda name: found[name]["otdd"])
    content = {"task": args.task, "seed": args.seed, "ranking": {n: found[n] for n in ranking}}
    if args.output:
        run_folder.write_json(Path(args.output), content)
    print(run_folder.readable(content))


if __name__ == "__main__":
    command_line.run(main, Args)

"""Trains a grid of runs and writes one table: does a 3D backbone help here, and which part of it?

python -m experiments.compare --arms=pointata,random_frozen --seeds=2
python -m experiments.compare --task=radhar --data_dir=DIR --grid=labels --budgets=5%,10%,100%

Grids: tunings, labels (budgets of labeled videos), alignment (objective, steps, source bank),
adapters (parts and ranks), robustness (test clips changed, nothing trained anew). Every cell is an
ordinary run of experiments.adapt in `<workdir>/<row>-s<seed>`. A finished cell is not trained
again, a killed one goes on where it was, and grids in one workdir share their cells. Writes
`<workdir>/<grid>.md` and `.csv`, and figures where matplotlib is installed.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args(command_line.TaskFlags):
    """Train a grid of runs and compare them."""

    grid: str = "tunings"  # tunings, labels, alignment, adapters or robustness
    arms: str = ""  # with commas: tunings, or p4transformer; default: those of the grid
    budgets: str = ""  # of the grid labels, with commas: percentages or numbers of videos per class
    source_banks: str = ""  # of the grid alignment, with commas
    seeds: int = 3  # runs of each row, with the seeds 0, 1, …
    rates: str = ""  # learning rates to choose from on validation data, once per arm
    rate_budget: str = ""  # labels used for that choice, as in --budgets; default: all
    workdir: str | None = None  # default: runs/compare-<task>[-<own data>]
    backbone: str = "tiny"  # as in experiments.adapt
    steps: int | None = None  # of every run; default: the task's
    batch_size: int | None = None  # as in experiments.adapt
    eval_every: int | None = None  # as in experiments.adapt
    validation: bool = True  # as in experiments.adapt


def main(args: Args) -> None:
    """Trains what is missing, then writes table and figures."""
    from pathlib import Path

    from experiments import cells, comparison, configs, examples, grids, robustness, runs
    from pointata_jax.errors import InputError

    for name in ("videos_per_class", "label_fraction"):
        if getattr(args, name) is not None and args.grid == "labels":
            raise InputError(f"--grid=labels sets --{name} itself: use --budgets.")
    if args.seed or args.seeds < 1:
        raise InputError("--seeds takes the number of seeds, at least one, in place of --seed.")
    listed = (runs.names_of(text) for text in (args.arms, args.budgets, args.source_banks))
    rows = grids.rows_of(args.grid, *listed)
    config = configs.load(args.task, args.protocol)
    usual = runs.default_workdir(config, args.data_dir).replace("runs/", "runs/compare-", 1)
    workdir = Path(args.workdir or usual)
    passed = cells.passed_flags(args)
    rates = {}
    if args.rates:
        budget = grids.budget_flags(args.rate_budget) if args.rate_budget else ()
        for arm in dict.fromkeys(row.arm for row in rows):
            rates[arm] = cells.choose_rate(
                arm, [*grids.arm_flags(arm), *budget, *passed], runs.names_of(args.rates), workdir
            )
    failed = []
    wanted = [(row, seed) for seed in range(args.seeds) for row in rows]
    for number, (row, seed) in enumerate(wanted, 1):
        flags = [*row.flags, *passed, f"--seed={seed}"]
        if row.arm in rates:
            flags.append(f"--learning_rate={rates[row.arm]}")
        name = f"{row.name}-s{seed}"
        runs.say(f"[{number}/{len(wanted)}] {name}")
        problem = cells.train(workdir, name, flags)
        if problem:
            runs.say(f"{name}: {problem}")
            failed.append(name)
    heading = f"{args.task}, grid {args.grid}: " + ", ".join(
        [f"{args.seeds} seeds", *(flag.lstrip("-") for flag in passed if "_dir=" not in flag)]
    )
    if args.grid == "robustness":
        table = robustness.evaluate(workdir, rows, args.seeds, args.data_dir, args.cache_dir)
    else:
        table = comparison.collect(workdir, rows, args.seeds)
    comparison.write(workdir, args.grid, table, heading)
    figures = comparison.draw(workdir, args.grid, table)
    if args.grid in ("tunings", "alignment"):
        figures += examples.draw(workdir, rows, args.data_dir, args.cache_dir)
    print((workdir / f"{args.grid}.md").read_text(encoding="utf-8"))
    runs.say(*(f"figure: {path}" for path in figures))
    if failed:
        raise InputError(
            f"{len(failed)} of {len(wanted)} cells failed: {', '.join(failed)}; the logs are in "
            f"{workdir / 'logs'}. The same command trains them again."
        )


if __name__ == "__main__":
    command_line.run(main, Args)

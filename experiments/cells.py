"""The runs of a grid, each a process of its own, so that it is what its command line says."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import runs
from experiments.command_line import SETTINGS_SEPARATOR, TaskFlags
from pointata_jax.errors import InputError
from pointata_jax.training.run_folder import RunFolder, write_json

_RUN_FLAGS = ("backbone", "steps", "batch_size", "eval_every", "validation")


def passed_flags(args: Any) -> list[str]:
    """The flags of a comparison that are those of each of its runs."""
    names = [field.name for field in dataclasses.fields(TaskFlags) if field.name != "seed"]
    defaults = {field.name: field.default for field in dataclasses.fields(args)}
    flags = []
    for name in (*names, *_RUN_FLAGS):
        value = getattr(args, name)
        if value == defaults[name]:
            continue
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no{name}")
        elif name == "set":
            flags += [f"--set={line}" for line in value.split(SETTINGS_SEPARATOR)]
        else:
            flags.append(f"--{name}={value}")
    return flags


def train(workdir: Path, name: str, flags: Sequence[str]) -> str:
    """Trains the run `<workdir>/<name>`, goes on with it, or leaves it alone if it is finished.

    Returns:
      "", or what went wrong as a phrase.

    Raises:
      InputError: the run was begun with other flags.
    """
    folder, record = workdir / name, workdir / "cells.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    # Where the data and the prepared records lie is no property of a run.
    shown = [flag for flag in flags if not flag.startswith(("--data_dir=", "--cache_dir="))]
    if folder.exists() and known.get(name) != shown:
        raise InputError(
            f"{folder} was begun with the flags {' '.join(known.get(name, ['(unknown)']))}, not "
            f"{' '.join(shown)}: give another --workdir."
        )
    if (folder / "result.json").is_file():
        return ""
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(record, {**known, name: shown})
    command = [sys.executable, "-m", "experiments.adapt", *flags, f"--workdir={folder}"]
    command += ["--measure_memory", "--noreport"] + (["--resume"] if folder.exists() else [])
    (workdir / "logs").mkdir(exist_ok=True)
    log = workdir / "logs" / f"{name}.txt"
    with open(log, "a", encoding="utf-8") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return f"exit status {status}: {''.join(last)}"
    return ""


def choose_rate(arm: str, flags: Sequence[str], rates: Sequence[str], workdir: Path) -> str:
    """The learning rate with the best validation score of seed 0; the test split is not read."""
    scores = {}
    for rate in rates:
        name = f"search-{arm}-{rate}"
        runs.say(f"choosing the learning rate of {arm}: {rate}")
        given = [*flags, "--seed=0", f"--learning_rate={rate}", "--notest"]
        problem = train(workdir, name, given)
        result = RunFolder.open(workdir / name).read_result() if not problem else None
        validation = (result or {}).get("validation")
        if problem and "diverged" not in problem:
            raise InputError(f"{name}: {problem}")
        if validation is not None and result is not None:
            scores[rate] = validation[result["chosen_by"]]
        elif not problem:
            raise InputError("--rates chooses on validation data: leave out --novalidation.")
    if not scores:
        raise InputError(f"{arm} diverged with every rate of {', '.join(rates)}: give lower ones.")
    return max(scores, key=lambda rate: scores[rate])

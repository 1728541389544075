"""The grid robustness: finished runs on test clips that were changed, nothing trained anew."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.comparison import Table
from experiments.grids import Row
from pointata_jax.data.perturbations import PERTURBATIONS
from pointata_jax.errors import InputError
from pointata_jax.stages.adapt import SHOWN_SCORES


def evaluate(
    workdir: Path, rows: Sequence[Row], seeds: int, data_dir: str | None, cache_dir: str | None
) -> Table:
    """One entry for each row with a finished run: the mean test score under each perturbation.

    Columns: `row`, `arm`, `budget`, `n`, `score` (its name), `test_videos` or another denominator,
    and `P` and `P_std` for each perturbation P that the kind of label allows. What was evaluated
    before is read from the run folder.
    """
    table = []
    for row in rows:
        folders = [workdir / f"{row.name}-s{seed}" for seed in range(seeds)]
        found = [
            _scores(folder, data_dir, cache_dir)
            for folder in folders
            if (folder / "result.json").is_file()
        ]
        if not found:
            continue
        unchanged = found[0]["none"]
        score = next(name for name in SHOWN_SCORES if name in unchanged)
        entry = {
            "row": row.name,
            "arm": row.arm,
            "budget": row.budget,
            "n": len(found),
            "score": score,
        }
        entry |= {
            f"test_{name}": unchanged[f"num_{name}"]
            for name in ("videos", "windows")
            if f"num_{name}" in unchanged
        }
        for name in found[0]:
            values = [scores[name][score] for scores in found]
            entry[name] = statistics.fmean(values)
            entry[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        table.append(entry)
    return table


def _scores(folder: Path, data_dir: str | None, cache_dir: str | None) -> dict[str, dict]:
    """The test scores of a run by perturbation."""

    def read() -> dict[str, dict]:
        files = {name: folder / f"evaluation-test-ordered-{name}.json" for name in PERTURBATIONS}
        files["none"] = folder / "evaluation-test-ordered.json"
        return {
            name: json.loads(file.read_text(encoding="utf-8"))
            for name, file in files.items()
            if file.is_file()
        }

    if len(found := read()) < 2:
        command = [sys.executable, "-m", "experiments.evaluate", f"--run={folder}"]
        command += ["--perturbation=all"] + ([f"--data_dir={data_dir}"] if data_dir else [])
        command += [f"--cache_dir={cache_dir}"] if cache_dir else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"{folder} could not be evaluated: {done.stderr.strip()[-500:]}")
        found = read()
    return {name: found[name] for name in PERTURBATIONS if name in found}

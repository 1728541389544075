"""Tables and figures of a grid of finished runs."""

from __future__ import annotations

import csv
import importlib.util
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import runs
from experiments.grids import Row
from pointata_jax.stages.adapt import SHOWN_SCORES
from pointata_jax.training.run_folder import RunFolder, write_text
from pointata_jax.viz import comparison as figures
from pointata_jax.viz.look import save

Table = list[dict[str, Any]]


def finished(workdir: Path, row: Row, seeds: int) -> list[dict[str, Any]]:
    """The results of the runs of a row, in the order of the seeds."""
    folders = [workdir / f"{row.name}-s{seed}" for seed in range(seeds)]
    results = [RunFolder.open(f).read_result() for f in folders if (f / "config.json").is_file()]
    return [result for result in results if result is not None]


def collect(workdir: Path, rows: Sequence[Row], seeds: int) -> Table:
    """One entry for each row with a finished run: means and deviations over its seeds.

    Columns: `row`, `arm`, `budget`, `n` (seeds), `train_videos` (of each run), `test_videos` or
    another denominator, for each score `S` and `S_std` in percent, `train` (training accuracy in
    training mode over the last tenth of the steps), `gap` (`train` minus the test score of the same
    units), `rate`, `trainable`, `total`, `seconds_per_step`, `temporary_mb`, `memory_mb`.
    """
    table = []
    for row in rows:
        results = finished(workdir, row, seeds)
        if not results:
            continue
        first = results[0]
        entry: dict[str, Any] = {
            "row": row.name,
            "arm": row.arm,
            "budget": row.budget,
            "n": len(results),
            "train_videos": _range(result["num_train_videos"] for result in results),
        }
        tests = [result["test"] for result in results if "test" in result]
        for name in ("num_videos", "num_windows", "num_frames", "num_points"):
            if tests and name in tests[0]:
                entry[f"test_{name.removeprefix('num_')}"] = tests[0][name]
        for score in SHOWN_SCORES:
            values = [test[score] for test in tests if test.get(score) is not None]
            if values:
                entry[score] = statistics.fmean(values)
                entry[f"{score}_std"] = statistics.stdev(values) if len(values) > 1 else None
        entry["train"] = statistics.fmean(result["train_accuracy"] for result in results)
        for same in ("window_accuracy", "frame_accuracy", "point_accuracy"):
            if tests and same in tests[0]:
                found = statistics.fmean(test[same] for test in tests)
                entry["gap"] = entry["train"] - found
                entry["gap_test"] = found
                break
        entry |= {
            "rate": first["learning_rate"],
            "trainable": first["parameters"]["trainable"],
            "total": first["parameters"]["total"],
            "seconds_per_step": statistics.median(
                result["seconds_per_step"] or float("nan") for result in results
            ),
            "temporary_mb": (first.get("step_temporary_bytes") or float("nan")) / 1e6,
            "memory_mb": max(result["peak_memory_mb"] for result in results),
        }
        table.append(entry)
    return table


def write(workdir: Path, name: str, table: Table, heading: str) -> None:
    """Writes `<workdir>/<name>.md` and `.csv`."""
    columns = list(dict.fromkeys(column for entry in table for column in entry))
    content = io.StringIO()
    writer = csv.DictWriter(content, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(workdir / f"{name}.csv", content.getvalue())
    shown = [c for c in columns if not c.endswith("_std") and c not in ("arm", "gap_test")]
    shown = [c for c in shown if any(entry.get(c) not in (None, "") for entry in table)]
    lines = [heading, "", f"| {' | '.join(map(_title, shown))} |", "| --- " * len(shown) + "|"]
    for entry in table:
        lines.append(f"| {' | '.join(_cell(entry, column) for column in shown)} |")
    lines += ["", "± is the standard deviation over the n seeds. " + _NOTES]
    write_text(workdir / f"{name}.md", "\n".join(lines) + "\n")


_NOTES = (
    "Seeds change initialization, batches, the draw of few labels and stage 1. Train: accuracy of "
    "the training windows with dropout and augmentation, over the last tenth of the steps; gap: "
    "that minus the test accuracy of windows, frames or points. Temporary MB: XLA's count for one "
    "step. Scores in percent."
)


def _range(values: Any) -> str | int:
    found = sorted(set(values))
    return found[0] if len(found) == 1 else f"{found[0]}-{found[-1]}"


def _title(column: str) -> str:
    return column.replace("_", " ").replace("accuracy", "%").replace("per step", "a step")


def _cell(entry: Mapping[str, Any], column: str) -> str:
    value, std = entry.get(column), entry.get(f"{column}_std")
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if column == "rate":
        return f"{value:g}"
    text = f"{value:.3f}" if column == "seconds_per_step" else f"{value:.1f}"
    return text if std is None else f"{text} ± {std:.1f}"


def draw(workdir: Path, grid: str, table: Table) -> list[Path]:
    """Draws what the grid shows into `<workdir>/figures`; nothing without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        runs.say("no figures: matplotlib is not installed (pip install 'pointata-jax[viz]').")
        return []
    score = next((name for name in SHOWN_SCORES if any(name in entry for entry in table)), None)
    scored = [entry for entry in table if score in entry]
    if score is None:
        return []
    rows = [
        {
            "arm": entry["row"] if grid != "labels" else entry["arm"],
            "trainable": entry["trainable"],
            "mean": entry[score],
            "std": entry[f"{score}_std"] or 0.0,
            "train": entry["train"],
            "test": entry.get("gap_test"),
            "x": _videos(entry["train_videos"]),
        }
        for entry in scored
    ]
    label = f"{score.replace('_', ' ')} (%)"
    drawn = {}
    if grid == "labels":
        drawn["labels"] = figures.plot_label_curves(rows, label="training videos", score=label)
    elif grid in ("tunings", "adapters", "alignment"):
        drawn["parameters"] = figures.plot_accuracy_against_parameters(rows, score=label)
        paired = [row for row in rows if row["test"] is not None]
        if paired:
            drawn["gaps"] = figures.plot_gaps(paired)
    paths = []
    for name, figure in drawn.items():
        paths.append(workdir / "figures" / f"{grid}-{name}.png")
        save(figure, paths[-1])
    return paths


def _videos(shown: str | int) -> float:
    """A number of training videos as `collect` shows it."""
    return statistics.fmean(float(part) for part in str(shown).split("-"))

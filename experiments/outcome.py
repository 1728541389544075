"""What a person reads when a run has finished: at most ten lines. The rest is in result.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCORES = {
    "video_accuracy": "of {num_videos:,} videos",
    "window_accuracy": "of {num_windows:,} windows",
    "frame_accuracy": "of {num_frames:,} frames of {num_videos:,} videos",
    "f1@50": "F1@50",
    "mean_iou": "mIoU",
    "point_accuracy": "of {num_points:,} points",
}
"""Scores by name, and what the percentages are of."""


def scores(found: Mapping[str, Any]) -> str:
    """The scores of an evaluation with their denominators, as one phrase."""
    shown = [
        f"{found[name]:.1f} % {what.format(**found)}"
        for name, what in SCORES.items()
        if found.get(name) is not None
    ]
    return ", ".join(shown)


def outcome(result: Mapping[str, Any], folder: Path, report: Path | None) -> list[str]:
    """The lines.

    Args:
      result: of `stages.adapt.adapt`.
      folder: of the run.
      report: the page with pictures; None where there is none.
    """
    parameters = result["parameters"]
    trained, total = parameters["trainable"], parameters["total"]
    lines = [""]
    if "test" in result:
        lines.append(f"test:        {scores(result['test'])}")
    if result["validation"] is not None:
        kept = f"step {result['kept_step']} of {result['steps']} is kept"
        lines.append(f"validation:  {scores(result['validation'])} ({kept})")
    lines += [
        f"trained:     {result['tuning']}, {trained:,} of {total:,} parameters "
        f"({100 * trained / total:.1f} %), on {result['num_train_videos']:,} videos",
        f"training:    {result['train_accuracy']:.1f} % right over the last tenth of the steps",
        f"cost:        {_duration(result['seconds'])}"
        + (f", {pace:.2f} s a step" if (pace := result["seconds_per_step"]) else "")
        + f", {result['peak_memory_mb'] / 1024:.1f} GiB of memory on {result['device']}",
        f"result:      {folder / 'result.json'}",
    ]
    if report is not None:
        lines.append(f"report:      {report}")
    return [*lines, f"next:        python -m experiments.predict --run={folder} RECORDING"]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"

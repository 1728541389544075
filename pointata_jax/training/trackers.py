"""Sends the numbers of a run to TensorBoard or Weights & Biases, beside the run's own log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pointata_jax.errors import InputError

Tracker = Callable[[Mapping[str, Any]], None]
"""Takes the rows of the log, `{"kind": …, "step": …, name: number}`."""


def tensorboard(folder: Path, first_step: int = 0) -> Tracker:
    """Writes event files that TensorBoard shows.

    Args:
      folder: of the files.
      first_step: the step that the run goes on from; later ones of a killed run are hidden.

    Raises:
      InputError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs tensorboardX: pip install 'pointata-jax[tensorboard]'."
        ) from None
    writer = SummaryWriter(str(folder), purge_step=first_step + 1, flush_secs=10)

    def track(row: Mapping[str, Any]) -> None:
        for name, value in _numbers(row).items():
            writer.add_scalar(name, value, row["step"])
        writer.flush()

    return track


def wandb(folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Logs to the project pointata_jax of Weights & Biases.

    Args:
      folder: of the run, whose name the run gets there.
      settings: of the run.

    Raises:
      InputError: wandb is not installed.
    """
    try:
        import wandb as library  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("--wandb needs wandb: pip install wandb.") from None
    run: Any = library.init(
        project="pointata_jax",
        name=folder.name,
        dir=str(folder),
        config=dict(settings),
        resume="allow",
    )

    def track(row: Mapping[str, Any]) -> None:
        run.log(_numbers(row), step=row["step"])

    return track


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by kind and name."""
    kind = row.get("kind", "train")
    return {
        f"{kind}/{name}": value
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float)
    }

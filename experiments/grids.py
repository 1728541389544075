"""The grids of `experiments.compare`: which runs of experiments.adapt stand beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pointata_jax.alignment.objectives import OBJECTIVES
from pointata_jax.errors import InputError
from pointata_jax.training.partition import P4TRANSFORMER, TUNINGS

GRIDS = ("tunings", "labels", "alignment", "adapters", "robustness")
ARMS = (*TUNINGS, P4TRANSFORMER)
FEW_LABEL_ARMS = ("pointata", "random_frozen", "scratch", "probe")
BUDGETS = ("1%", "2%", "5%", "10%", "25%", "100%")
ALIGNMENT_STEPS = (25, 100, 400)
RANKS = (16, 32, 64, 128)

Flags = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: the same run with several seeds.

    Attributes:
      name: of the row, and of its run folders.
      arm: the tuning, or `P4TRANSFORMER`.
      flags: of experiments.adapt, without seed and folder.
      budget: labels that are used, as in `BUDGETS` or a number of videos per class; "" for all.
    """

    name: str
    arm: str
    flags: Flags
    budget: str = ""


def arm_flags(arm: str) -> Flags:
    """What makes experiments.adapt train an arm."""
    if arm not in ARMS:
        raise InputError(f"unknown arm {arm!r}: choose from {', '.join(ARMS)}.")
    if arm == P4TRANSFORMER:
        return (f"--model={P4TRANSFORMER}",)
    # Around a backbone that knows nothing, the embedder is a new one, too.
    own = ("--embedder_init=random",) if arm == "random_frozen" else ()
    return (f"--tuning={arm}", *own)


def budget_flags(budget: str) -> Flags:
    """What limits the training videos: a share of each class, "10%", or a number of videos, "3"."""
    number = budget.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    whole = budget == number
    if not value > 0 or (whole and value != int(value)) or (not whole and value > 100):
        raise InputError(
            f"{budget!r} is no label budget: give a share of each class such as 10%, or a whole "
            "number of videos per class."
        )
    if whole:
        return (f"--videos_per_class={int(value)}",)
    return () if value == 100 else (f"--label_fraction={value / 100:g}",)


def rows_of(
    grid: str, arms: Sequence[str], budgets: Sequence[str], source_banks: Sequence[str]
) -> list[Row]:
    """The rows of a grid.

    Args:
      grid: a name in `GRIDS`.
      arms: of the grids tunings, labels and robustness; empty for the default.
      budgets: of the grid labels; empty for the default.
      source_banks: files that the grid alignment compares with the backbone's own bank.

    Raises:
      InputError: unknown grid, arm or budget.
    """
    if grid in ("tunings", "robustness"):
        return [Row(arm, arm, arm_flags(arm)) for arm in arms or ARMS]
    if grid == "labels":
        return [
            Row(
                f"{arm}-{budget.replace('%', 'pct')}",
                arm,
                (*arm_flags(arm), *budget_flags(budget)),
                budget,
            )
            for arm in arms or FEW_LABEL_ARMS
            for budget in budgets or BUDGETS
        ]
    own = arm_flags("pointata")

    def row(name: str, *settings: str) -> Row:
        return Row(name, "pointata", (*own, *(f"--set={setting}" for setting in settings)))

    if grid == "alignment":
        rows = [Row("adapter", "adapter", arm_flags("adapter")), row("pointata")]
        rows += [
            row(f"objective-{name}", f"align.objective={name}")
            for name in OBJECTIVES
            if name != "otdd"
        ]
        rows += [row(f"steps-{steps}", f"align.steps={steps}") for steps in ALIGNMENT_STEPS]
        return rows + [
            Row(f"bank-{number}", "pointata", (*own, f"--source_bank={bank}"))
            for number, bank in enumerate(source_banks, 1)
        ]
    if grid == "adapters":
        rows = [row("pointata"), row("pva-off", "model.use_pva=false")]
        for kind in ("index", "frame"):
            rows.append(row(f"pva-{kind}", f"model.pva_correspondence={kind}"))
        rows += [row("sce-off", "model.use_sce=false")]
        return rows + [row(f"rank-{rank}", f"model.bottleneck={rank}") for rank in RANKS]
    raise InputError(f"unknown grid {grid!r}: choose one of {', '.join(GRIDS)}.")

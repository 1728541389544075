"""What figures have in common: width, colors that differ in gray, fonts, legends, files."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pointata_jax.errors import InputError

WIDTH = 3.3  # inches
TEXT, SMALL = 8, 7
INK, PALE = "#222222", "#d9d9d9"

# Okabe and Ito's colors, ordered so that neighbors differ in gray as well.
COLORS = (
    "#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F",
)  # fmt: skip
# Lighter ones, on which a dark hatch shows.
FILLS = (
    "#F0E442", "#6BAED6", "#F4A582", "#FFFFFF", "#74C476", "#BDBDBD", "#D4B9DA", "#FDD0A2",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "<", ">", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "||||", "oooo", "++++")


def save(figure: Any, path: str | os.PathLike) -> None:
    """Writes a figure as PNG with 200 dots per inch and closes it.

    Args:
      figure: a matplotlib figure.
      path: the file. Its folder is made if it does not exist.

    Raises:
      InputError: the file cannot be written.
    """
    from matplotlib import pyplot

    file = pathlib.Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="png", dpi=200, bbox_inches="tight", pad_inches=0.02)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written ({error.strerror or error}); choose another path."
        ) from error
    finally:
        pyplot.close(figure)


def new_figure(height: float) -> Any:
    """An empty figure as wide as a column, with a canvas that measures text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Any, xlabel: str, ylabel: str, grid: str = "") -> None:
    """Labels axes legibly and removes what carries no information."""
    axes.set_xlabel(xlabel, fontsize=TEXT)
    axes.set_ylabel(ylabel, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL, length=2.5, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=PALE, linewidth=0.5)


def add_legend(figure: Any, entries: tuple[list[Any], list[str]], place: str, columns: int) -> None:
    """Adds a legend of handles and names at a place of the figure."""
    handles, names = entries
    figure.legend(
        handles, names, loc=place, ncols=columns, fontsize=SMALL, frameon=False, handlelength=2.2,
        columnspacing=1.0, handletextpad=0.5, labelspacing=0.3, borderpad=0.1,
    )  # fmt: skip


def legend_columns(names: Sequence[str]) -> int:
    """The largest number of legend columns, at most four, whose names fit into the width."""
    # About 60 characters fit, and a handle with its gaps takes six. Columns are filled in turn.
    for columns in (4, 3, 2):
        lines = -(-len(names) // columns)
        parts = [names[i : i + lines] for i in range(0, len(names), lines)]
        if sum(max(map(len, part)) + 6 for part in parts) <= 60:
            return len(parts)
    return 1


def check_rows(rows: Sequence[Mapping[str, Any]], *names: str) -> None:
    """InputError unless there are rows and all have these values."""
    if not len(rows):
        raise InputError("There are no rows to draw.")
    for row in rows:
        missing = [name for name in names if name not in row]
        if missing:
            raise InputError(f"The row {dict(row)} has no {', '.join(missing)}.")


def legend_marker(marker: str, **look: Any) -> Any:
    """A marker for a legend, with the look that matplotlib's lines take."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, **{"ms": 4.5, **look})

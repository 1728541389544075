"""Figures that compare arms (ways to train), for a column 3.3 inches wide and for gray print.

Every function takes plain data and returns a matplotlib figure. Arms and classes differ by marker,
line style or hatch as well as by color.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.viz.look import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    SMALL,
    add_legend,
    check_rows,
    dress,
    legend_marker,
    new_figure,
)

MOST_MARKERS = 400
"""Largest number of features that are shown of the source and of the target."""


def plot_accuracy_against_parameters(
    rows: Sequence[Mapping[str, Any]], *, score: str = "accuracy (%)"
) -> Any:
    """Draws the score of each arm against its number of trained parameters, on a log axis.

    Args:
      rows: `arm`, `trainable` (number of trained parameters), `mean` and `std` of the score.
      score: name of the score.

    Returns:
      A matplotlib figure.

    Raises:
      InputError: no rows, a row without one of the values, or an arm that trains nothing.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    check_rows(rows, "arm", "trainable", "mean", "std")
    if min(row["trainable"] for row in rows) <= 0:
        raise InputError("trainable must be positive in every row: the axis is logarithmic.")
    figure = new_figure(2.4)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        drawn = axes.errorbar(
            row["trainable"], row["mean"], row["std"], fmt=MARKERS[place % len(MARKERS)], ms=4.5,
            color=COLORS[place % len(COLORS)], ecolor=INK, elinewidth=0.8, capsize=2,
            label=row["arm"],
        )  # fmt: skip
        drawn.lines[0].set_zorder(3)  # Above the error bars of the others.
    counts = [row["trainable"] for row in rows]
    decades = np.log10(max(counts) / min(counts))
    axes.set_xscale("log")
    # Half a decade at least, so that a tick lies in it.
    margin = 10 ** max(0.25, 0.1 + 0.12 * decades)
    axes.set_xlim(min(counts) / margin, max(counts) * margin)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(
        LogLocator(10, (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 2.5 else (1,))
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    dress(axes, "trained parameters", score, grid="both")
    _place_names(figure, axes, rows)
    return figure


def plot_gaps(rows: Sequence[Mapping[str, Any]], *, score: str = "accuracy (%)") -> Any:
    """Draws the training and test score of each arm as bars, their difference written above.

    Args:
      rows: `arm`, `train` and `test` (means of the score).
      score: name of the score.

    Returns:
      A matplotlib figure.

    Raises:
      InputError: no rows, or a row without one of the values.
    """
    check_rows(rows, "arm", "train", "test")
    figure = new_figure(2.3)
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    looks = (
        ("train", "training", {"facecolor": "white", "hatch": "//////"}),
        ("test", "test", {"facecolor": COLORS[0]}),
    )
    for side, (key, label, look) in zip((-1, 1), looks, strict=True):
        bars = axes.bar(
            places + side * 0.2, [row[key] for row in rows], 0.38, edgecolor=INK, linewidth=0.7,
            label=label, **look,
        )  # fmt: skip
        for bar in bars:
            bar.set_hatch_linewidth(0.5)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row['train'] - row['test']:.1f}", (place, max(row["train"], row["test"])), (0, 2),
            textcoords="offset points", ha="center", va="bottom", fontsize=SMALL,
        )  # fmt: skip
    axes.margins(y=0.12)
    names = [str(row["arm"]) for row in rows]
    # About 50 characters fit below the axis in one line.
    steep = max(map(len, names)) * len(names) > 42
    axes.set_xticks(places, names)
    dress(axes, "", score, grid="y")
    axes.tick_params(axis="x", length=0)
    for text in axes.get_xticklabels():
        text.set(
            rotation=30 if steep else 0, ha="right" if steep else "center", rotation_mode="anchor"
        )
    handles, labels = axes.get_legend_handles_labels()
    entries = [*handles, legend_marker("")], [*labels, "above: difference"]
    add_legend(figure, entries, "outside upper center", 3)
    return figure


def plot_label_curves(
    rows: Sequence[Mapping[str, Any]],
    *,
    label: str = "labeled videos per class",
    score: str = "accuracy (%)",
) -> Any:
    """Draws the score of each arm against the amount of labels, on a log axis.

    Args:
      rows: `arm`, `videos_per_class` (or `x`, any positive amount), `mean` and `std` of the score.
        The band around a line is one `std` on both sides.
      label: name of the amount.
      score: name of the score.

    Returns:
      A matplotlib figure.

    Raises:
      InputError: no rows, a row without one of the values, or an amount that is not positive.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    rows = [
        {"x": row["videos_per_class"], **row} if "videos_per_class" in row else row for row in rows
    ]
    check_rows(rows, "arm", "x", "mean", "std")
    if min(row["x"] for row in rows) <= 0:
        raise InputError("videos_per_class must be positive: the axis is logarithmic.")
    figure = new_figure(2.5)
    axes = figure.add_subplot()
    for place, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
        own = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["x"])
        x, mean, std = (np.array([row[key] for row in own], float) for key in ("x", "mean", "std"))
        color = COLORS[place % len(COLORS)]
        axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
        axes.plot(
            x, mean, color=color, linestyle=LINES[place % len(LINES)], linewidth=1.2, ms=4,
            marker=MARKERS[place % len(MARKERS)], label=arm,
        )  # fmt: skip
    axes.set_xscale("log")
    amounts = sorted({float(row["x"]) for row in rows})
    shown = amounts[:1]
    for amount in amounts[1:]:
        if np.log(amount / shown[-1]) > 0.09 * np.log(amounts[-1] / amounts[0]):
            shown.append(amount)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    dress(axes, label, score, grid="both")
    add_legend(figure, axes.get_legend_handles_labels(), "outside upper center", 3)
    return figure


def plot_alignment(
    history: Sequence[tuple[float, float]],
    before: np.ndarray,
    after: np.ndarray,
    source: np.ndarray,
    *,
    before_labels: np.ndarray | None = None,
    after_labels: np.ndarray | None = None,
    source_labels: np.ndarray | None = None,
) -> Any:
    """Draws the distance during alignment, and source and target features before and after it.

    The features are shown on the first two principal components of the source. Of more than
    `MOST_MARKERS` features, a random part is shown.

    Args:
      history: step and OTDD (optimal transport dataset distance) of each measurement.
      before: target features before alignment, `[n, d]`.
      after: target features after alignment, `[m, d]`.
      source: source features, `[s, d]`.
      before_labels: classes `[n]`, shown as the shade of the markers. None: one shade.
      after_labels: classes `[m]`.
      source_labels: classes `[s]`.

    Returns:
      A matplotlib figure with three axes: distance, before, after.

    Raises:
      InputError: an empty history, features of unequal width, or fewer than two source features
        or columns.
    """
    if not len(history):
        raise InputError("history is empty: give the step and the distance of each measurement.")
    before, after, source = (np.asarray(x, np.float64) for x in (before, after, source))
    if {x.ndim for x in (before, after, source)} != {2} or (
        len({x.shape[1] for x in (before, after, source)}) > 1 or min(source.shape) < 2
    ):
        raise InputError(
            "before, after and source must have shape [n, d] with one d of at least 2, and source "
            f"at least two rows; the shapes are {before.shape}, {after.shape}, {source.shape}."
        )
    middle = source.mean(0)
    components = np.linalg.svd(source - middle, full_matrices=False)[2][:2]
    figure = new_figure(2.7)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    axes = figure.add_subplot(grid[:, 0])
    steps, distances = np.asarray(history, np.float64).T
    axes.plot(steps, distances, color=INK, linewidth=1.2, marker="o", ms=2.5)
    axes.set_ylim(bottom=min(0.0, float(distances.min())))
    dress(axes, "step", "OTDD", grid="y")

    shared = None
    for row, (title, target, labels) in enumerate(
        (("before alignment", before, before_labels), ("after alignment", after, after_labels))
    ):
        shared = axes = figure.add_subplot(grid[row, 1], sharex=shared, sharey=shared)
        for features, classes, colors, marker, name in (
            (source, source_labels, "Blues", "o", "source"),
            (target, labels, "Oranges", "^", "target"),
        ):
            chosen = np.random.default_rng(0).permutation(len(features))[:MOST_MARKERS]
            shade = _shades(classes, len(features), colors)[chosen]
            # Hollow against filled: in gray print the colors are alike.
            look = {"facecolors": "none", "edgecolors": shade} if marker == "o" else {"c": shade}
            axes.scatter(
                *((features - middle) @ components.T)[chosen].T, s=9, marker=marker, label=name,
                linewidths=0.7 if marker == "o" else 0, **look,
            )  # fmt: skip
        dress(axes, "", "")
        axes.set_title(title, fontsize=SMALL, pad=2)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel("component 2", fontsize=SMALL)
    axes.set_xlabel("component 1", fontsize=SMALL)
    handles = [
        legend_marker("o", mfc="none", mec="#2171b5", mew=0.9),
        legend_marker("^", mfc="#d94801", mec="none"),
    ]
    add_legend(figure, (handles, ["source", "target"]), "outside upper right", 2)
    return figure


def _place_names(figure: Any, axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the name of each arm beside its point, where it covers least."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    renderer, dots = figure.canvas.get_renderer(), figure.dpi / 72
    frame = axes.get_window_extent(renderer).extents
    ends = np.array([[(r["trainable"], r["mean"] + s * r["std"]) for s in (-1, 1)] for r in rows])
    low, high = axes.transData.transform(ends.reshape(-1, 2)).reshape(-1, 2, 2).swapaxes(0, 1)
    middles, pad = (low + high) / 2, 3.2 * dots
    # What names must not cover: markers and error bars, then the names already there.
    marks = np.concatenate([middles - pad, middles + pad], 1)
    bars = np.concatenate([low - [1.5 * dots, dots], high + [1.5 * dots, dots]], 1)
    taken = [*marks, *bars]
    # The point with the most neighbors has the fewest free places.
    crowd = np.exp(-np.linalg.norm(middles[:, None] - middles[None], axis=-1) / (30 * dots)).sum(1)
    for place in np.argsort(-crowd):
        text = Text(0, 0, str(rows[place]["arm"]), figure=figure, fontsize=SMALL)
        size = np.array(text.get_window_extent(renderer).size)
        best, best_cost, best_offset = None, np.inf, np.zeros(2)
        for far, (x, y) in itertools.product(
            (5, 9, 16, 26), ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
        ):
            center = middles[place] + np.array([x, y]) * (size / 2 + far * dots)
            box = np.concatenate([center - size / 2, center + size / 2])
            outside = np.abs(box - np.clip(box, np.tile(frame[:2], 2), np.tile(frame[2:], 2))).sum()
            cost = sum(_overlap(box, other) for other in taken) + 20 * outside + far * dots
            if cost < best_cost - 1e-6:
                best, best_cost, best_offset = box, cost, center - middles[place]
        assert best is not None
        taken.append(best)
        leader = np.abs(best_offset) - size / 2
        arrow = {
            "arrowstyle": "-",
            "linewidth": 0.5,
            "color": "#666666",
            "shrinkA": 0,
            "shrinkB": 3,
        }
        axes.annotate(
            rows[place]["arm"], (rows[place]["trainable"], rows[place]["mean"]),
            best_offset / dots, textcoords="offset points", ha="center", va="center",
            fontsize=SMALL, arrowprops=arrow if leader.max() > 10 * dots else None,
        ).set_in_layout(False)  # fmt: skip


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    return float(np.prod(np.maximum(sides, 0)))


def _shades(labels: np.ndarray | None, count: int, colors: str) -> np.ndarray:
    """A color `[count, 4]` for each marker, by its class."""
    from matplotlib import colormaps

    if labels is None:
        return np.asarray(colormaps[colors](np.full(count, 0.75)))
    found, place = np.unique(np.asarray(labels), return_inverse=True)
    if len(place) != count:
        raise InputError(f"There are {len(place)} labels for {count} features.")
    return np.asarray(colormaps[colors](0.45 + 0.5 * place / max(1, len(found) - 1)))

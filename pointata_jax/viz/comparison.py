"""Figures that compare arms (ways to train), for a column 3.3 inches wide and for gray print.

Every function takes plain data and returns a matplotlib figure. Arms and classes differ by marker,
line style or hatch as well as by color.
"""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.viz.clips import project

MOST_CIRCLES = 12
"""Largest number of circles round wrong points."""

MOST_MARKERS = 400
"""Largest number of features that are shown of the source and of the target."""

_WIDTH = 3.3  # inches
_TEXT, _SMALL = 8, 7
_INK, _PALE = "#222222", "#d9d9d9"

# Okabe and Ito's colors, ordered so that neighbors differ in gray as well.
COLORS = (
    "#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F",
)  # fmt: skip
# Lighter ones, on which a dark hatch shows.
_FILLS = (
    "#F0E442", "#6BAED6", "#F4A582", "#FFFFFF", "#74C476", "#BDBDBD", "#D4B9DA", "#FDD0A2",
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "X", "P", "<", ">", "*")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "||||", "oooo", "++++")


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

    _check(rows, "arm", "trainable", "mean", "std")
    if min(row["trainable"] for row in rows) <= 0:
        raise InputError("trainable must be positive in every row: the axis is logarithmic.")
    figure = _figure(2.4)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        drawn = axes.errorbar(
            row["trainable"], row["mean"], row["std"], fmt=_MARKERS[place % len(_MARKERS)], ms=4.5,
            color=COLORS[place % len(COLORS)], ecolor=_INK, elinewidth=0.8, capsize=2,
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
    _dress(axes, "trained parameters", score, grid="both")
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
    _check(rows, "arm", "train", "test")
    figure = _figure(2.3)
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    looks = (
        ("train", "training", {"facecolor": "white", "hatch": "//////"}),
        ("test", "test", {"facecolor": COLORS[0]}),
    )
    for side, (key, label, look) in zip((-1, 1), looks, strict=True):
        bars = axes.bar(
            places + side * 0.2, [row[key] for row in rows], 0.38, edgecolor=_INK, linewidth=0.7,
            label=label, **look,
        )  # fmt: skip
        for bar in bars:
            bar.set_hatch_linewidth(0.5)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row['train'] - row['test']:.1f}", (place, max(row["train"], row["test"])), (0, 2),
            textcoords="offset points", ha="center", va="bottom", fontsize=_SMALL,
        )  # fmt: skip
    axes.margins(y=0.12)
    names = [str(row["arm"]) for row in rows]
    # About 50 characters fit below the axis in one line.
    steep = max(map(len, names)) * len(names) > 42
    axes.set_xticks(places, names)
    _dress(axes, "", score, grid="y")
    axes.tick_params(axis="x", length=0)
    for text in axes.get_xticklabels():
        text.set(
            rotation=30 if steep else 0, ha="right" if steep else "center", rotation_mode="anchor"
        )
    handles, labels = axes.get_legend_handles_labels()
    entries = [*handles, _marker("")], [*labels, "above: difference"]
    _legend(figure, entries, "outside upper center", 3)
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
    _check(rows, "arm", "x", "mean", "std")
    if min(row["x"] for row in rows) <= 0:
        raise InputError("videos_per_class must be positive: the axis is logarithmic.")
    figure = _figure(2.5)
    axes = figure.add_subplot()
    for place, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
        own = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["x"])
        x, mean, std = (np.array([row[key] for row in own], float) for key in ("x", "mean", "std"))
        color = COLORS[place % len(COLORS)]
        axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
        axes.plot(
            x, mean, color=color, linestyle=_LINES[place % len(_LINES)], linewidth=1.2, ms=4,
            marker=_MARKERS[place % len(_MARKERS)], label=arm,
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
    _dress(axes, label, score, grid="both")
    _legend(figure, axes.get_legend_handles_labels(), "outside upper center", 3)
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
    figure = _figure(2.7)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    axes = figure.add_subplot(grid[:, 0])
    steps, distances = np.asarray(history, np.float64).T
    axes.plot(steps, distances, color=_INK, linewidth=1.2, marker="o", ms=2.5)
    axes.set_ylim(bottom=min(0.0, float(distances.min())))
    _dress(axes, "step", "OTDD", grid="y")

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
        _dress(axes, "", "")
        axes.set_title(title, fontsize=_SMALL, pad=2)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel("component 2", fontsize=_SMALL)
    axes.set_xlabel("component 1", fontsize=_SMALL)
    handles = [
        _marker("o", mfc="none", mec="#2171b5", mew=0.9),
        _marker("^", mfc="#d94801", mec="none"),
    ]
    _legend(figure, (handles, ["source", "target"]), "outside upper right", 2)
    return figure


def plot_timelines(
    truth: np.ndarray, predictions: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> Any:
    """Draws the actions of one video: the truth on top, then a bar for each arm.

    A black strip below a bar marks the frames where it is wrong. Frames whose truth is negative
    have no label: they are left blank in the truth and never count as wrong.

    Args:
      truth: class of each frame, `[T]`.
      predictions: classes `[T]` by each arm.
      class_names: names of the classes.

    Returns:
      A matplotlib figure.

    Raises:
      InputError: no frames, lengths that differ, or a class without a name.
    """
    from matplotlib.patches import Patch

    truth = _classes("truth", truth, None, class_names)
    sequences = [("truth", truth)]
    for arm, values in predictions.items():
        sequences.append(
            (arm, _classes(f"the prediction of {arm}", values, len(truth), class_names))
        )
    used = np.unique(np.concatenate([values for _, values in sequences]))
    used = used[used >= 0]
    handles: list[Any] = [_action(k, (0, 0), 1, 1) for k in used]
    names = [str(class_names[k]) for k in used]
    if predictions:
        handles.append(Patch(color="black"))
        names.append("wrong frame")
    columns = _columns_of(names)
    figure = _figure(0.5 + 0.24 * len(sequences) + 0.15 * -(-len(names) // columns))
    axes = figure.add_subplot()
    for row, (name, values) in enumerate(sequences):
        for label, start, end in _runs(values):
            if label >= 0:
                axes.add_patch(_action(label, (start, row - 0.36), end - start, 0.58))
        if row:
            runs = _runs(((values != truth) & (truth >= 0)).astype(int))
            strips = [(start, end - start) for is_wrong, start, end in runs if is_wrong]
            axes.broken_barh(strips, (row + 0.25, 0.13), color="black", linewidth=0, label=name)
    axes.set(xlim=(0, len(truth)), ylim=(len(sequences) - 0.5, -0.5))
    axes.set_yticks(range(len(sequences)), [name for name, _ in sequences])
    _dress(axes, "frame", "")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _legend(figure, (handles, names), "outside lower center", columns)
    return figure


def plot_labeled_clouds(
    points: np.ndarray, truth: np.ndarray, prediction: np.ndarray, class_names: Sequence[str]
) -> Any:
    """Draws the true and the predicted class of the points of one frame.

    At most `MOST_CIRCLES` circles in both pictures surround all wrong points. Points whose truth
    is negative have no label: they are pale in the truth and never count as wrong.

    Args:
      points: `[N, 3+C]`, y up.
      truth: class of each point, `[N]`.
      prediction: predicted class of each point, `[N]`.
      class_names: names of the classes.

    Returns:
      A matplotlib figure with two axes: truth and prediction.

    Raises:
      InputError: no points, lengths that differ, or a class without a name.
    """
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    truth = _classes("truth", truth, len(points), class_names)
    prediction = _classes("prediction", prediction, len(points), class_names)
    image, depth = project(np.asarray(points)[:, :3])
    order = np.argsort(-depth)
    middle = (image.min(0) + image.max(0)) / 2
    half = np.maximum(1.1 * (image.max(0) - middle), 1e-6)
    # Neither a picture of a tall body nor one of a flat room wastes the column.
    half = np.maximum(half, 0.75 * half[::-1])
    wrong = (prediction != truth) & (truth >= 0)
    circles = _circles(image[wrong], smallest=0.08 * half.max())
    used = np.unique(np.concatenate([truth, prediction]))
    used = used[used >= 0]
    looks = [_point_look(label) for label in used]
    handles = [_marker(look["marker"], mfc=look["c"], mec="none") for look in looks]
    names = [str(class_names[k]) for k in used]
    if circles:
        handles.append(_marker("o", mfc="none", mec="crimson", mew=1.0, ms=6))
        names.append("wrong points")
    columns = _columns_of(names)
    height = 0.5 * _WIDTH * half[1] / half[0]
    figure = _figure(0.3 + height + 0.15 * -(-len(names) // columns))
    size = float(np.clip(4000 / len(points), 1.5, 6))
    share = 100 * wrong.sum() / max(1, (truth >= 0).sum())
    for place, (title, labels) in enumerate(
        (("truth", truth), (f"prediction ({share:.1f}% wrong)", prediction))
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        for label in (-1, *used):
            own = order[np.maximum(labels[order], -1) == label]
            axes.scatter(*image[own].T, s=size, linewidths=0, **_point_look(label))
        for center, radius in circles:
            circle = Circle(center, radius, fill=False, edgecolor="crimson", linewidth=0.9)
            # On dark points only the white rim shows in gray print.
            circle.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
            axes.add_patch(circle)
        axes.set_xlim(middle[0] - half[0], middle[0] + half[0])
        axes.set_ylim(middle[1] - half[1], middle[1] + half[1])
        axes.set_aspect("equal")
        axes.axis("off")
        # A wide title must not make its picture smaller than the other.
        axes.set_title(title, fontsize=_SMALL, pad=2, in_layout=False, y=1.0)
    _legend(figure, (handles, names), "outside lower center", columns)
    return figure


def _figure(height: float) -> Any:
    """An empty figure as wide as a column, with a canvas that measures text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Any, xlabel: str, ylabel: str, grid: str = "") -> None:
    """Labels axes legibly and removes what carries no information."""
    axes.set_xlabel(xlabel, fontsize=_TEXT)
    axes.set_ylabel(ylabel, fontsize=_TEXT)
    axes.tick_params(labelsize=_SMALL, length=2.5, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=_PALE, linewidth=0.5)


def _legend(figure: Any, entries: tuple[list[Any], list[str]], place: str, columns: int) -> None:
    handles, names = entries
    figure.legend(
        handles, names, loc=place, ncols=columns, fontsize=_SMALL, frameon=False, handlelength=2.2,
        columnspacing=1.0, handletextpad=0.5, labelspacing=0.3, borderpad=0.1,
    )  # fmt: skip


def _columns_of(names: Sequence[str]) -> int:
    """The largest number of legend columns, at most four, whose names fit into the width."""
    # About 60 characters fit, and a handle with its gaps takes six. Columns are filled in turn.
    for columns in (4, 3, 2):
        lines = -(-len(names) // columns)
        parts = [names[i : i + lines] for i in range(0, len(names), lines)]
        if sum(max(map(len, part)) + 6 for part in parts) <= 60:
            return len(parts)
    return 1


def _marker(marker: str, **look: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, **{"ms": 4.5, **look})


def _check(rows: Sequence[Mapping[str, Any]], *names: str) -> None:
    if not len(rows):
        raise InputError("There are no rows to draw.")
    for row in rows:
        missing = [name for name in names if name not in row]
        if missing:
            raise InputError(f"The row {dict(row)} has no {', '.join(missing)}.")


def _classes(
    what: str, labels: np.ndarray, length: int | None, class_names: Sequence[str]
) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or len(labels) != (length or len(labels)):
        raise InputError(
            f"{what} must hold {length or 'some'} classes in one axis, its shape is {labels.shape}."
        )
    if labels.max() >= len(class_names):
        raise InputError(
            f"{what} holds the class {labels.max()}, but there are {len(class_names)} class names."
        )
    return labels


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
        text = Text(0, 0, str(rows[place]["arm"]), figure=figure, fontsize=_SMALL)
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
            fontsize=_SMALL, arrowprops=arrow if leader.max() > 10 * dots else None,
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


def _runs(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Label, first frame and end frame (exclusive) of each run of equal labels."""
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    ends = np.r_[starts[1:], len(labels)]
    return [(int(labels[a]), int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def _action(label: int, corner: tuple[float, float], width: float, height: float) -> Any:
    """The rectangle of one action."""
    from matplotlib.patches import Rectangle

    shape = Rectangle(
        corner, width, height, facecolor=_FILLS[label % len(_FILLS)], edgecolor=_INK,
        linewidth=0.4, hatch=_HATCHES[label % len(_HATCHES)],
    )  # fmt: skip
    shape.set_hatch_linewidth(0.5)
    return shape


def _point_look(label: int) -> dict[str, Any]:
    if label < 0:
        return {"c": _PALE, "marker": "."}
    return {"c": COLORS[label % len(COLORS)], "marker": _MARKERS[label % len(_MARKERS)]}


def _circles(points: np.ndarray, smallest: float) -> list[tuple[tuple[float, float], float]]:
    """Centers and radii of at most `MOST_CIRCLES` circles that surround all points `[n, 2]`.

    Each next center is the point farthest from all centers so far, until none is farther than
    `smallest` (Gonzalez, Theoretical Computer Science 38, 1985).
    """
    if not len(points):
        return []
    centers = [int(np.linalg.norm(points - points.mean(0), axis=1).argmin())]
    distances = [np.linalg.norm(points - points[centers[0]], axis=1)]
    while len(centers) < MOST_CIRCLES and (nearest := np.min(distances, 0)).max() > smallest:
        centers.append(int(nearest.argmax()))
        distances.append(np.linalg.norm(points - points[centers[-1]], axis=1))
    owner = np.argmin(distances, 0)
    circles = []
    for k in range(len(centers)):
        own = points[owner == k]
        x, y = (own.min(0) + own.max(0)) / 2
        radius = float(np.linalg.norm(own - (x, y), axis=1).max())
        circles.append(((float(x), float(y)), radius + smallest / 2))
    return circles

"""Figures of labels: the timelines of a video, and clouds with their errors circled.

Every function takes plain data and returns a matplotlib figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.viz.clips import project
from pointata_jax.viz.look import (
    COLORS,
    FILLS,
    HATCHES,
    INK,
    MARKERS,
    PALE,
    SMALL,
    WIDTH,
    add_legend,
    dress,
    legend_columns,
    legend_marker,
    new_figure,
)

MOST_CIRCLES = 12
"""Largest number of circles round wrong points."""


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
    columns = legend_columns(names)
    figure = new_figure(0.5 + 0.24 * len(sequences) + 0.15 * -(-len(names) // columns))
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
    dress(axes, "frame", "")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    add_legend(figure, (handles, names), "outside lower center", columns)
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
    handles = [legend_marker(look["marker"], mfc=look["c"], mec="none") for look in looks]
    names = [str(class_names[k]) for k in used]
    if circles:
        handles.append(legend_marker("o", mfc="none", mec="crimson", mew=1.0, ms=6))
        names.append("wrong points")
    columns = legend_columns(names)
    height = 0.5 * WIDTH * half[1] / half[0]
    figure = new_figure(0.3 + height + 0.15 * -(-len(names) // columns))
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
        axes.set_title(title, fontsize=SMALL, pad=2, in_layout=False, y=1.0)
    add_legend(figure, (handles, names), "outside lower center", columns)
    return figure


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


def _runs(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Label, first frame and end frame (exclusive) of each run of equal labels."""
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    ends = np.r_[starts[1:], len(labels)]
    return [(int(labels[a]), int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def _action(label: int, corner: tuple[float, float], width: float, height: float) -> Any:
    """The rectangle of one action."""
    from matplotlib.patches import Rectangle

    shape = Rectangle(
        corner, width, height, facecolor=FILLS[label % len(FILLS)], edgecolor=INK,
        linewidth=0.4, hatch=HATCHES[label % len(HATCHES)],
    )  # fmt: skip
    shape.set_hatch_linewidth(0.5)
    return shape


def _point_look(label: int) -> dict[str, Any]:
    if label < 0:
        return {"c": PALE, "marker": "."}
    return {"c": COLORS[label % len(COLORS)], "marker": MARKERS[label % len(MARKERS)]}


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

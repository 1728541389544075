"""One HTML page about one run: scores, curves, confusions, alignment, and examples to play.

The page only shows what is in the run folder and what it is given; it computes nothing with the
model. Parts that a run does not have are left out.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.metrics.segmentation import iou_per_class
from pointata_jax.training.run_folder import RunFolder
from pointata_jax.viz.video import class_color, video_fragment, write_page

MOST_OF_EACH = 4
"""Largest number of right and of wrong clips that are shown."""

_CLIP_BYTES = 6_000_000  # of all clips together, in the page
_BYTES_PER_POINT = 8 * 4 / 3  # int16 coordinates, label and error, in base64
_LARGEST_SVG = 1_000_000
_INK, _BLUE, _ORANGE = "#222222", class_color(0), class_color(1)

_ALIGNMENT = {
    "otdd": ("OTDD to the 3D shapes", 1),
    "gap": ("gap: OTDD with permuted labels − with true labels", 2),
    "offset": ("offset of the means, in deviations of the shapes", 3),
    "deviation": ("deviation of the features, in deviations of the shapes", 3),
    "label_fit": ("labels that the frozen backbone's features explain, %", 1),
}
_STATES = {"initial": "before", "moments": "moments matched", "kept": "after"}
_UNITS = {"clip": "videos", "frame": "frames", "point": "points"}


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleClip:
    """A clip to play in the report.

    Attributes:
      title: name of the video.
      frames: T frames `[n, 3+C]`.
      true: class of the clip; "" where classes are those of frames or points.
      predicted: predicted class of the clip.
      right: whether the prediction is right; None where classes are those of frames or points.
      labels: predicted class of each point, `[n]` for each frame; None: color by height.
      errors: for each frame, which points `[n]` are wrong; None: none is marked.
    """

    title: str
    frames: Sequence[np.ndarray]
    true: str = ""
    predicted: str = ""
    right: bool | None = None
    labels: Sequence[np.ndarray] | None = None
    errors: Sequence[np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """The classes of the frames of one video.

    Attributes:
      title: name of the video.
      true: `[T]`, negative for frames without a label.
      predicted: `[T]`.
    """

    title: str
    true: np.ndarray
    predicted: np.ndarray


def report_html(
    run_folder: str | os.PathLike,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str] = (),
    confusion: np.ndarray | None = None,
    clips: Sequence[ExampleClip] = (),
    timelines: Sequence[Timeline] = (),
    alignment_figure: Any = None,
    split: str = "test",
) -> None:
    """Writes the report of a run as one HTML file of at most about 10 MB that loads nothing else.

    Args:
      run_folder: the folder of the run. It need not have finished, and stage 1 need not have run.
      path: the file. Its folder is made if it does not exist.
      class_names: names of the classes; empty: those of the stored scores.
      confusion: numbers `[true, predicted]` of videos, frames or points.
      clips: examples to play. Of right ones and of wrong ones, the first `MOST_OF_EACH` are shown.
        Long clips are shown with fewer points, and their captions say so.
      timelines: true and predicted classes of the frames of some videos.
      alignment_figure: a matplotlib figure about stage 1, such as `comparison.plot_alignment`.
      split: which videos `confusion`, `clips` and `timelines` show.

    Raises:
      InputError: matplotlib is not installed, the folder holds no run, what is given does not fit
        the classes, or the file cannot be written.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            "the report needs matplotlib, which is not installed; run pip install "
            "'pointata-jax[viz]'."
        ) from None
    run = RunFolder.open(run_folder)
    log, result = run.read_log(), run.read_result() or {}
    task = run.settings.get("task")
    task = task if isinstance(task, dict) else {}
    kind = task.get("kind", "clip")
    evaluations = [row for row in log if row.get("kind") == "eval"]
    test = result.get("test")
    stored = (test if isinstance(test, dict) else {}).get("per_class")
    if not stored:
        stored = next((row["per_class"] for row in evaluations[::-1] if "per_class" in row), {})
    names = [str(name) for name in class_names or stored]
    if confusion is not None:
        confusion = np.asarray(confusion)
        names = names or [f"class {k}" for k in range(len(confusion))]
        _check_confusion(confusion, names)
    folder = pathlib.Path(run_folder).resolve().name
    body = [
        f'<main><header><p class="kicker">Run report · {html.escape(run.task)}</p>'
        f"<h1>{html.escape(folder)}</h1>{_headline(run, result, log)}</header>",
        _training(log, evaluations, result, task),
        _classes(kind, names, confusion, test, split),
        _examples(clips, names, split, str((task.get("clip") or {}).get("up_axis", "y"))),
        _timelines(timelines, names, split),
        _stage_1(run_folder, alignment_figure),
        _settings(run, result),
        "</main>",
    ]
    write_page(path, f"{folder} – run report", "\n".join(filter(None, body)), _STYLE)


def _headline(run: RunFolder, result: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> str:
    """The result in sentences, and the figures of the run."""
    sentences, trained = [], "kept_step" in result
    if not result:
        last = max((row.get("step", 0) for row in log), default=0)
        sentences.append(f"This run has not finished; its log ends at step {last:,}.")
    if isinstance(result.get("test"), dict):
        sentences.append(_score_sentence(result["test"], "test"))
    elif trained:
        sentences.append("The test videos were not scored.")
    if isinstance(result.get("validation"), dict):
        sentences.append(_score_sentence(result["validation"], "validation"))
        chosen = str(result.get("chosen_by") or "").replace("_", " ")
        if chosen and "kept_step" in result:
            sentences.append(f"Step {result['kept_step']:,} was kept for its {chosen}.")
    elif trained:
        sentences.append("There was no validation part, so the last step was kept.")
    if missing := result.get("classes_not_in_training"):
        sentences.append(f"Training had no video of {', '.join(missing)}.")
    lead, *rest = [text for text in sentences if text] or ["The run folder holds no scores."]
    facts: list[tuple[str, str]] = []
    if "tuning" in result:
        stage_1 = "after stage 1" if result.get("stage_1") else "without stage 1"
        facts.append(("tuning", f"{result['tuning']}, {stage_1}"))
    if parameters := result.get("parameters"):
        trained, total = parameters["trainable"], parameters["total"]
        facts.append(("trained", f"{trained:,} of {total:,} ({100 * trained / total:.1f}%)"))
    if "num_train_videos" in result:
        facts.append(("training videos", f"{result['num_train_videos']:,}"))
    if result.get("train_accuracy") is not None:
        facts.append(("training accuracy", f"{result['train_accuracy']:.1f}%"))
    if "steps" in result and "batch_size" in result:
        facts.append(("steps", f"{result['steps']:,} of {result['batch_size']} clips"))
    if (seconds := result.get("seconds_per_step")) and "steps" in result:
        facts.append(("time of the steps", f"{_duration(seconds * result['steps'])}"))
    if result.get("peak_memory_mb"):
        facts.append(("peak memory", f"{result['peak_memory_mb'] / 1024:.1f} GiB"))
    for name in ("device", "seed"):
        if name in result:
            facts.append((name, str(result[name])))
    shown = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in facts
    )
    return (
        f'<p class="lead">{html.escape(lead)}</p>'
        + (f"<p>{html.escape(' '.join(rest))}</p>" if rest else "")
        + (f'<dl class="facts">{shown}</dl>' if shown else "")
    )


def _score_sentence(scores: Mapping[str, Any], split: str) -> str:
    """The main score with its denominator; "" for scores of an unknown kind."""
    if scores.get("video_accuracy") is not None:
        share, count = scores["video_accuracy"], scores["num_videos"]
        right = round(share * count / 100)
        return f"{share:.1f}% of the {split} videos are recognized ({right:,} of {count:,})."
    if scores.get("frame_accuracy") is not None:
        further = ", ".join(
            f"{label} {scores[name]:.1f}"
            for name, label in (("edit", "edit score"), ("f1@50", "F1@50"))
            if scores.get(name) is not None
        )
        return (
            f"{scores['frame_accuracy']:.1f}% of {scores['num_frames']:,} frames of "
            f"{scores['num_videos']:,} {split} videos have the right class"
            f"{f' ({further})' if further else ''}."
        )
    if scores.get("mean_iou") is not None:
        return (
            f"The mean IoU is {scores['mean_iou']:.1f}% over {scores['num_classes']} classes and "
            f"{scores['num_points']:,} {split} points."
        )
    return ""


def _training(
    log: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    task: Mapping[str, Any],
) -> str:
    """Curves of the log, with the step that was kept."""
    rows = [row for row in log if row.get("kind") == "train"]
    if not rows and not evaluations:
        return ""
    kept = result.get("kept_step")
    score = str(result.get("chosen_by") or task.get("score") or "")
    loss = {"training loss": _curve(rows, "loss")}
    scores = {"training accuracy": _curve(rows, "accuracy")}
    validation = f"validation {score.replace('_', ' ')}"
    scores[validation] = _curve(evaluations, score)
    pictures = [
        _plot(loss, "loss", kept, "Training loss by step"),
        _plot(scores, "%", kept, "Training accuracy and validation score by step"),
    ]
    note = (
        "Each point of a training curve is the mean over the steps since the last one, in training "
        "mode (dropout, augmentation)."
    )
    return _section("Training", f'<div class="pair">{"".join(pictures)}</div>', note)


def _classes(
    kind: str,
    names: Sequence[str],
    confusion: np.ndarray | None,
    test: Mapping[str, Any] | None,
    split: str,
) -> str:
    """A table by class, and the confusion matrix."""
    scores: list[tuple[str, float | None]] = []
    if confusion is not None:
        totals = confusion.sum(1)
        with np.errstate(invalid="ignore"):
            values = iou_per_class(confusion) if kind == "point" else confusion.diagonal() / totals
        values = np.where(totals > 0, 100 * values, np.nan)
        pairs = zip(names, values, strict=True)
        scores = [(name, None if np.isnan(value) else float(value)) for name, value in pairs]
    elif isinstance(test, dict) and "per_class" in test:
        scores, split = list(test["per_class"].items()), "test"
    if not scores:
        return ""
    rows = []
    for k, (name, value) in enumerate(scores):
        cells = [f"<td>{html.escape(str(name))}</td>"]
        if value is None:
            cells.append('<td class="number">–</td><td></td>')
        else:
            cells.append(
                f'<td class="number">{value:.1f}</td>'
                f'<td class="bar"><i style="width:{max(0.0, min(100.0, value)):.1f}%"></i></td>'
            )
        if confusion is not None:
            others = np.where(np.arange(len(names)) == k, 0, confusion[k])
            most = int(others.argmax())
            text = f"{names[most]} ({others[most]:,})" if others[most] else "–"
            cells.append(f'<td class="number">{confusion[k].sum():,}</td>')
            cells.append(f"<td>{html.escape(text)}</td>")
        rows.append((101.0 if value is None else value, f"<tr>{''.join(cells)}</tr>"))
    rows.sort(key=lambda row: row[0])
    units = _UNITS.get(kind, "samples")
    measure = "IoU" if kind == "point" else "accuracy"
    more = f"<th>{units}</th><th>most confused with</th>" if confusion is not None else ""
    table = (
        f'<div class="wide"><table><thead><tr><th>class</th><th>{measure}, %</th><th></th>{more}'
        f"</tr></thead><tbody>{''.join(row for _, row in rows)}</tbody></table></div>"
    )
    if confusion is None:
        return _section(f"Classes of the {split} videos", table, "The worst class is first.")
    picture = _confusion_picture(confusion, names)
    note = (
        f"{int(confusion.sum()):,} {units}. The shade of a cell is its share of the true class. "
        "In the table, the worst class is first."
    )
    return _section(f"Classes of the {split} videos", f"{picture}{table}", note)


def _confusion_picture(confusion: np.ndarray, names: Sequence[str]) -> str:
    count = len(names)
    # In inches. A matrix of 60 classes fills the page.
    cell = 0.36 if count <= 24 else max(0.1, min(0.2, 8.7 / count))
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    written = np.argwhere(confusion > 0) if count <= 24 and confusion.max() < 10_000 else ()
    short = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
    size = 8 if count <= 24 else min(8.0, 45 * cell)

    def draw() -> Any:
        # Room for the names is added by the tight bounding box.
        figure, axes = _axes(cell * count, cell * count)
        edges = np.arange(count + 1) - 0.5
        # The palest blue is darker than white, so that a single error is seen.
        shades = np.ma.masked_where(confusion == 0, 0.12 + 0.8 * shares)
        axes.pcolormesh(edges, edges, shades, cmap="Blues", vmin=0, vmax=1, rasterized=True)
        for y, x in written:
            axes.text(
                x, y, str(confusion[y, x]), ha="center", va="center", fontsize=7,
                color="white" if shares[y, x] > 0.5 else _INK,
            )  # fmt: skip
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        axes.set_xticks(range(count), short, rotation=90, fontsize=size)
        axes.set_yticks(range(count), short, fontsize=size)
        axes.tick_params(length=0, pad=3)
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color="#e4e4e4", linewidth=0.4)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_color("#bbbbbb")
        axes.set_xlabel("predicted", fontsize=9)
        axes.set_ylabel("true", fontsize=9)
        return figure

    return f'<div class="wide">{_picture(draw, "Confusion matrix")}</div>'


def _examples(clips: Sequence[ExampleClip], names: Sequence[str], split: str, up_axis: str) -> str:
    """Players of the examples: right ones, wrong ones, then those with classes of points."""
    shown = [clip for clip in clips if clip.right is None]
    for right in (False, True):
        shown = [clip for clip in clips if clip.right is right][:MOST_OF_EACH] + shown
    if not shown:
        return ""
    budget = int(_CLIP_BYTES / _BYTES_PER_POINT / len(shown))
    cards = []
    for clip in shown:
        told = []
        if clip.right is not None:
            mark = "right" if clip.right else "wrong"
            told.append(
                f'<b class="{mark}">{mark}</b> true: {html.escape(clip.true)} · predicted: '
                f"{html.escape(clip.predicted)}"
            )
        total = sum(map(len, clip.frames))
        if clip.errors is not None:
            wrong = sum(int(np.sum(frame)) for frame in clip.errors)
            told.append(
                f"{wrong:,} of {total:,} points are wrong ({100 * wrong / max(total, 1):.1f}%)."
            )
        if total > budget:
            clip = _thinned(clip, budget / total)
            told.append(f"{100 * budget / total:.0f}% of the points are drawn.")
        player = video_fragment(
            clip.frames,
            labels=clip.labels,
            class_names=names,
            errors=clip.errors,
            title=clip.title,
            up_axis=up_axis if up_axis in ("x", "y", "z") else "y",
        )
        cards.append(f'<article>{player}<p class="told">{" ".join(told)}</p></article>')
    counts = [sum(clip.right is right for clip in clips) for right in (True, False)]
    note = "Drag to turn, Ctrl + wheel to zoom, double click for the first view."
    if any(count > MOST_OF_EACH for count in counts):
        note += f" The first {MOST_OF_EACH} of {counts[0]} right and {counts[1]} wrong clips."
    return _section(
        f"Examples of the {split} videos", f'<div class="cards">{"".join(cards)}</div>', note
    )


def _thinned(clip: ExampleClip, share: float) -> ExampleClip:
    """The clip with a random part of the points of each frame."""
    rng = np.random.default_rng(0)
    chosen = [
        rng.permutation(len(frame))[: max(1, int(share * len(frame)))] for frame in clip.frames
    ]

    def part(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(array)[rows] for array, rows in zip(arrays, chosen, strict=True)]

    return dataclasses.replace(
        clip,
        frames=part(clip.frames),
        labels=None if clip.labels is None else part(clip.labels),
        errors=None if clip.errors is None else part(clip.errors),
    )


def _timelines(timelines: Sequence[Timeline], names: Sequence[str], split: str) -> str:
    if not timelines:
        return ""
    from pointata_jax.viz.labels import plot_timelines

    parts = []
    for line in timelines:
        true, predicted = np.asarray(line.true), np.asarray(line.predicted)
        used = names or [f"class {k}" for k in range(max(true.max(), predicted.max()) + 1)]
        picture = _picture(
            lambda t=true, p=predicted, n=used: plot_timelines(t, {"predicted": p}, n),
            f"True and predicted classes of {line.title}",
        )
        counted = true >= 0
        right = int((true == predicted)[counted].sum())
        total = int(counted.sum())
        share = (
            f": {right:,} of {total:,} frames right ({100 * right / total:.1f}%)" if total else ""
        )
        parts.append(f"<article><h3>{html.escape(line.title)}{share}</h3>{picture}</article>")
    return _section(
        f"Timelines of the {split} videos", f'<div class="cards">{"".join(parts)}</div>'
    )


def _stage_1(run_folder: str | os.PathLike, figure: Any) -> str:
    """How stage 1 changed the distance to the source features."""
    path = pathlib.Path(run_folder)
    if not (path / "align" / "config.json").is_file():
        return ""
    run = RunFolder.open(path, stage="align")
    result = run.read_result() or {}
    history = result.get("history") or [r for r in run.read_log() if r.get("kind") == "eval"]
    kept = 0 if result.get("kept_initial") else result.get("kept_step")
    reports = {_STATES[k]: v for k, v in (result.get("held_out") or {}).items() if k in _STATES}
    sentences = []
    if not result:
        sentences.append("Stage 1 has not finished.")
    if {"before", "after"} <= reports.keys() and "otdd" in reports["after"]:
        before, after = reports["before"]["otdd"], reports["after"]["otdd"]
        if before is not None and after is not None:
            sentences.append(
                f"The OTDD between {result.get('num_held_out_clips', 0):,} held-out clips and "
                f"{result.get('num_source_shapes', 0):,} 3D shapes was {before:.1f} before "
                f"alignment and is {after:.1f} after it."
            )
    if result.get("kept_initial"):
        sentences.append("The initial embedder was kept, because no trained one was better.")
    if result.get("stopped"):
        sentences.append(f"It stopped early: {result['stopped']}.".replace("..", "."))
    pictures = "".join(
        _plot({"held-out clips": _curve(history, name)}, label, kept, f"{label} by step")
        for name, label in (("otdd", "OTDD"), ("label_fit", "labels explained, %"))
    )
    lines = [
        f"<tr><td>{html.escape(label)}</td>"
        + "".join(f'<td class="number">{_number(r.get(name), d)}</td>' for r in reports.values())
        + "</tr>"
        for name, (label, d) in _ALIGNMENT.items()
        if any(name in report for report in reports.values())
    ]
    table = ""
    if lines:
        head = "".join(f"<th>{state}</th>" for state in reports)
        table = (
            f'<div class="wide"><table><thead><tr><th>held-out clips</th>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )
    given = (
        _picture(lambda: figure, "Features before and after alignment")
        if figure is not None
        else ""
    )
    text = f"<p>{html.escape(' '.join(sentences))}</p>" if sentences else ""
    body = f'{text}<div class="pair">{pictures}</div>{table}{given}'
    note = (
        "OTDD is the optimal transport dataset distance. It falls by a mere shift of the means "
        "too, so the gap and the labels explained say whether classes are aligned."
    )
    return _section("Alignment (stage 1)", body, note)


def _settings(run: RunFolder, result: Mapping[str, Any]) -> str:
    versions = result.get("versions") or {}
    text = json.dumps(run.settings, indent=1, ensure_ascii=False)
    body = f"<details><summary>All settings</summary><pre>{html.escape(text)}</pre></details>"
    if versions:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        body = f"<p>{html.escape(listed)}</p>{body}"
    return _section("Versions and settings", body)


def _section(title: str, body: str, note: str = "") -> str:
    note = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(title)}</h2>{note}{body}</section>"


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a figure of the log. Values that were not finite are null there."""
    found = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in found], [np.nan if v is None else float(v) for _, v in found]


def _plot(
    curves: Mapping[str, tuple[list[int], list[float]]], label: str, kept: int | None, alt: str
) -> str:
    """A picture of curves by step; "" if there are no values."""
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve[1]).any()}
    if not curves:
        return ""

    def draw() -> Any:
        figure, axes = _axes(4.4, 2.6)
        for (name, (steps, values)), color in zip(curves.items(), (_BLUE, _ORANGE), strict=False):
            # Few values, such as those of validation, would hide behind other lines.
            marker = {"marker": "o", "ms": 4, "zorder": 3} if len(steps) <= 12 else {}
            axes.plot(steps, values, color=color, lw=1.4, label=name, **marker)
        if kept is not None:
            axes.axvline(kept, color=_INK, lw=0.9, ls=(0, (3, 3)), label=f"kept: step {kept:,}")
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel(label, fontsize=9)
        axes.tick_params(labelsize=8.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
        axes.legend(
            fontsize=8.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2,
            borderaxespad=0.2, columnspacing=1.2, handlelength=1.6,
        )  # fmt: skip
        return figure

    return _picture(draw, alt)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure and axes of this size in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes((0, 0, 1, 1))


def _picture(draw: Callable[[], Any], alt: str) -> str:
    """The figure that `draw` makes as an image in the page: SVG, or PNG if that is large."""
    import matplotlib

    # Names of classes are no formulas, and the browser has letters that matplotlib's font lacks.
    style: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none"}
    look = {"bbox_inches": "tight", "pad_inches": 0.04, "dpi": 200}
    with matplotlib.rc_context(style):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure = draw()
            form, file = "svg+xml", io.BytesIO()
            figure.savefig(file, format="svg", metadata={"Date": None}, **look)
        if file.tell() > _LARGEST_SVG:
            form, file = "png", io.BytesIO()
            figure.savefig(file, format="png", **look)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/{form};base64,{data}" alt="{html.escape(alt)}">'


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _check_confusion(confusion: np.ndarray, names: Sequence[str]) -> None:
    if confusion.shape != (len(names), len(names)) or confusion.dtype.kind not in "iu":
        raise InputError(
            f"confusion is {confusion.dtype} of shape {confusion.shape}; it must hold integers, "
            f"one row and one column for each of the {len(names)} classes."
        )
    if confusion.min() < 0:
        raise InputError("confusion holds negative numbers; it must hold counts.")


_STYLE = """
main { max-width: 1000px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 4px; padding-top: 12px; border-top: 1px solid #ddd; }
h3 { font-size: 15px; margin: 8px 0; overflow-wrap: anywhere; }
p { margin: 0 0 10px; max-width: 46em; overflow-wrap: anywhere; }
.kicker, .note, .told { color: #666; font-size: 14px; }
.kicker { margin: 0; }
.lead { font-size: 20px; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr));
  gap: 10px 20px; margin: 16px 0 0; }
.facts dt { color: #666; font-size: 13px; }
.facts dd { margin: 0; font-size: 15px; overflow-wrap: anywhere; }
.pair, .cards { display: grid; gap: 20px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
.pair img, .cards article > img, section > img { width: 100%; max-width: 560px; height: auto; }
.cards article { min-width: 0; break-inside: avoid; }
.wide { overflow-x: auto; margin: 8px 0 16px; }
table { border-collapse: collapse; font-size: 14px; }
th, td { text-align: left; padding: 3px 16px 3px 0; border-bottom: 1px solid #eee;
  vertical-align: top; }
th { color: #666; font-weight: 500; border-color: #bbb; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 110px; }
td.bar i { display: block; height: 9px; margin-top: 7px; background: #0072b2; }
b.right { color: #00795a; }
b.wrong { color: #c2123b; }
pre { font-size: 12.5px; line-height: 1.4; overflow-x: auto; background: #f6f6f6; padding: 12px; }
summary { cursor: pointer; }
@media print { main { max-width: none; padding: 0; } img { break-inside: avoid; } }
"""

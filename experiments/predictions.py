"""Predictions of recordings as lines, files and a page."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.data.recordings import Recording
from pointata_jax.serving.predictor import Predictor
from pointata_jax.training.run_folder import write_json, write_text

SUFFIXES = (".json", ".csv")
"""Endings of the files of `write`."""

MOST_SHOWN = 8
"""Recordings on a page."""

_MOST_FRAMES, _MOST_POINTS = 300, 4096  # of a recording on a page
_MOST_SEGMENTS = 12  # in a line


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The result of one recording.

    Attributes:
      place: the recording.
      kind: what has a class, "clip", "frame" or "point".
      result: of `Predictor.predict`, or {"error": the sentence}.
      times: seconds of the frames, where the format has them.
    """

    place: Path
    kind: str
    result: dict[str, Any]
    times: list[float] | None = None


def line(prediction: Prediction, class_names: Sequence[str]) -> str:
    """One line for a person."""
    result = prediction.result
    if prediction.kind == "clip":
        (label, first), *others = _ranked(result)
        second = f" (then {others[0][0]}, {100 * others[0][1]:.1f} %)" if others else ""
        return f"{prediction.place}: {label}, {100 * first:.1f} %{second}"
    if prediction.kind == "frame":
        segments = [f"{start}-{stop - 1} {name}" for start, stop, name in _segments(prediction)]
        more = f", … ({len(segments)} segments)" if len(segments) > _MOST_SEGMENTS else ""
        return f"{prediction.place}: {', '.join(segments[:_MOST_SEGMENTS])}{more}"
    counts = _class_counts(result, len(class_names))
    shares = [
        f"{class_names[i]} {100 * counts[i] / counts.sum():.1f} %"
        for i in np.argsort(-counts, kind="stable")
        if counts[i]
    ]
    return f"{prediction.place}: {', '.join(shares)}"


def write(path: Path, found: Sequence[Prediction], class_names: Sequence[str]) -> None:
    """Writes all results.

    JSON holds everything but the labels of points. A CSV table has a row per recording, segment of
    a timeline, or class of the points of a recording.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        write_json(path, [_content(prediction, class_names) for prediction in found])
        return
    rows = [row for prediction in found for row in _rows(prediction, class_names)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    content = io.StringIO()
    writer = csv.DictWriter(content, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, content.getvalue())


def write_clouds(folder: Path, recording: Recording, labels: Sequence[np.ndarray]) -> None:
    """Writes the frames as PLY files with the columns of the recording and a column `class`."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(labels) - 1))
    kinds = [(name, "<f8" if i < 3 else "<f4") for i, name in enumerate(recording.columns)]
    kinds.append(("class", "<i4"))
    types = {"<f8": "double", "<f4": "float", "<i4": "int"}
    properties = "".join(f"property {types[kind]} {name}\n" for name, kind in kinds)
    for index, (values, classes) in enumerate(zip(recording.frames, labels, strict=True)):
        rows = np.empty(len(values), kinds)
        for column, name in enumerate(recording.columns):
            rows[name] = values[:, column]
        rows["class"] = classes
        head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}"
        path = folder / f"{index:0{digits}}.ply"
        path.write_bytes(f"{head}end_header\n".encode("ascii", "replace") + rows.tobytes())


def write_page(
    path: str, shown: Iterable[tuple[Prediction, Iterable[np.ndarray]]], predictor: Predictor
) -> None:
    """Writes a page on which the recordings play, at most `_MOST_POINTS` points of a frame.

    Args:
      path: the HTML file.
      shown: predictions and the frames of their recordings.
      predictor: what predicted them.
    """
    from pointata_jax.viz import video

    clips = []
    for prediction, frames in shown:
        result = prediction.result
        total = sum(1 for _ in frames)
        every = -(-total // _MOST_FRAMES)
        kept, parts = [], []
        for index, values in enumerate(frames):
            if index % every:
                continue
            chosen = np.arange(len(values))
            if len(values) > _MOST_POINTS:
                rng = np.random.default_rng(index)
                chosen = np.sort(rng.choice(len(values), _MOST_POINTS, replace=False))
            kept.append(values[chosen, :3])
            if prediction.kind == "point":
                parts.append(np.asarray(result["point_labels"][index])[chosen])
        labels: Any = None
        if prediction.kind == "point":
            labels = parts
        elif prediction.kind == "frame":
            names = [predictor.class_names.index(name) for name in result["frame_labels"]]
            labels = np.array(names)[::every]
        times = prediction.times
        clips.append(
            video.video_fragment(
                kept,
                labels=labels,
                class_names=predictor.class_names,
                title=line(prediction, predictor.class_names),
                times=times[::every] if times and len(times) == total else None,
                up_axis=predictor.task.clip.up_axis,
            )
        )
    video.write_page(path, "Predictions", f'<main class="one-clip">{"".join(clips)}</main>')


def _ranked(result: dict[str, Any]) -> list[tuple[str, float]]:
    return sorted(result["probabilities"].items(), key=lambda entry: -entry[1])


def _segments(prediction: Prediction) -> Iterator[tuple[int, int, str]]:
    """First frame, frame after the last, and class of each run of equal frames."""
    start = 0
    for name, group in itertools.groupby(prediction.result["frame_labels"]):
        stop = start + sum(1 for _ in group)
        yield start, stop, name
        start = stop


def _class_counts(result: dict[str, Any], num_classes: int) -> np.ndarray:
    return np.bincount(np.concatenate(result["point_labels"]), minlength=num_classes)


def _content(prediction: Prediction, class_names: Sequence[str]) -> dict[str, Any]:
    result = dict(prediction.result)
    if "point_labels" in result:
        counts = _class_counts(result, len(class_names))
        del result["point_labels"]
        result["points"] = dict(zip(class_names, counts.tolist(), strict=True))
    if prediction.times:
        result["times"] = prediction.times
    return {"recording": str(prediction.place), **result}


def _rows(prediction: Prediction, class_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    name, result = str(prediction.place), prediction.result
    if "error" in result:
        yield {"recording": name, "error": result["error"]}
    elif prediction.kind == "clip":
        (label, first), *others = [*_ranked(result), ("", 0.0)]
        yield {
            "recording": name,
            "label": label,
            "probability": first,
            "runner_up": others[0][0],
            "runner_up_probability": others[0][1],
        }
    elif prediction.kind == "frame":
        times = prediction.times
        for start, stop, label in _segments(prediction):
            row = {"recording": name, "first_frame": start, "last_frame": stop - 1, "label": label}
            if times and len(times) == len(result["frame_labels"]):
                row |= {"first_time": times[start], "last_time": times[stop - 1]}
            yield row
    else:
        counts = _class_counts(result, len(class_names))
        for label, count in zip(class_names, counts.tolist(), strict=True):
            yield {"recording": name, "label": label, "points": count}

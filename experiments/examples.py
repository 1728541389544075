"""Pictures of finished runs of a grid: alignment, timelines of frames, labels of points."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runs
from experiments.grids import Row
from pointata_jax.alignment import standardize
from pointata_jax.data.videos import VideoSource
from pointata_jax.models.p4d import P4DEmbedder, embedder_from_backbone
from pointata_jax.serving.predictor import load_run
from pointata_jax.stages.align import units_of
from pointata_jax.stages.config import TaskConfig
from pointata_jax.stages.task_data import DataPlace, load_split, load_training, spread_clips
from pointata_jax.training.run_folder import RunFolder, load_adapter
from pointata_jax.viz.comparison import plot_alignment
from pointata_jax.viz.labels import plot_labeled_clouds, plot_timelines
from pointata_jax.viz.look import save

CLIPS = 128
"""Held-out clips in the picture of the alignment."""

LARGEST_TIMELINES = 4
"""Arms in a picture of timelines."""


def draw(
    workdir: Path, rows: Sequence[Row], data_dir: str | None, cache_dir: str | None
) -> list[Path]:
    """Draws what the runs with seed 0 show into `<workdir>/figures`; returns the files."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    place = DataPlace(data_dir, cache_dir)
    names = [row.name for row in rows if (workdir / f"{row.name}-s0" / "result.json").is_file()]
    drawn = []
    for name in names:
        if (workdir / f"{name}-s0" / "align" / "result.json").is_file():
            drawn.append(workdir / "figures" / f"alignment-{name}.png")
            save(alignment_figure(workdir / f"{name}-s0", place), drawn[-1])
            break
    first = names[0] if names else ""
    if not first:
        return drawn
    task = TaskConfig.from_dict(RunFolder.open(workdir / f"{first}-s0").settings["task"])
    if task.kind == "clip":
        return drawn
    videos = load_split(task, place, "test")
    if task.kind == "frame":
        return [*drawn, _timelines(workdir, names[:LARGEST_TIMELINES], videos)]
    return [*drawn, _points(workdir, first, videos)]


def alignment_figure(folder: Path, place: DataPlace) -> Any:
    """Distance by step, and held-out features before and after stage 1 beside the bank's.

    Args:
      folder: of a run that has a finished stage 1.
      place: of its data.

    Returns:
      A matplotlib figure.
    """
    run = RunFolder.open(folder, stage="align")
    task = TaskConfig.from_dict(run.settings["task"])
    result = run.read_result()
    assert result is not None
    backbone = runs.open_backbone(run.settings["backbone"]["name"])
    bank = runs.open_source_bank("", backbone)
    data = load_training(task, place)
    assert data.validation is not None
    clips, labels = spread_clips(data.validation, data.clip, CLIPS, training=False)
    embedder = task.model_config(backbone.config, data.train.num_classes).p4d
    if task.embedder_init == "backbone":
        initial = embedder_from_backbone(backbone.variables, embedder, data.clip.colors)
    else:
        key = jax.random.split(jax.random.key(run.settings["seed"]), 3)[0]
        initial = jax.jit(P4DEmbedder(embedder).init)(key, clips[:1])["params"]
    kept = load_adapter(run.adapter_path)[0]["embedder"]

    def features(params) -> tuple[np.ndarray, np.ndarray]:
        units, unit_labels = units_of(embedder, params, clips, labels)
        flat = jnp.asarray(units.reshape(-1, units.shape[-1]))
        return np.asarray(standardize(flat, bank)), unit_labels.reshape(-1)

    before, unit_labels = features(initial)
    history = [(row["step"], row["otdd"]) for row in result.get("history", ()) if "otdd" in row]
    return plot_alignment(
        history or [(0, result["held_out"]["kept"]["otdd"])],
        before,
        features(kept)[0],
        np.asarray(standardize(bank.features, bank)),
        before_labels=unit_labels,
        after_labels=unit_labels,
        source_labels=np.asarray(bank.labels),
    )


def _frames(videos: VideoSource, index: int) -> list[np.ndarray]:
    """The sensor frames of a video."""
    video = videos[index]
    return np.split(video.points, video.offsets[1:-1])


def _timelines(workdir: Path, names: Sequence[str], videos: VideoSource) -> Path:
    """The labels of the first test video, true and predicted by each run."""
    frames = _frames(videos, 0)
    predictions = {}
    for name in names:
        labels = load_run(workdir / f"{name}-s0").predict(frames)["frame_labels"]
        predictions[name] = np.array([videos.label_names.index(label) for label in labels])
    path = workdir / "figures" / "timelines.png"
    truth = np.asarray(videos[0].labels)
    save(plot_timelines(truth, predictions, videos.label_names), path)
    return path


def _points(workdir: Path, name: str, videos: VideoSource) -> Path:
    """The points of the middle frame of the first test video, with true and predicted labels."""
    video, frames = videos[0], _frames(videos, 0)
    middle = len(frames) // 2
    labels = load_run(workdir / f"{name}-s0").predict(frames)["point_labels"][middle]
    truth = video.labels[video.offsets[middle] : video.offsets[middle + 1]]
    figure = plot_labeled_clouds(
        frames[middle][:, :3], truth, np.asarray(labels), videos.label_names
    )
    path = workdir / "figures" / f"points-{name}.png"
    save(figure, path)
    return path

"""Predictions batch by batch equal those of all windows at once, in memory that does not grow."""

from __future__ import annotations

import dataclasses
import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest

from pointata_jax.data.clips import ClipConfig, clip_frames, evaluation_rng, make_clip
from pointata_jax.errors import InputError
from pointata_jax.metrics.classification import softmax
from pointata_jax.serving.predictor import Predictor
from pointata_jax.stages.config import TaskConfig

CLIP = ClipConfig(frames=4, stride=1, eval_stride=3, points=12)


def forward(kind):
    """Logits of three classes from the coordinates alone."""

    def logits(_, clips):
        values = np.stack([clips[..., 0], clips[..., 1] * 2, clips[..., 2] - 0.1], axis=-1)
        return {"point": values, "frame": values.mean(2), "clip": values.mean((1, 2))}[kind]

    return logits


def predictor(kind, clip=CLIP, columns=("x", "y", "z")):
    task = TaskConfig(task="toy", dataset="toy", kind=kind, clip=clip)
    model = types.SimpleNamespace(kind=kind)
    return Predictor(Path("."), task, model, {}, ("a", "b", "c"), columns, forward(kind))


def video(frames=100, least=3, most=30, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(rng.integers(least, most), 3)).astype(np.float32) for _ in range(frames)
    ]


def all_at_once(kind, frames, clip=CLIP):
    """The definition, without batches: means over all windows of a video."""
    points, sizes = np.concatenate(frames), [len(frame) for frame in frames]
    offsets = np.r_[0, np.cumsum(sizes)]
    last = len(frames) - clip.window
    starts = sorted({*range(0, last + 1, clip.eval_stride), last})
    cut = [
        make_clip(
            points,
            offsets,
            start,
            clip,
            (),
            evaluation_rng(start),
            augment=False,
            labels=np.arange(len(points)),
            kind="point",
        )
        for start in starts
    ]
    probabilities = softmax(forward(kind)(None, np.stack([clip for clip, _ in cut])))
    if kind == "clip":
        return probabilities.mean(0)
    if kind == "frame":
        places = np.stack([clip_frames(len(frames), s, clip)[:, 0] for s in starts])
    else:
        places = np.stack([drawn for _, drawn in cut])
    total = np.zeros((len(frames) if kind == "frame" else len(points), 3))
    count = np.zeros(len(total))
    np.add.at(total, places, probabilities)
    np.add.at(count, places, 1)
    if kind == "frame":
        return total / count[:, None]
    labels = []
    for first, end in zip(offsets[:-1], offsets[1:], strict=True):
        inside = first + np.flatnonzero(count[first:end])
        distance = np.linalg.norm(points[first:end, None] - points[inside], axis=-1)
        labels.append(total[inside].argmax(1)[distance.argmin(1)])
    return labels


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_batches_of_windows_change_nothing(stride):
    clip, frames = dataclasses.replace(CLIP, eval_stride=stride), video()
    found = predictor("clip", clip).predict(iter(frames))
    np.testing.assert_allclose(
        list(found["probabilities"].values()), all_at_once("clip", frames, clip)
    )
    found = predictor("frame", clip).predict(frames)
    expected = np.asarray(all_at_once("frame", frames, clip))
    np.testing.assert_allclose(found["frame_probabilities"], expected)
    assert found["frame_labels"] == ["abc"[i] for i in expected.argmax(1)]
    found = predictor("point", clip).predict(frames)
    for labels, wanted in zip(
        found["point_labels"], all_at_once("point", frames, clip), strict=True
    ):
        np.testing.assert_array_equal(labels, wanted)


@pytest.mark.parametrize("kind", ["clip", "frame", "point"])
def test_memory_for_clips_does_not_grow_with_the_video(kind):
    clip = ClipConfig(frames=8, eval_stride=1, points=200)
    run, peaks = predictor(kind, clip), []
    for count in (50, 250):
        frames = video(count, 200, 201)
        tracemalloc.start()
        run.predict(frames)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A frame holds 2.4 kB; its eight clips would take 19 kB more, and its labels for points 5 kB.
    assert (peaks[1] - peaks[0]) / 200 < 12e3


def test_a_body_anywhere_on_a_map_gets_the_same_answer():
    body = [np.random.default_rng(i).normal(size=(12, 3)) for i in range(9)]
    here, there = (
        predictor("clip").predict([frame + place for frame in body])["probabilities"]
        for place in (np.zeros(3), np.array([388096.0, 3948996.0, 40.0]))
    )
    for name, value in here.items():
        assert there[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("kind", ["clip", "frame"])
def test_many_videos_share_batches_and_a_bad_one_stops_nobody(kind):
    model = predictor(kind)
    # 1, 34 and 7 windows, so that batches of 16 end within videos.
    videos = [video(4, seed=1), [], video(105, seed=2), video(2), video(22, seed=3)]
    results = list(model.predict_many(iter(videos)))
    # Frames of a video shorter than a window are labeled; a class of it is not guessed.
    bad = [0, 1, 0, 1 if kind == "clip" else 0, 0]
    assert [isinstance(result, InputError) for result in results] == bad
    for frames, result in zip(videos, results, strict=True):
        if not isinstance(result, InputError):
            alone = model.predict(frames)
            assert result["windows"] == alone["windows"]
            for name, values in alone.items():
                if name.endswith("probabilities"):
                    both = [v if kind == "frame" else [*v.values()] for v in (result[name], values)]
                    np.testing.assert_allclose(both[0], both[1])
                else:
                    assert result[name] == values

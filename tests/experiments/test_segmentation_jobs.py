"""Both stages, evaluation and prediction where frames or points carry the labels."""

import json
import os

import jax
import numpy as np
import pytest

import pointata_jax
from experiments import adapt, align, configs, evaluate
from pointata_jax.data.clips import ClipConfig
from pointata_jax.datasets.registry import load_source
from pointata_jax.models.p4d import P4DConfig, P4DEmbedder
from pointata_jax.stages.align import draw_units, label_units
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

MODEL = ModelSettings(
    anchor_stride=2, num_centers=4, neighbors=4, radius=0.4, bottleneck=8, sce_neighbors=3
)
TASKS = {
    "timelines": TaskConfig(
        task="timelines",
        dataset="synthetic_timelines",
        kind="frame",
        variant="tiny",
        clip=ClipConfig(frames=20, stride=20, eval_stride=16, points=24),
        model=MODEL,
        align=AlignSettings(steps=2, batch_size=8, units=24, report_every=2, report_clips=8),
        adapt=AdaptSettings(steps=4, batch_size=8, eval_every=2),
        score="f1@50",
        needs_data_dir=False,
    ),
    "parts": TaskConfig(
        task="parts",
        dataset="synthetic_parts",
        kind="point",
        variant="tiny",
        clip=ClipConfig(frames=3, stride=3, eval_stride=3, points=48),
        model=MODEL,
        align=AlignSettings(steps=2, batch_size=8, units=24, report_every=2, report_clips=8),
        adapt=AdaptSettings(steps=4, batch_size=8, eval_every=2, class_weights=(1.0,) * 7 + (0.5,)),
        score="mean_iou",
        needs_data_dir=False,
    ),
}


@pytest.fixture(scope="module", params=sorted(TASKS))
def finished(request, place, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configs, "load", TASKS.get)
        workdir = str(tmp_path_factory.mktemp(request.param) / "run")
        align.main(align.Args(task=request.param, workdir=workdir, **place))
        adapt.main(adapt.Args(task=request.param, workdir=workdir, **place))
    return request.param, workdir


def test_both_stages_evaluation_and_prediction(finished, place, capsys):
    name, workdir = finished
    with open(os.path.join(workdir, "result.json")) as file:
        result = json.load(file)
    assert result["stage_1"] is True
    capsys.readouterr()
    evaluate.main(evaluate.Args(run=workdir, cache_dir=place["cache_dir"]))
    printed = json.loads(capsys.readouterr().out)
    assert {key: printed[key] for key in result["test"]} == result["test"]

    task = TASKS[name]
    videos = load_source(
        task.dataset, None, split="test", cache_dir=place["cache_dir"], options={"config": "tiny"}
    )
    video = videos[0]
    frames = np.split(video.points, video.offsets[1:-1])
    predicted = pointata_jax.load_run(workdir).predict(frames)
    if name == "timelines":
        assert result["test"]["num_frames"] == videos.num_frames.sum() == 4 * 60
        assert result["test"]["num_videos"] == 4
        # Eight takes of few motions each: some motion is in no training video, and is named.
        missing = len(result["classes_not_in_training"])
        assert 0 < missing < 13
        assert result["test"]["num_seen_frames"] < result["test"]["num_frames"]
        assert len(predicted["frame_labels"]) == 60
        assert set(predicted["frame_labels"]) <= set(videos.label_names)
        np.testing.assert_allclose(predicted["frame_probabilities"].sum(1), 1, atol=1e-6)
    else:
        assert result["test"]["num_points"] == len(videos) * 3 * 48
        sizes = np.diff(video.offsets).tolist()
        assert [len(labels) for labels in predicted["point_labels"]] == sizes
        assert max(labels.max() for labels in predicted["point_labels"]) < len(videos.label_names)


def test_what_stage_1_aligns_where_frames_or_points_carry_labels():
    rng = np.random.default_rng(0)
    config = P4DConfig(
        width=8, num_centers=4, neighbors=3, radius=0.5, widths=(4, 6, 8), anchor_stride=2
    )
    clips = rng.normal(size=(2, 5, 9, 3)).astype(np.float32)
    embedder = P4DEmbedder(config)
    params = jax.jit(embedder.init)(jax.random.key(0), clips)["params"]
    tokens, centers = embedder.apply({"params": params}, clips)
    frame_labels = rng.integers(0, 3, (2, 5))
    features, labels = label_units(config, params, clips, frame_labels)
    np.testing.assert_allclose(features, tokens.mean(2), atol=1e-6)
    np.testing.assert_array_equal(labels, frame_labels[:, [0, 2, 4]])
    point_labels = rng.integers(-1, 3, (2, 5, 9))
    features, labels = label_units(config, params, clips, point_labels)
    np.testing.assert_array_equal(features, np.asarray(tokens).reshape(2, 12, 8))
    expected = np.empty((2, 3, 4), int)
    for b, t, i in np.ndindex(2, 3, 4):
        gap = np.linalg.norm(clips[b, 2 * t] - np.asarray(centers)[b, t, i], axis=1)
        expected[b, t, i] = point_labels[b, 2 * t, gap.argmin()]
    np.testing.assert_array_equal(labels, expected.reshape(2, 12))
    drawn, chosen = draw_units(jax.random.key(1), features, labels, 10)
    assert chosen.shape == (10,)
    assert chosen.min() >= 0
    assert len(np.unique(drawn, axis=0)) == 10
    few = np.full((2, 12), -1)
    few[1, 3:5] = 2
    drawn, chosen = draw_units(jax.random.key(1), features, few, 10)
    assert (chosen == 2).all()
    assert len(np.unique(drawn, axis=0)) == 2

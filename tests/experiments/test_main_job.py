"""The main job on a small copy of the embedded task: align, adapt, evaluate, predict, resume."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

import pointata_jax
from experiments import adapt, align, configs, evaluate, publish
from pointata_jax.data.clips import ClipConfig
from pointata_jax.errors import InputError
from pointata_jax.models import architectures
from pointata_jax.models.backbone_file import load_backbone
from pointata_jax.models.p4d import embedder_from_backbone
from pointata_jax.models.pointata import PointATAConfig
from pointata_jax.stages.config import AdaptSettings, AlignSettings, ModelSettings, TaskConfig

SMALL = TaskConfig(
    task="synthetic_actions",
    dataset="synthetic_actions",
    variant="tiny",
    clip=ClipConfig(frames=8, stride=8, eval_stride=8, points=48),
    model=ModelSettings(num_centers=4, neighbors=4, radius=0.4, bottleneck=8, sce_neighbors=3),
    align=AlignSettings(steps=4, batch_size=16, report_every=2, report_clips=32),
    adapt=AdaptSettings(steps=6, batch_size=16, eval_every=3),
    needs_data_dir=False,
)


@pytest.fixture(autouse=True)
def small_task(monkeypatch):
    load = configs.load
    monkeypatch.setattr(
        configs, "load", lambda task, protocol=None: SMALL if task == SMALL.task else load(task)
    )


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configs, "load", lambda task, protocol=None: SMALL)
        workdir = str(tmp_path_factory.mktemp("runs") / "run")
        align.main(align.Args(workdir=workdir, **place))
        adapt.main(adapt.Args(workdir=workdir, **place))
    return workdir


def test_run_folder_after_both_stages(finished, place):
    def read(*parts):
        with open(os.path.join(finished, *parts)) as file:
            return json.load(file)

    stage_1, stage_2 = read("align", "result.json"), read("result.json")
    held_out = stage_1["held_out"]
    assert held_out["moments"]["otdd"] < held_out["initial"]["otdd"]
    assert all(report["converged"] == 1 for report in held_out.values())
    # What is kept explains the held-out labels at least as well as where it started from.
    assert held_out["kept"]["label_fit"] >= held_out["initial"]["label_fit"]
    assert stage_2["test"]["num_videos"] == 48
    assert stage_2["stage_1"] is True
    # 144 training videos, 12 classes, a fraction held out of every class.
    assert stage_2["num_train_videos"] + stage_2["validation"]["num_videos"] == 144
    parameters = stage_2["parameters"]
    assert 0 < parameters["trainable_without_head"] < parameters["trainable"] < parameters["total"]
    lines = pathlib.Path(finished, "metrics.jsonl").read_text().splitlines()
    kinds = {json.loads(line)["kind"] for line in lines}
    assert kinds == {"train", "eval"}
    stored = load_file(os.path.join(finished, "adapter.safetensors"))
    assert not any(name.startswith("params/backbone") for name in stored)
    # Two numbers per trainable parameter, and a few counters.
    assert stage_2["optimizer_state_bytes"] == pytest.approx(8 * parameters["trainable"], abs=200)


def test_a_finished_run_has_a_report_and_ten_lines_for_a_person(finished, place, capsys):
    pytest.importorskip("matplotlib")
    with np.load(os.path.join(finished, "test_predictions.npz")) as file:
        right = file["probabilities"].argmax(1) == file["true"]
        names = file["names"]
    with open(os.path.join(finished, "result.json")) as file:
        assert 100 * right.mean() == pytest.approx(json.load(file)["test"]["video_accuracy"])
    page = pathlib.Path(finished, "report.html").read_text()
    assert len(page) < 10e6
    assert page.count("<figure") >= 4
    assert any(name in page for name in names)
    adapt.main(adapt.Args(workdir=finished, resume=True, **place))
    said = capsys.readouterr()
    lines = said.out.strip().splitlines()
    assert 5 < len(lines) <= 10
    assert "of 48 videos" in lines[0]
    assert len(said.err.splitlines()) + len(lines) <= 40


def test_a_published_run_is_the_run_without_its_paths(finished, tmp_path):
    target = tmp_path / "given away"
    publish.main(publish.Args(run=finished, to=str(target), data="procedural figures"))
    ours, theirs = pointata_jax.load_run(finished), pointata_jax.load_run(target)
    clips = np.random.default_rng(0).normal(size=(2, 8, 48, 3)).astype(np.float32)
    np.testing.assert_array_equal(ours.logits(clips), theirs.logits(clips))
    names = {path.name for path in target.iterdir()}
    assert names == {
        "README.md",
        "adapter.safetensors",
        "backbone.safetensors",
        "config.json",
        "result.json",
    }
    texts = [path.read_text() for path in target.iterdir() if path.suffix in (".json", ".md")]
    assert not any(str(tmp_path.parent) in text or "/tmp" in text for text in texts)
    card = (target / "README.md").read_text()
    test = json.loads((target / "result.json").read_text())["test"]
    assert f"{test['video_accuracy']:.1f} % of {test['num_videos']} videos" in card
    assert "procedural figures" in card
    assert card.startswith('---\nlicense: "apache-2.0"\n')
    with pytest.raises(InputError, match="not empty"):
        publish.main(publish.Args(run=finished, to=str(target)))


def test_only_finished_runs_are_published(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"task": "t", "settings": {}}))
    with pytest.raises(InputError, match="has not finished"):
        publish.main(publish.Args(run=str(tmp_path), to=str(tmp_path / "to")))


def test_alignment_without_labels(finished, place, tmp_path):
    workdir = str(tmp_path / "run")
    align.main(align.Args(workdir=workdir, pseudo_classes=5, **place))

    def held_out(folder):
        with open(os.path.join(folder, "align", "result.json")) as file:
            return json.load(file)["held_out"]

    pseudo, labeled = held_out(workdir), held_out(finished)
    # The same embedder and clips under other classes: only what depends on labels differs.
    assert pseudo["moments"]["deviation"] == pytest.approx(labeled["moments"]["deviation"])
    assert pseudo["moments"]["otdd"] != labeled["moments"]["otdd"]
    assert pseudo["kept"]["converged"] == 1
    with pytest.raises(InputError, match="1000 pseudo-classes"):
        align.main(align.Args(workdir=str(tmp_path / "many"), pseudo_classes=1000, **place))


def test_evaluate_repeats_the_result(finished, place, capsys):
    evaluate.main(evaluate.Args(run=finished, cache_dir=place["cache_dir"]))
    with open(os.path.join(finished, "result.json")) as file:
        expected = json.load(file)["test"]
    printed = json.loads(capsys.readouterr().out)
    assert {name: printed[name] for name in expected} == expected
    backwards = {"split": "validation", "order": "reversed"}
    evaluate.main(evaluate.Args(run=finished, cache_dir=place["cache_dir"], **backwards))
    assert os.path.exists(os.path.join(finished, "evaluation-validation-reversed.json"))


def test_predict_reads_sensor_frames(finished):
    predictor = pointata_jax.load_run(finished)
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(rng.integers(5, 90), 3)) for _ in range(9)]
    answer = predictor.predict(frames)
    assert answer["label"] in predictor.class_names
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert predictor.predict(frames) == answer
    with pytest.raises(InputError, match="window of this task 8"):
        predictor.predict(frames[:5])
    frames[3][2, 1] = np.nan
    with pytest.raises(InputError, match="frame 3"):
        predictor.predict(frames)
    with pytest.raises(InputError, match="columns x, y, z"):
        predictor.predict([np.zeros((4, 5))] * 9)


@pytest.mark.parametrize("tuning", ["adapter", "random_frozen", "full", "scratch", "probe"])
def test_other_tunings(tuning, place, tmp_path):
    workdir = str(tmp_path / tuning)
    adapt.main(adapt.Args(tuning=tuning, workdir=workdir, steps=1, **place))
    with open(os.path.join(workdir, "result.json")) as file:
        result = json.load(file)
    assert result["embedder_init"] == ("backbone" if tuning == "probe" else "random")
    stored = load_file(os.path.join(workdir, "adapter.safetensors"))
    in_file = any(name.startswith("params/backbone") for name in stored)
    assert in_file == (tuning in ("random_frozen", "full", "scratch"))
    assert pointata_jax.load_run(workdir).class_names


def test_stage_1_from_a_copy_of_the_embedder(place, tmp_path):
    workdir = str(tmp_path / "run")
    flags = {"workdir": workdir, "steps": 1, "embedder_init": "backbone", **place}
    adapt.main(adapt.Args(videos_per_class=3, **flags))
    result = json.loads(pathlib.Path(workdir, "result.json").read_text())
    assert (result["embedder_init"], result["stage_1"]) == ("backbone", True)
    assert result["num_train_videos"] == 36
    model = architectures.from_dict(_stored(workdir)["model"])
    assert isinstance(model, PointATAConfig)
    copied = embedder_from_backbone(
        load_backbone(place["backbone"])[1],
        model.p4d,
    )
    stage_1 = load_file(os.path.join(workdir, "align", "adapter.safetensors"))
    # Stage 1 has moved the copy, but not to another place.
    first = stage_1["params/embedder/first_dense_0/kernel"]
    assert np.abs(first - copied["first_dense_0"]["kernel"]).max() < 0.1
    other = tmp_path / "other"
    shutil.copytree(os.path.join(workdir, "align"), other / "align")
    flags |= {"workdir": str(other), "embedder_init": "random"}
    with pytest.raises(InputError, match="stage 1 in .* embedder"):
        adapt.main(adapt.Args(videos_per_class=3, **flags))


def _stored(workdir):
    return json.loads(pathlib.Path(workdir, "config.json").read_text())["settings"]


def _command_line(flag):
    command = [sys.executable, "-m", "experiments.adapt", flag]
    return subprocess.run(command, capture_output=True, text=True)


class TestBadInput:
    def test_unknown_names(self, place, tmp_path):
        workdir = str(tmp_path / "run")
        with pytest.raises(InputError, match="unknown task 'nothing'.*radhar"):
            align.main(align.Args(task="nothing"))
        with pytest.raises(InputError, match="unknown tuning 'prompt'.*pointata"):
            adapt.main(adapt.Args(tuning="prompt"))
        with pytest.raises(InputError, match="unknown objective"):
            align.main(align.Args(objective="hope", workdir=workdir, **place))
        with pytest.raises(InputError, match="unknown embedder_init 'luck'"):
            adapt.main(adapt.Args(embedder_init="luck", **place))
        with pytest.raises(InputError, match="--data_dir"):
            adapt.main(adapt.Args(task="radhar", tuning="adapter", workdir=workdir, **place))

    def test_run_folders_are_not_overwritten_or_mixed(self, finished, place):
        with pytest.raises(InputError, match="already holds a run.*--resume"):
            adapt.main(adapt.Args(workdir=finished, **place))
        with pytest.raises(InputError, match="seed"):
            adapt.main(adapt.Args(workdir=finished, resume=True, seed=3, **place))
        with pytest.raises(InputError, match="already holds a run.*--resume"):
            align.main(align.Args(workdir=finished, **place))
        other = dataclasses.replace(SMALL, task="another")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(configs, "load", lambda task, protocol=None: other)
            with pytest.raises(InputError, match="run folder of another task"):
                adapt.main(adapt.Args(workdir=finished, tuning="adapter", **place))

    def test_stage_1_of_another_backbone(self, finished, place, tmp_path, make_backbone):
        other = make_backbone(tmp_path, depth=3)
        place = {**place, "backbone": other}
        with pytest.raises(InputError, match="already holds|another backbone"):
            adapt.main(adapt.Args(workdir=finished, **place))
        with pytest.raises(InputError, match="does not exist"):
            align.main(align.Args(backbone=str(tmp_path / "no.safetensors")))

    def test_flags_end_with_one_sentence(self):
        for flag, words in (("--tunning=full", "tunning"), ("full", "--name=value")):
            done = _command_line(flag)
            assert done.returncode == 2
            assert words in done.stderr
            assert "Traceback" not in done.stderr

    def test_help_is_quick(self):
        took = []
        for _ in range(3):
            start = time.monotonic()
            done = _command_line("--help")
            took.append(time.monotonic() - start)
        assert "--tuning" in done.stdout
        assert min(took) < 2


_CHILD = """
import sys
sys.path.insert(0, {root!r})
from absl import flags
flags.FLAGS.mark_as_parsed()
from experiments import adapt, configs
from tests.experiments.test_main_job import SMALL
configs.load = lambda task, protocol=None: SMALL
adapt.main(adapt.Args(tuning="adapter", steps=30, eval_every=5, test=False, resume=True,
    workdir={workdir!r}, backbone={backbone!r}, cache_dir={cache_dir!r}))
"""


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_numbers(place, tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))

    def start(workdir):
        code = _CHILD.format(root=root, workdir=workdir, **place)
        return subprocess.Popen([sys.executable, "-c", code], cwd=root)

    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    assert start(whole).wait() == 0
    child = start(broken)
    log = pathlib.Path(broken, "metrics.jsonl")
    while child.poll() is None and not (log.exists() and '"step": 10' in log.read_text()):
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not os.path.exists(os.path.join(broken, "adapter.safetensors"))
    assert start(broken).wait() == 0
    expected = load_file(os.path.join(whole, "adapter.safetensors"))
    resumed = load_file(os.path.join(broken, "adapter.safetensors"))
    assert expected.keys() == resumed.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["lora", "frame", "side"])
def test_other_tunings_train_and_predict(tuning, place, tmp_path):
    flags = {"tuning": tuning, "cache_features": tuning == "side", "measure_memory": True, **place}
    workdir = str(tmp_path / "run")
    adapt.main(adapt.Args(workdir=workdir, **flags))
    with open(os.path.join(workdir, "result.json")) as file:
        result = json.load(file)
    assert result["stage_1"] is (tuning == "side")
    assert result["step_temporary_bytes"] > 0
    assert 0 <= result["train_accuracy"] <= 100
    frames = list(np.random.default_rng(0).normal(size=(9, 30, 3)))
    predictor = pointata_jax.load_run(workdir)
    assert predictor.predict(frames)["label"] in predictor.class_names


def test_kept_tokens_need_a_frozen_trunk(place, tmp_path):
    with pytest.raises(InputError, match="--tuning=side"):
        adapt.main(adapt.Args(workdir=str(tmp_path), tuning="full", cache_features=True, **place))
    with pytest.raises(InputError, match="leave out --tuning"):
        adapt.main(adapt.Args(model="p4transformer", tuning="full", **place))
    with pytest.raises(InputError, match="unknown --model"):
        adapt.main(adapt.Args(model="pstnet", **place))

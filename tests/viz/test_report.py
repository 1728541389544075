"""The report of a run: all parts that the run has, none that it lacks, and no text that acts."""

from __future__ import annotations

import builtins
import json
import re

import numpy as np
import pytest

from pointata_jax.errors import InputError

pytest.importorskip("matplotlib")  # of the extra `viz`

from matplotlib.figure import Figure  # noqa: E402

from pointata_jax.viz.report import ExampleClip, Timeline, report_html  # noqa: E402

HOSTILE = "</script><script>document.title='taken'</script>$x$ 走"
NAMES = ("wave", "clap", HOSTILE)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write(folder, task="own_videos", kind="clip", rows=(), result=None):
    folder.mkdir(parents=True)
    settings = {"task": {"kind": kind, "score": "video_accuracy", "clip": {"up_axis": "z"}}}
    (folder / "config.json").write_text(json.dumps({"task": task, "settings": settings}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def run(tmp_path):
    """A finished run with stage 1."""
    rows = []
    for step in range(10, 101, 10):
        loss = None if step == 30 else 3 / step
        rows.append({"kind": "train", "step": step, "loss": loss, "accuracy": step / 2})
    scores = {"video_accuracy": 50.0, "num_videos": 8, "per_class": dict.fromkeys(NAMES, 50.0)}
    rows += [{"kind": "eval", "step": step, **scores} for step in (50, 100)]
    result = {
        "tuning": "pointata",
        "stage_1": True,
        "steps": 100,
        "kept_step": 50,
        "batch_size": 8,
        "validation": {"step": 50, "video_accuracy": 50.0, "num_videos": 8},
        "chosen_by": "video_accuracy",
        "train_accuracy": 48.0,
        "num_train_videos": 30,
        "classes_not_in_training": [HOSTILE],
        "parameters": {"trainable": 1000, "total": 4000},
        "seconds_per_step": 2.0,
        "peak_memory_mb": 2048.0,
        "test": {
            "video_accuracy": 100 * 13 / 20,
            "num_videos": 20,
            "per_class": {"wave": 100.0, "clap": 30.0, HOSTILE: None},
        },
        "seed": 3,
        "versions": {"jax": "0.10.2"},
        "device": "1 x cpu",
    }
    write(tmp_path / "run", rows=rows, result=result)
    history = [
        {"step": step, "otdd": 100.0 - step, "label_fit": 10.0 + step} for step in (0, 10, 20)
    ]
    aligned = {
        "kept_step": 20,
        "kept_initial": False,
        "history": history,
        "held_out": {"initial": history[0], "kept": history[-1]},
        "num_held_out_clips": 16,
        "num_source_shapes": 64,
    }
    write(tmp_path / "run" / "align", result=aligned)
    return tmp_path / "run"


def headings(page):
    return re.findall("<h2>(.*?)</h2>", page)


def test_a_report_shows_every_part_and_runs_no_foreign_text(tmp_path, run, rng, load):
    frames = [rng.normal(size=(100, 3)) for _ in range(3)]
    clips = [
        ExampleClip(f"{HOSTILE} {i}", frames, true=HOSTILE, predicted="wave", right=i < 6)
        for i in range(8)
    ]
    clips.append(
        ExampleClip(
            "points", frames, labels=[np.ones(100, int)] * 3, errors=[np.arange(100) < 9] * 3
        )
    )
    figure = Figure()
    figure.add_subplot().set_title("given")
    path = tmp_path / "report.html"
    report_html(
        run,
        path,
        confusion=np.array([[7, 0, 0], [4, 6, 2], [0, 0, 1]]),
        clips=clips,
        timelines=[Timeline(HOSTILE, np.array([0, 0, 1, -1]), np.array([0, 2, 1, 1]))],
        alignment_figure=figure,
    )
    page = path.read_text(encoding="utf-8")
    assert headings(page) == [
        "Training",
        "Classes of the test videos",
        "Examples of the test videos",
        "Timelines of the test videos",
        "Alignment (stage 1)",
        "Versions and settings",
    ]
    for text in (
        "65.0% of the test videos are recognized (13 of 20).",
        "50.0% of the validation videos are recognized (4 of 8). Step 50 was kept",
        "1,000 of 4,000 (25.0%)",
        "100 of 8 clips",
        "3 min",
        "2.0 GiB",
        "was 100.0 before alignment and is 80.0 after it",
        "wave (4)",
        "27 of 300 points are wrong (9.0%)",
        "The first 4 of 6 right and 2 wrong clips",
        ": 2 of 3 frames right",
        "jax 0.10.2",
    ):
        assert text in page, text
    driver = load(path)
    assert driver.title == "run – run report"
    assert HOSTILE in driver.find_element("tag name", "table").text
    assert len(driver.find_elements("class name", "cloud-clip")) == 7
    images = "return [...document.images].filter((i) => i.complete && i.naturalWidth > 99).length"
    # Two curves, the matrix, one timeline, two curves of stage 1, and the given figure.
    assert driver.execute_script(images) == 7
    assert "data:image/svg+xml" in page
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert driver.execute_script(wide) == 0, "the page scrolls sideways"


@pytest.mark.parametrize(
    ("kind", "test", "sentence", "measure"),
    [
        (
            "frame",
            {
                "frame_accuracy": 75.0,
                "edit": 60.0,
                "f1@50": None,
                "num_frames": 1200,
                "num_videos": 3,
            },
            "75.0% of 1,200 frames of 3 test videos have the right class (edit score 60.0).",
            "frames",
        ),
        (
            "point",
            {"mean_iou": 41.0, "num_classes": 2, "num_points": 5000},
            "The mean IoU is 41.0% over 2 classes and 5,000 test points.",
            "IoU, %",
        ),
    ],
)
def test_every_kind_of_label_has_its_sentence(tmp_path, kind, test, sentence, measure):
    write(tmp_path / "run", kind=kind, result={"kept_step": 1, "validation": None, "test": test})
    report_html(
        tmp_path / "run",
        tmp_path / "r.html",
        class_names=("a", "b"),
        confusion=np.eye(2, dtype=int),
    )
    page = (tmp_path / "r.html").read_text()
    assert sentence in page
    assert "There was no validation part, so the last step was kept." in page
    assert f"<th>{measure}</th>" in page


def test_a_run_that_has_only_begun_has_a_report(tmp_path):
    write(tmp_path / "run", rows=[{"kind": "train", "step": 7, "loss": 1.0, "accuracy": 5.0}])
    report_html(tmp_path / "run", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "This run has not finished; its log ends at step 7." in page
    assert headings(page) == ["Training", "Versions and settings"]
    write(tmp_path / "bare")
    report_html(tmp_path / "bare", tmp_path / "r.html")
    assert headings((tmp_path / "r.html").read_text()) == ["Versions and settings"]


def test_eight_long_clips_and_sixty_classes_stay_below_ten_megabytes(tmp_path, rng):
    write(tmp_path / "run")
    frames = list(rng.normal(size=(150, 2048, 3)).astype(np.float32))
    errors = [np.arange(2048) < 1024] * 150
    clips = [ExampleClip(f"{i}", frames, right=i < 4, errors=errors) for i in range(8)]
    names = [f"a rather long name of action {k}" for k in range(60)]
    path = tmp_path / "r.html"
    report_html(
        tmp_path / "run",
        path,
        class_names=names,
        confusion=rng.integers(1, 90, (60, 60)),
        clips=clips,
        timelines=[Timeline("short", *rng.integers(0, 60, (2, 60)))],
        split="validation",
    )
    page = path.read_text()
    assert 2e6 < path.stat().st_size < 10e6
    assert "153,600 of 307,200 points are wrong (50.0%). 23% of the points are drawn." in page
    assert "Classes of the validation videos" in page


def test_what_does_not_fit_is_refused(tmp_path, run, monkeypatch):
    with pytest.raises(InputError, match="not a run folder"):
        report_html(tmp_path / "none", tmp_path / "r.html")
    for wrong in (np.ones((2, 2), int), np.ones((3, 3)), -np.ones((3, 3), int)):
        with pytest.raises(InputError, match="confusion"):
            report_html(run, tmp_path / "r.html", confusion=wrong)
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(InputError, match=r"pip install 'pointata-jax\[viz\]'"):
        report_html(run, tmp_path / "r.html")

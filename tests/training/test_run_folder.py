from __future__ import annotations

import dataclasses
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.training import run_folder
from pointata_jax.training.run_folder import RunFolder, load_adapter, save_adapter
from tests.training import toy


@dataclasses.dataclass(frozen=True)
class Settings:
    learning_rate: float = 1e-3
    sizes: tuple[int, ...] = (1, 2)
    steps: int = 10
    model: dict = dataclasses.field(default_factory=lambda: {"width": 8})


def started(root, **changes):
    run = RunFolder.create(root, task="actions", settings=Settings(**changes))
    run.log({"step": 1, "loss": 0.5})
    return run


def test_create_then_open(tmp_path):
    started(tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert run.task == "actions"
    assert run.settings == {
        "learning_rate": 1e-3,
        "sizes": [1, 2],
        "steps": 10,
        "model": {"width": 8},
    }
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder.open(tmp_path)


def test_a_run_is_not_overwritten_but_one_that_never_trained_is(tmp_path):
    RunFolder.create(tmp_path, task="actions", settings=Settings())
    started(tmp_path, learning_rate=0.1)
    with pytest.raises(InputError, match="already holds a run of task 'actions'.*--resume"):
        RunFolder.create(tmp_path, task="actions", settings=Settings())
    assert RunFolder.open(tmp_path).settings["learning_rate"] == 0.1


@pytest.mark.parametrize("resume", [False, True])
def test_another_task_is_refused_with_both_names_in_any_stage(tmp_path, resume):
    RunFolder.create(tmp_path, task="actions", settings={}, stage="align")
    with pytest.raises(InputError, match="run folder of another task.*'actions'.*'radhar'"):
        RunFolder.create(tmp_path, task="radhar", settings={}, resume=resume)
    # The second stage of the same task belongs here.
    assert RunFolder.create(tmp_path, task="actions", settings={}).path == tmp_path


def test_resume_wants_the_same_settings(tmp_path):
    started(tmp_path)

    def resume(may_change=(), **changes):
        return RunFolder.create(
            tmp_path,
            task="actions",
            settings=Settings(**changes),
            resume=True,
            may_change=may_change,
        )

    resume()
    with pytest.raises(InputError, match="model.width=8, not 16"):
        resume(model={"width": 16})
    resume(may_change=("steps",), steps=20)
    assert RunFolder.open(tmp_path).settings["steps"] == 20


VIDEOS = {
    "train": {"a": "0123456789abcdef00000000", "b": "1123456789abcdef00000000"},
    "validation": {"c": "2123456789abcdef11111111"},
}


def test_resume_wants_the_same_videos(tmp_path):
    def create(videos, **options):
        return RunFolder.create(tmp_path, task="actions", settings={}, videos=videos, **options)

    create(VIDEOS).log({"step": 1})
    assert create(VIDEOS, resume=True).videos == VIDEOS
    # A split that was not read before is remembered from now on.
    create(VIDEOS | {"test": {"t": "3123456789abcdef00000000"}}, resume=True)
    assert RunFolder.open(tmp_path).videos["test"].keys() == {"t"}
    for changed, words in [
        ({"train": {**VIDEOS["train"], "d": "4" * 24}}, r"1 new \('d'\)"),
        ({"train": {"a": VIDEOS["train"]["a"]}}, r"1 gone \('b'\)"),
        ({"train": {**VIDEOS["train"], "a": "9" * 16 + "0" * 8}}, r"1 with other points \('a'\)"),
        ({"validation": {"c": "2123456789abcdef22222222"}}, r"1 with other labels \('c'\)"),
        (
            {
                "train": {"a": VIDEOS["train"]["a"], "c": VIDEOS["validation"]["c"]},
                "validation": {"b": VIDEOS["train"]["b"]},
            },
            r"2 in another split \('b', 'c'\)",
        ),
        ({"test": {"t": "5" * 24}}, "1 with other points"),
    ]:
        with pytest.raises(InputError, match=f"trained on other videos: {words}"):
            create(VIDEOS | changed, resume=True)
    assert RunFolder.open(tmp_path).known_content(("train",)) == {
        "0123456789abcdef",
        "1123456789abcdef",
    }


def test_an_older_run_without_its_videos_resumes_with_a_warning(tmp_path):
    started(tmp_path)
    with pytest.warns(UserWarning, match="did not store the videos"):
        run = RunFolder.create(
            tmp_path, task="actions", settings=Settings(), resume=True, videos=VIDEOS
        )
    assert run.videos == VIDEOS


def test_a_folder_that_cannot_be_written_to_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="run folder .*file/run.* cannot be written to"):
        RunFolder.create(tmp_path / "file" / "run", task="actions", settings={})


def test_the_log_survives_a_cut_line_and_is_not_doubled_on_resume(tmp_path):
    run = started(tmp_path)
    run.log({"step": 2, "loss": float("nan"), "accuracy": np.float32(0.5), "n": jnp.int32(3)})
    run.log({"step": 3, "loss": 0.25})
    os.truncate(run.metrics_path, run.metrics_path.stat().st_size - 4)
    assert run.read_log() == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": None, "accuracy": 0.5, "n": 3},
    ]
    run.drop_log_after(1)
    run.log({"step": 2, "loss": 0.1})
    assert [row["loss"] for row in run.read_log()] == [0.5, 0.1]
    run.drop_log_after(None)
    assert run.read_log() == []

    run.metrics_path.write_text('{"step"\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 1, is not JSON"):
        run.read_log()


def test_result_holds_seed_and_versions(tmp_path):
    run = started(tmp_path)
    run.write_result({"accuracy": np.float32(50.0), "videos": 12}, seed=3)
    result = run.read_result()
    assert result is not None
    assert (result["accuracy"], result["videos"], result["seed"]) == (50.0, 12, 3)
    assert result["task"] == "actions"
    assert {"python", "jax", "flax", "optax", "ott-jax"} <= result["versions"].keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "result.json",
    ]


def test_damaged_config_is_a_sentence(tmp_path):
    (tmp_path / "config.json").write_text('{"task": ')
    with pytest.raises(InputError, match="config.json is not JSON"):
        RunFolder.create(tmp_path, task="actions", settings={})
    (tmp_path / "config.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(InputError, match="not the settings of a run"):
        RunFolder.open(tmp_path)


def test_adapter_round_trip_and_damage(tmp_path):
    state, *_ = toy.setup()
    path = tmp_path / "run" / "adapter.safetensors"
    save_adapter(path, state.trainable, state.model_state, {"task": "actions", "tuning": "probe"})
    trainable, model_state, metadata = load_adapter(path)
    assert metadata == {"task": "actions", "tuning": "probe"}
    for read, written in ((trainable, state.trainable), (model_state, state.model_state)):
        assert jax.tree.structure(read) == jax.tree.structure(written)
        assert jax.tree.all(jax.tree.map(np.array_equal, read, written))

    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_adapter(path)
    with pytest.raises(InputError, match="does not exist"):
        load_adapter(tmp_path / "adapter.safetensors")


def test_compilation_cache_place_and_off_switch(tmp_path, monkeypatch):
    before = jax.config.values["jax_compilation_cache_dir"]
    try:
        monkeypatch.setenv(run_folder.CACHE_VARIABLE, str(tmp_path / "cache"))
        assert run_folder.enable_compilation_cache() == tmp_path / "cache"
        assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path / "cache")
        assert run_folder.enable_compilation_cache("off") is None
        assert jax.config.values["jax_compilation_cache_dir"] is None
        monkeypatch.delenv(run_folder.CACHE_VARIABLE)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert run_folder.enable_compilation_cache() == tmp_path / "pointata_jax" / "compiled"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)

"""Run folders of older versions keep their settings under the names of today."""

from __future__ import annotations

import json

import pytest

from pointata_jax.errors import InputError
from pointata_jax.stages.config import TaskConfig
from pointata_jax.training.renamed_settings import RENAMED, with_present_names
from pointata_jax.training.run_folder import RunFolder

FORMER = {
    "task": {
        "clip": {"hop": 10, "merge": 5, "centre": "mean", "frames": 12},
        "options": {"hop": 1},
    },
    "embedder": {"num_centres": 8},
}
PRESENT = {
    "task": {
        "clip": {"stride": 10, "frame_merge": 5, "center": "mean", "frames": 12},
        "options": {"hop": 1},
    },
    "embedder": {"num_centers": 8},
}


def test_settings_are_renamed_in_their_own_group_only():
    assert with_present_names(FORMER) == PRESENT
    assert with_present_names(PRESENT) == PRESENT


def test_every_present_name_is_a_setting_of_today():
    values = TaskConfig(task="t", dataset="d").to_dict()
    for group in ("clip", "model", "adapt"):
        assert set(RENAMED[group].values()) <= values[group].keys()


def test_a_run_folder_of_an_older_version_is_compared_by_present_names(tmp_path):
    config = {"task": "t", "stage": "adapt", "settings": FORMER}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.jsonl").write_text("")
    assert RunFolder.open(tmp_path).settings == PRESENT
    RunFolder.create(tmp_path, task="t", settings=PRESENT, resume=True)
    changed = {**PRESENT, "embedder": {"num_centers": 9}}
    with pytest.raises(InputError, match="embedder.num_centers=8, not 9"):
        RunFolder.create(tmp_path, task="t", settings=changed, resume=True)

"""The configuration of every task, and what `--protocol=published` changes of it."""

import dataclasses
import importlib

import numpy as np
import pytest

from experiments import adapt, configs, runs
from pointata_jax.data.clips import augment_clip
from pointata_jax.datasets import registry
from pointata_jax.errors import InputError
from pointata_jax.stages.config import TaskConfig

WITH_PUBLISHED = ("hoi4d", "hoi4d_semantic", "ntu_rgbd", "shrec17", "synthia")


@pytest.mark.parametrize("task", configs.TASKS)
def test_every_configuration_is_of_its_task_and_survives_json(task):
    config = configs.load(task)
    assert config.task == task
    assert config.dataset in registry.DATASETS
    assert TaskConfig.from_dict(config.to_dict()) == config
    assert hasattr(importlib.import_module(f"experiments.configs.{task}"), "PUBLISHED") == (
        task in WITH_PUBLISHED
    )


@pytest.mark.parametrize("task", WITH_PUBLISHED)
def test_the_published_protocol_changes_clips_and_splits_alone(task):
    ours = configs.load(task)
    published = runs.task_config(adapt.Args(task=task, protocol="published"), stage="adapt")
    assert published.options == {"protocol": "published"}
    assert published.clip != ours.clip
    rest = {"clip": ours.clip, "options": ours.options, "validation_split": ours.validation_split}
    assert dataclasses.replace(published, **rest) == ours
    # The builders' published splits have no validation part.
    assert not published.validation_split
    clip = np.random.default_rng(0).uniform(-1, 1, (4, 32, 3)).astype(np.float32)
    assert np.isfinite(augment_clip(clip, published.clip, np.random.default_rng(1))).all()
    # One factor for all axes: distances between points keep their proportions.
    if published.clip.scale_axes == "all":
        out = augment_clip(clip, published.clip, np.random.default_rng(2))[:, 1:]
        ratio = np.linalg.norm(out[:, 1:] - out[:, :1], axis=-1)
        ratio = ratio / np.linalg.norm(clip[:, 2:] - clip[:, 1:2], axis=-1)
        assert np.ptp(ratio) < 1e-4


def test_an_unknown_protocol_is_refused():
    with pytest.raises(InputError, match="corrected, published"):
        runs.task_config(adapt.Args(task="hoi4d", protocol="official"), stage="adapt")

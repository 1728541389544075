"""Ranking backbones before training."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments import configs, gap
from pointata_jax.errors import InputError
from tests.experiments.test_main_job import SMALL


def test_ranking_of_two_backbones(place, make_backbone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(configs, "load", lambda task, protocol=None: SMALL)
    other = make_backbone(tmp_path, width=36, num_heads=3)
    args = gap.Args(
        backbones=f"{place['backbone']},{other}",
        cache_dir=place["cache_dir"],
        clips=24,
        resamples=5,
        output=str(tmp_path / "gap.json"),
    )
    gap.main(args)
    printed = capsys.readouterr().out  # Preparing the records may print, too.
    content = json.loads(printed[printed.index("{") :])
    assert content == json.loads((tmp_path / "gap.json").read_text())
    ranking = list(content["ranking"].values())
    assert ranking[0]["otdd"] <= ranking[1]["otdd"]
    assert sum(result["nearest_in_draws"] for result in ranking) == pytest.approx(1)
    for result in ranking:
        low, high = result["otdd_interval"]
        assert 0 < low <= high
        assert np.isfinite(result["gap"])
        assert result["label_fit"] <= 100
        assert result["num_clips"] == 24
    with pytest.raises(InputError, match="--backbones"):
        gap.main(gap.Args(backbones=" , "))

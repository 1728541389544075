"""The shipped backbone and its source bank belong together and stay small."""

import numpy as np
import pytest

import pointata_jax
from pointata_jax.alignment import load_source_bank
from pointata_jax.file_hash import file_sha256
from pointata_jax.models.backbone_file import (
    SHIPPED,
    find_backbone,
    find_source_bank,
)


@pytest.mark.parametrize("name", SHIPPED)
def test_backbone_and_bank(name):
    files = find_backbone(name), find_source_bank(name)
    assert sum(file.stat().st_size for file in files) <= 12 * 2**20
    config, variables = pointata_jax.load_backbone(name)
    assert config == pointata_jax.PRESETS[name]
    bank = load_source_bank(files[1], config.width)
    assert bank.provenance["backbone_sha256"] == file_sha256(files[0])
    assert (len(bank.labels), bank.num_classes) == (1005, 67)
    # Trained: the statistics of BatchNorm have left their start at mean 0 and variance 1.
    mean = variables["batch_stats"]["embedder"]["first_norm"]["mean"]
    assert np.abs(mean).max() > 0.01

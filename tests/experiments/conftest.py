"""A backbone small enough for tests, with its source bank."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from pointata_jax.alignment.source_bank import build_source_bank, save_source_bank
from pointata_jax.models.backbone_file import save_backbone
from pointata_jax.models.point_mae import Backbone, BackboneConfig

BACKBONE = BackboneConfig(
    width=24, depth=2, num_heads=2, embedder_widths=(8, 16, 16), num_groups=8, group_size=8
)


def _make_backbone(folder, **changes):
    config = dataclasses.replace(BACKBONE, **changes)
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(16, 64, 3)).astype(np.float32)
    shapes /= np.linalg.norm(shapes, axis=-1).max()
    variables = Backbone(config).init(jax.random.key(0), shapes[:1])
    save_backbone(folder / "backbone.safetensors", config, variables)
    bank = build_source_bank(config, variables, shapes, np.arange(16) % 3, ("a", "b", "c"))
    save_source_bank(folder / "source_bank.npz", bank)
    return str(folder / "backbone.safetensors")


@pytest.fixture(scope="session")
def make_backbone():
    """`make_backbone(folder, **changes)` writes a backbone and its bank; the backbone's path."""
    return _make_backbone


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A backbone with its bank, and the prepared records, shared by all tests of a file."""
    folder = tmp_path_factory.mktemp("place")
    return {"backbone": _make_backbone(folder), "cache_dir": str(folder / "cache")}

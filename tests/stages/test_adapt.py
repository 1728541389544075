"""Stage 2 on the real model; the generic machinery has tests of its own beside this file."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.data.clips import ClipConfig
from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import Backbone, BackboneConfig
from pointata_jax.models.pointata import PointATA, PointATAConfig
from pointata_jax.stages.adapt import Start, initial_variables
from pointata_jax.tasks.losses import make_loss
from pointata_jax.training.optimizer import OptimizerConfig, make_optimizer
from pointata_jax.training.partition import (
    assign_groups,
    split,
    trainable_groups,
    tuning_rules,
)
from pointata_jax.training.step import create_train_state, make_train_step

BACKBONE = BackboneConfig(
    width=24, depth=2, num_heads=2, embedder_widths=(8, 16, 16), num_groups=8, group_size=8
)
MODEL = PointATAConfig(
    backbone=BACKBONE,
    num_classes=3,
    num_anchors=2,
    num_centers=4,
    neighbors=4,
    radius=0.4,
    sce_neighbors=3,
    bottleneck=8,
)
FORM = ClipConfig(frames=4, points=20)


@pytest.fixture(scope="module")
def backbone():
    return Backbone(BACKBONE).init(jax.random.key(5), jnp.zeros((1, 64, 3)))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {
        "points": rng.uniform(-1, 1, (8, 4, 20, 3)).astype(np.float32),
        "label": np.arange(8, dtype=np.int32) % 3,
    }


def _step(variables, tuning, **options):
    groups = assign_groups(variables["params"], tuning_rules(tuning))
    trainable, frozen = split(variables["params"], groups)
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2), trainable_groups(groups))
    state = create_train_state(trainable, {"batch_stats": variables["batch_stats"]}, optimizer)
    return (
        make_train_step(make_loss(PointATA(MODEL)), optimizer, **options),
        state,
        frozen,
    )


def test_where_the_parameters_come_from(backbone):
    start = {t: initial_variables(MODEL, Start(t, backbone), FORM, 0) for t in ("full", "scratch")}
    expected = backbone["params"]["blocks_0"]["mlp_0"]["kernel"]
    taken = {t: v["params"]["backbone"]["blocks_0"]["mlp_0"]["kernel"] for t, v in start.items()}
    np.testing.assert_array_equal(taken["full"], expected)
    assert not np.allclose(taken["scratch"], expected)
    aligned = jax.tree.map(jnp.ones_like, start["full"]["params"]["embedder"])
    stage_1 = initial_variables(MODEL, Start("pointata", backbone, aligned), FORM, 0)
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(stage_1["params"]["embedder"]))
    wrong = jax.tree.map(lambda leaf: leaf[:1], aligned)
    with pytest.raises(InputError, match="other shapes"):
        initial_variables(MODEL, Start("pointata", backbone, wrong), FORM, 0)


def test_frozen_stays_and_everything_else_learns(backbone, batch):
    variables = initial_variables(MODEL, Start("pointata", backbone), FORM, 0)
    step, state, frozen = _step(variables, "pointata")
    assert frozen.keys() == {"backbone"}
    before = jax.device_get((state.trainable, frozen))
    losses = []
    for _ in range(25):
        state, metrics = step(state, frozen, batch, jax.random.key(1))
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    jax.tree.map(np.testing.assert_array_equal, before[1], jax.device_get(frozen))
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()), before[0], jax.device_get(state.trainable)
    )
    assert all(jax.tree.leaves(moved)), moved


def test_step_lowers_for_every_platform(backbone, batch):
    variables = initial_variables(MODEL, Start("pointata", backbone), FORM, 0)
    step, state, frozen = _step(variables, "pointata", donate=False)
    exported = jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(
        state, frozen, batch, jax.random.key_data(jax.random.key(1)).astype(jnp.uint32)
    )
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pointata_jax.errors import InputError
from pointata_jax.training import optimizer as optimizer_lib
from pointata_jax.training import partition
from tests.training import toy


def test_schedule_by_hand():
    config = toy.config(learning_rate=1.0, total_steps=10, warmup_steps=4, end_lr=0.1)
    schedule = optimizer_lib.schedule_of(config)
    rates = [np.asarray(schedule.rate(step)) for step in range(12)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    middle = 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * 3 / 6))
    np.testing.assert_allclose(rates[7], middle, rtol=1e-6)
    np.testing.assert_allclose(rates[10:], 0.1, rtol=1e-6)
    half = np.asarray(optimizer_lib.schedule_of(config, "embedder").rate(7))
    np.testing.assert_allclose(half, middle / 2, rtol=1e-6)


def test_decay_spares_vectors_gates_and_temporal_embeddings():
    params, _ = toy.variables()
    params["sce_gates"] = np.ones((2, 2))  # spared by name, not by rank
    mask = optimizer_lib.decay_mask(params)
    decayed = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, decays in jax.tree_util.tree_leaves_with_path(mask)
        if decays
    }
    assert decayed == {
        f"{name}/kernel"
        for name in ("embedder", "pva_0/down", "pva_0/up", "sce", "head/out", "backbone/blocks_0")
    }


def test_first_update_by_hand():
    """Adam's first step is the sign of the gradient: what is left is rate, factor and decay."""
    groups = {"embedder": {"kernel": "embedder"}, "head": {"kernel": "head", "bias": "head"}}
    params = {
        "embedder": {"kernel": jnp.full((2, 2), 3.0)},
        "head": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(2, 2.0)},
    }
    config = optimizer_lib.OptimizerConfig(
        learning_rate=0.1, weight_decay=0.5, total_steps=10, warmup_steps=0, clip_norm=1.0
    )
    tx = optimizer_lib.make_optimizer(config, groups)
    gradient = jax.tree.map(lambda leaf: 4.0 * jnp.ones_like(leaf), params)
    updates: Any = tx.update(gradient, tx.init(params), params)[0]
    np.testing.assert_allclose(updates["embedder"]["kernel"], -0.05 * (1 + 0.5 * 3), rtol=1e-4)
    np.testing.assert_allclose(updates["head"]["kernel"], -0.1 * (1 + 0.5 * 2), rtol=1e-4)
    np.testing.assert_allclose(updates["head"]["bias"], -0.1, rtol=1e-4)


def test_clip_counts_trainable_gradients_only():
    trainable = {"head": {"kernel": jnp.zeros((1, 2))}}
    tx = optimizer_lib.make_optimizer(toy.config(clip_norm=2.0), {"head": {"kernel": "head"}})
    # Adam forgets the scale of the first gradient, but its first moment is (1 - b1) times it.
    _, state = tx.update(
        {"head": {"kernel": jnp.array([[3.0, 4.0]])}}, tx.init(trainable), trainable
    )
    moments = optax.tree_utils.tree_get(state, "mu")
    np.testing.assert_allclose(moments["head"]["kernel"], 0.1 * np.array([[1.2, 1.6]]), rtol=1e-5)


@pytest.mark.parametrize("tuning", ["pointata", "probe", "full"])
def test_optimizer_state_is_two_copies_of_the_trainable_tree(tuning):
    state, *_ = toy.setup(tuning)

    def size(tree):
        return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))

    counters = size(state.opt_state) - 2 * size(state.trainable)
    assert 0 <= counters <= 128


def test_length_and_rate_are_data_of_the_compiled_step():
    groups = {"head": {"kernel": "head"}}
    params = {"head": {"kernel": jnp.ones((2, 2))}}

    def compiled(**changes):
        tx = optimizer_lib.make_optimizer(toy.config(**changes), groups)
        return jax.jit(tx.update).lower(params, tx.init(params), params).as_text()

    before = compiled(total_steps=24, learning_rate=1e-3)
    assert compiled(total_steps=500, learning_rate=3e-3, warmup_steps=9) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"warmup_steps": 24}, "warm-up of 24 steps does not fit into 24"),
        ({"group_multipliers": {"embeder": 0.5}}, "group_multipliers names embeder"),
        ({"group_multipliers": {"head": 0.0}}, "must be positive"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        toy.config(**changes)


def test_frozen_groups_are_refused():
    _, _, _, groups = toy.setup("probe")
    with pytest.raises(InputError, match="holds the groups frozen"):
        optimizer_lib.make_optimizer(toy.config(), groups)
    with pytest.raises(InputError, match="no parameter trains"):
        optimizer_lib.make_optimizer(toy.config(), partition.split(groups, groups)[1] and {})


def test_muon_makes_the_updates_of_hidden_matrices_orthogonal():
    groups = {
        "backbone": {"blocks_0": {"kernel": "backbone"}, "dense_0": {"kernel": "backbone"}},
        "head": {"out": {"kernel": "head"}},
    }
    rng = np.random.default_rng(0)
    gradient = {
        "backbone": {
            "blocks_0": {"kernel": jnp.asarray(rng.normal(size=(32, 48)))},
            "dense_0": {"kernel": jnp.asarray(rng.normal(size=(3, 48)))},
        },
        "head": {"out": {"kernel": jnp.asarray(rng.normal(size=(32, 20)))}},
    }
    params = jax.tree.map(jnp.zeros_like, gradient)
    config = optimizer_lib.OptimizerConfig(
        rule="muon", learning_rate=0.1, total_steps=10, warmup_steps=0, clip_norm=None
    )
    tx = optimizer_lib.make_optimizer(config, groups)
    updates: Any = tx.update(gradient, tx.init(params), params)[0]
    hidden = np.asarray(updates["backbone"]["blocks_0"]["kernel"])
    values = np.linalg.svd(hidden, compute_uv=False)
    # Five Newton-Schulz steps leave singular values between 0.7 and 1.2 times the common one.
    assert values.max() / values.min() < 1.8
    before = np.linalg.svd(np.asarray(gradient["backbone"]["blocks_0"]["kernel"]), compute_uv=False)
    assert before.max() / before.min() > 4
    # As large as an update of Adam: root mean square 0.2 of the rate.
    assert np.sqrt(np.square(hidden).mean()) == pytest.approx(0.02, rel=0.15)
    for found, given in (
        (updates["backbone"]["dense_0"], gradient["backbone"]["dense_0"]),
        (updates["head"]["out"], gradient["head"]["out"]),
    ):
        # Adam with Nesterov's momentum: the first step is a multiple of the sign.
        size = float(np.abs(found["kernel"]).max())
        assert 0.1 <= size < 0.2
        np.testing.assert_allclose(found["kernel"], -size * np.sign(given["kernel"]), rtol=1e-4)


def test_an_unknown_rule_is_a_sentence():
    with pytest.raises(InputError, match="unknown optimizer 'sgd'"):
        optimizer_lib.OptimizerConfig(rule="sgd")  # pyright: ignore[reportArgumentType]

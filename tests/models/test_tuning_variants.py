"""The models of the tunings lora, frame and side, and the other temporal correspondences."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pointata_jax.errors import InputError
from pointata_jax.models.adapters import LowRank, PointVideoAdapter
from pointata_jax.models.blocks import Attention
from pointata_jax.models.pointata import KINDS, PointATA, PointATAConfig
from pointata_jax.models.summary import parameter_counts, summary
from pointata_jax.training.partition import assign_groups, split, tuning_rules
from tests.models.test_pointata import CONFIG, LABELS, random_clip

CHANGES: dict[str, dict[str, Any]] = {
    "lora": {"lora_rank": 3, "use_sce": False},
    "frame": {"frame_wise": True, "use_pva": False, "use_sce": False},
    "side": {"side_width": 8, "use_pva": False, "use_sce": False},
}


def model_of(tuning: str, **more: Any) -> PointATA:
    return PointATA(dataclasses.replace(CONFIG, **CHANGES[tuning], **more))


def variables_of(model: PointATA):
    return jax.jit(model.init)(jax.random.key(0), random_clip())


def run(model: Any, variables: Any, *args: Any, method: Any = None) -> Any:
    """A compiled call: one compilation is faster than one for each operation."""
    return jax.jit(lambda v, *a: model.apply(v, *a, method=method))(variables, *args)


def shaken(variables):
    """Variables in which no part is zero, so that every part matters."""
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: x + 0.05 * rng.normal(size=x.shape).astype(np.float32), variables["params"]
    )
    return {**variables, "params": moved}


def test_low_rank_update_equals_a_changed_matrix():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(2, 5, 12)), jnp.float32)
    attention, update = Attention(3), LowRank(12, 4)
    plain = attention.init(jax.random.key(0), x)
    factors = update.init(jax.random.key(1), x[0], method="qkv")["params"]
    factors |= update.init(jax.random.key(2), x[0], method="proj")["params"]
    factors = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), factors)

    bound = update.bind({"params": factors})
    got: Any = attention.apply(plain, x, bound)
    changed = jax.tree.map(lambda a: a, plain["params"])
    for name, pair in (("qkv", "qkv_factors"), ("proj", "proj_factors")):
        product = factors[f"{pair}_0"]["kernel"] @ factors[f"{pair}_1"]["kernel"]
        changed[name] = {**changed[name], "kernel": changed[name]["kernel"] + product}
    expected: Any = attention.apply({"params": changed}, x)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tuning", ["lora", "side"])
def test_starts_with_the_tokens_of_the_frozen_backbone(tuning):
    model = model_of(tuning)
    variables = variables_of(model)
    if tuning == "side":
        levels, centers = run(model, variables, random_clip(), method="frozen_levels")
        changed = run(model, variables, levels, centers, method=lambda m, x, c: m.side(x, c, False))
        np.testing.assert_array_equal(levels[-1], changed[-1])
        return
    np.testing.assert_array_equal(
        run(model, variables, random_clip(), method="features"),
        run(model, variables, random_clip(), method="frozen_features"),
    )


@pytest.mark.parametrize("tuning", CHANGES)
def test_what_trains_learns_and_nothing_else_has_a_gradient(tuning):
    model = model_of(tuning)
    variables = shaken(variables_of(model))
    groups = assign_groups(variables["params"], tuning_rules(tuning))
    trainable, frozen = split(variables["params"], groups)

    def loss(params):
        logits, _ = model.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            random_clip(),
            True,
            mutable=["batch_stats"],
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    still = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(split(gradient, groups)[0])
        if not np.abs(leaf).max() > 0
    ]
    assert not still
    if tuning == "side":  # Nothing passes through the backbone, not even to be thrown away.
        assert frozen.keys() == {"backbone"}
        assert all(
            not np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(split(gradient, groups)[1])
        )
    if tuning == "frame":
        assert frozen == {}
    assert trainable


@pytest.mark.parametrize("kind", KINDS)
def test_kept_tokens_give_the_logits_of_the_clips(kind):
    model, clip = model_of("side", kind=kind), random_clip()
    variables = shaken(variables_of(model))
    levels, centers = run(model, variables, clip, method="frozen_levels")
    assert len(levels) == 3  # The embedder, and two blocks: the three thirds fall on them.
    read = clip if kind == "point" else clip[:, :, :0]
    np.testing.assert_allclose(
        run(model, variables, levels, centers, read, method="from_levels"),
        run(model, variables, clip),
        atol=1e-5,
    )


def test_frames_stay_alone():
    model = model_of("frame")
    variables = shaken(variables_of(model))
    assert "temporal_embedding" not in variables["params"]
    clip = random_clip(1)
    other = clip.copy()
    other[:, 4] = random_clip(3)[:, 4]  # The third anchor frame.
    before, after = (run(model, variables, c, method="features") for c in (clip, other))
    differs = np.abs(np.asarray(before - after)).max((0, 2, 3)) > 1e-6
    assert differs.tolist() == [False, False, True, False]


def test_other_correspondences():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, 4, 5, 6)), jnp.float32)
    tables = jnp.zeros((1, 4, 5, 2), jnp.int32)
    pooled = PointVideoAdapter(3, frame_pooled=True)
    params = shaken(pooled.init(jax.random.key(0), x, tables))
    before = run(pooled, params, x, tables)
    # The order of the tokens of a neighboring frame is nothing to a mean.
    shuffled = x.at[:, 0].set(x[:, 0, rng.permutation(5)])
    after = run(pooled, params, shuffled, tables)
    np.testing.assert_allclose(before[:, 1], after[:, 1], atol=1e-5)
    by_index = PointATA(dataclasses.replace(CONFIG, pva_correspondence="index"))
    nearest = PointATA(CONFIG)
    variables = shaken(variables_of(nearest))
    difference = run(by_index, variables, random_clip()) - run(nearest, variables, random_clip())
    assert np.abs(difference).max() > 1e-4


def test_settings_that_exclude_each_other():
    with pytest.raises(InputError, match="pva_correspondence"):
        PointATAConfig(pva_correspondence="farthest")
    with pytest.raises(InputError, match="use_pva=False"):
        PointATAConfig(frame_wise=True)
    with pytest.raises(InputError, match="use_sce=False"):
        PointATAConfig(side_width=8, use_pva=False)


def test_counts():
    config = dataclasses.replace(CONFIG, **CHANGES["lora"])
    width, rank = config.backbone.width, 3
    assert parameter_counts(config)["lora"] == 2 * (
        width * rank * 2 + rank * 3 * width + rank * width
    )
    assert "trained by lora" in summary(config)
    assert "trained by full" not in summary(config)

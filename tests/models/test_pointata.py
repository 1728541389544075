"""The whole model: its start, what it trains, and that it ignores the order of points."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pointata_jax.errors import InputError
from pointata_jax.models.backbone_file import backbone_shapes
from pointata_jax.models.point_mae import PRESETS, Backbone, BackboneConfig
from pointata_jax.models.pointata import PointATA, PointATAConfig
from pointata_jax.models.summary import TRAINED_PARTS, backbone_size, parameter_counts, summary
from pointata_jax.training import partition

CONFIG = PointATAConfig(
    backbone=BackboneConfig(
        width=24, depth=2, num_heads=3, embedder_widths=(6, 8, 12), num_groups=4, group_size=4
    ),
    num_classes=3,
    channels=1,
    num_anchors=4,
    num_centers=6,
    neighbors=4,
    radius=0.4,
    bottleneck=8,
    sce_bottleneck=8,
    sce_neighbors=3,
    pva_dilations=(1, 2),
    head_hidden=16,
    head_dropout=0.0,
)
LABELS = np.arange(4) % 3


def random_clip(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.4, size=(4, 8, 20, 4)).astype(np.float32)


def split(params):
    """Trainable parameters and the backbone."""
    return {k: v for k, v in params.items() if k != "backbone"}, {"backbone": params["backbone"]}


def loss(model, trainable, frozen, stats, clip):
    logits, _ = model.apply(
        {"params": {**trainable, **frozen}, "batch_stats": stats},
        clip,
        True,
        mutable=["batch_stats"],
    )
    return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()


gradient = jax.jit(jax.grad(loss, argnums=1), static_argnums=0)
apply = jax.jit(PointATA(CONFIG).apply)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(PointATA(CONFIG).init)(jax.random.key(0), random_clip())


@pytest.fixture(scope="module")
def trained(variables):
    """Variables after three steps of Adam, and the gradient after the first of them."""
    trainable, frozen = split(variables["params"])
    optimizer = optax.adam(1e-2)
    state = optimizer.init(trainable)

    @jax.jit
    def move(trainable, state, grads):
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(trainable, updates), state

    gradients = []
    for _ in range(3):
        grads = gradient(
            PointATA(CONFIG), trainable, frozen, variables["batch_stats"], random_clip()
        )
        gradients.append(grads)
        trainable, state = move(trainable, state, grads)
    params = {**trainable, **frozen}
    return {"params": params, "batch_stats": variables["batch_stats"]}, gradients[1]


@pytest.fixture(scope="module")
def features():
    return jax.jit(lambda v, clip: PointATA(CONFIG).apply(v, clip, method="features"))


def test_starts_as_the_frozen_backbone_bit_for_bit(variables, trained, features):
    frozen = jax.jit(lambda v, clip: PointATA(CONFIG).apply(v, clip, method="frozen_features"))
    np.testing.assert_array_equal(
        features(variables, random_clip()), frozen(variables, random_clip())
    )
    assert (
        np.abs(features(trained[0], random_clip()) - frozen(trained[0], random_clip())).max() > 0.01
    )


@pytest.mark.parametrize("block", ["point_mae", "recon"])
def test_global_tokens_of_the_checkpoint_run_beside_every_frame(block):
    backbone = dataclasses.replace(
        CONFIG.backbone, class_token=True, extra_tokens=("image", "text"), block=block
    )
    config = dataclasses.replace(CONFIG, backbone=backbone)
    model, clip = PointATA(config), random_clip()
    variables = jax.jit(model.init)(jax.random.key(0), clip)
    features = jax.jit(lambda v: model.apply(v, clip, method="features"))
    before = features(variables)
    assert before.shape == (4, 4, 6, 24)
    frozen = jax.jit(lambda v: model.apply(v, clip, method="frozen_features"))(variables)
    np.testing.assert_allclose(before, frozen, atol=1e-5)
    # Point-MAE's patches attend to the class token, ReCon's never do.
    own = variables["params"]["backbone"]
    token = {"class_token": own["class_token"] + np.linspace(-2, 2, 24, dtype=np.float32)}
    params = {**variables["params"], "backbone": {**own, **token}}
    moved = np.abs(features({**variables, "params": params}) - before).max()
    assert (moved > 1e-3) == (block == "point_mae")


EVA = {
    "position_every_block": False,
    "norm_epsilon": 1e-6,
    "qkv_bias": "query_value",
    "mlp": "swiglu",
}
UNI3D = EVA | {"input_channels": 6, "embedder_output": 10, "channel_constants": (0.4, 0.4, 0.4)}


@pytest.mark.parametrize(
    "variant",
    [
        UNI3D | {"final_norm": "none"},
        UNI3D | {"final_norm": "class", "class_token": True},
        EVA | {"qkv_fused": False, "mlp_fused": False, "mlp_norm": True},
        {"position_input": "sinusoidal"},
        {"qkv_bias": "all", "embedder_bias": False},
    ],
)
def test_starts_as_a_frozen_backbone_of_another_family_bit_for_bit(variant):
    backbone = dataclasses.replace(CONFIG.backbone, depth=3, **variant)
    config = dataclasses.replace(CONFIG, backbone=backbone, remat=backbone.class_token)
    model, clip = PointATA(config), random_clip()
    variables = jax.jit(model.init)(jax.random.key(0), clip)
    file = backbone_shapes(backbone)["params"]
    own = variables["params"]["backbone"]
    # Of the file, the video model lacks what reads points and what only the class token passes.
    unused = {"embedder", "reduce_dim", "class_norm"} & file.keys()
    assert own.keys() == file.keys() - unused
    noise = np.random.default_rng(0)
    own = jax.tree.map(lambda p: p + 0.2 * noise.normal(size=p.shape).astype(np.float32), own)
    variables = {**variables, "params": {**variables["params"], "backbone": own}}
    before = jax.jit(lambda v: model.apply(v, clip, method="features"))(variables)
    frozen = jax.jit(lambda v: model.apply(v, clip, method="frozen_features"))(variables)
    if backbone.class_token:
        np.testing.assert_allclose(before, frozen, atol=1e-5)
    else:
        np.testing.assert_array_equal(before, frozen)

    # The tokens are those of the backbone itself, layer by layer.
    def by_hand(model):
        tokens, centers = model.tokens(clip)
        x, places = (rows.reshape(-1, *rows.shape[2:]) for rows in (tokens, centers))
        position = model.backbone.position(places)
        rows = model.backbone.global_rows(len(x))
        if rows is not None:
            x = jnp.concatenate([rows[0], x], axis=1)
            position = jnp.concatenate([rows[1], position], axis=1)
        for index, block in enumerate(model.backbone.blocks):
            x = block(x + position if backbone.position_every_block or not index else x)
        if backbone.final_norm == "all":
            x = model.backbone.norm(x)
        return x[:, len(backbone.global_tokens) :].reshape(tokens.shape)

    expected = jax.jit(lambda v: model.apply(v, method=by_hand))(variables)
    np.testing.assert_allclose(before, expected, atol=1e-4)


def test_parameter_names_are_the_backbone_files(variables):
    params = variables["params"]
    assert set(params) == {
        "backbone", "embedder", "pva_0", "pva_1", "sce", "sce_gates", "temporal_embedding", "head"
    }  # fmt: skip
    assert set(variables["batch_stats"]) == {"head"}
    backbone = Backbone(CONFIG.backbone)
    file = jax.eval_shape(backbone.init, jax.random.key(0), jnp.zeros((1, 8, 3)))["params"]
    file.pop("embedder")
    assert jax.tree.map(jnp.shape, params["backbone"]) == jax.tree.map(jnp.shape, file)


def test_every_trainable_leaf_learns_after_one_step(trained):
    _, second_gradient = trained
    still = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(second_gradient)
        if not np.abs(leaf).max() > 0
    ]
    assert not still


def test_order_of_points_does_not_matter(trained):
    clip = random_clip(1)
    rng = np.random.default_rng(2)
    shuffled = np.stack([[f[rng.permutation(len(f))] for f in frames] for frames in clip])
    np.testing.assert_allclose(apply(trained[0], shuffled), apply(trained[0], clip), atol=1e-5)


def test_time_is_crossed_by_the_adapters_and_only_by_them(variables, trained, features):
    clip = random_clip(1)
    other = clip.copy()
    other[:, -1] = random_clip(3)[:, -1]  # Only tubes of the last anchor frame read this frame.
    before = features(variables, clip), features(variables, other)
    np.testing.assert_array_equal(before[0][:, :3], before[1][:, :3])
    assert np.abs(before[0][:, 3] - before[1][:, 3]).max() > 1e-3
    after = features(trained[0], clip), features(trained[0], other)
    assert np.abs(after[0][:, :3] - after[1][:, :3]).max() > 1e-4

    reordered = clip[:, [4, 1, 6, 3, 0, 7, 2, 5]]
    assert np.abs(apply(trained[0], clip) - apply(trained[0], reordered)).max() > 1e-3


def test_recomputation_changes_no_gradient(variables, trained):
    trainable, frozen = split(trained[0]["params"])
    stats, clip = variables["batch_stats"], random_clip()
    gradients = [
        gradient(PointATA(dataclasses.replace(CONFIG, remat=remat)), trainable, frozen, stats, clip)
        for remat in (False, True)
    ]
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kind", "shape"), [("frame", (4, 8, 3)), ("point", (4, 8, 20, 3))])
def test_frames_and_points_get_logits_and_gradients_reach_every_part(kind, shape):
    model, clip = PointATA(dataclasses.replace(CONFIG, kind=kind)), random_clip()
    variables = jax.jit(model.init)(jax.random.key(0), clip)
    # Zero-initialized parts pass no gradient on to what stands before them.
    params = jax.tree.map(lambda x: x + 0.05, variables["params"])

    def total(params):
        state = {"params": params, "batch_stats": variables["batch_stats"]}
        logits, _ = model.apply(state, clip, True, mutable=["batch_stats"])
        assert logits.shape == shape
        return (logits * jnp.arange(3)).sum(-1).std()

    found = jax.jit(jax.grad(total))(params)
    for part in ("embedder", "pva_0", "pva_1", "sce", "sce_gates", "temporal_embedding", "head"):
        leaves = jax.tree.leaves(found[part])
        assert any(float(jnp.abs(leaf).max()) > 1e-9 for leaf in leaves), part


def test_parts_can_be_left_out():
    config = dataclasses.replace(CONFIG, use_pva=False, use_sce=False)
    shapes = jax.eval_shape(PointATA(config).init, jax.random.key(0), random_clip())
    assert set(shapes["params"]) == {"backbone", "embedder", "temporal_embedding", "head"}


def test_wrong_input_is_refused_in_words():
    with pytest.raises(InputError, match="num_anchors"):
        jax.eval_shape(PointATA(CONFIG).init, jax.random.key(0), random_clip()[:, :6])
    with pytest.raises(InputError, match="sce_neighbors"):
        dataclasses.replace(CONFIG, sce_neighbors=6)
    with pytest.raises(InputError, match="kind 'video'"):
        dataclasses.replace(CONFIG, kind="video")
    with pytest.raises(InputError, match="pva_dilations"):
        dataclasses.replace(CONFIG, pva_dilations=())
    with pytest.raises(InputError, match="embedder normalization 'batch'"):
        dataclasses.replace(CONFIG, embedder_normalization="batch")


def test_configuration_survives_json():
    assert PointATAConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG
    with pytest.raises(InputError, match="bottle_neck"):
        PointATAConfig.from_dict({"bottle_neck": 3})


def test_counts_of_the_small_preset():
    config = PointATAConfig(backbone=PRESETS["small"], num_anchors=12, num_centers=64, neighbors=8)
    counts, whole = parameter_counts(config), backbone_size(config.backbone)
    assert 21.5e6 < whole < 22.5e6
    width, rank = 384, 64
    layers = 2 * width + 2 * width * rank + width + rank + 4 * rank + rank * rank + rank
    assert counts["pva"] == 12 * layers
    assert sum(counts[part] for part in ("embedder", "pva", "sce", "temporal")) <= 0.07 * whole
    # The model holds the backbone without its patch embedder, here the size of a copied one.
    copied = dataclasses.replace(config, embedder_normalization="none")
    patch_embedder = parameter_counts(copied)["embedder"]
    assert counts["backbone"] < whole < counts["backbone"] + 1.1 * patch_embedder
    assert config.p4d.widths == (64, 128, 256)
    assert copied.p4d.widths == (128, 256, 512)
    table = summary(config)
    assert f"{whole:,}" in table
    assert f"{counts['head']:,}" in table


def test_counts_agree_with_the_tree_and_with_the_rules_of_each_tuning(variables):
    counts = parameter_counts(CONFIG)
    assert counts == parameter_counts(variables) == parameter_counts(variables["params"])
    assert sum(counts.values()) == sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert set(TRAINED_PARTS) == set(partition.TUNINGS)
    for tuning, rules in partition.TUNINGS.items():
        groups = partition.assign_groups(variables["params"], rules)
        trainable, _ = partition.split(variables["params"], groups)
        expected = sum(counts[part] for part in TRAINED_PARTS[tuning])
        assert sum(x.size for x in jax.tree.leaves(trainable)) == expected, tuning

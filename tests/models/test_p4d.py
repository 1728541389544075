"""The P4D embedder against NumPy, against the 3D embedder, and against the order of points."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.data.clips import ClipConfig
from pointata_jax.errors import InputError
from pointata_jax.models import p4d
from pointata_jax.models.p4d import P4DConfig, P4DEmbedder, embedder_from_backbone
from pointata_jax.models.point_mae import Backbone, BackboneConfig, PatchEmbedder
from pointata_jax.models.pointata import PointATA, PointATAConfig

CONFIG = P4DConfig(width=12, num_centers=4, neighbors=3, radius=0.35, channels=2, widths=(6, 8, 10))
BACKBONE = BackboneConfig(
    width=12, depth=1, num_heads=2, embedder_widths=(6, 8, 10), num_groups=4, group_size=5
)


def random_clip(seed: int = 0, frames: int = 5, points: int = 14, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(scale=0.4, size=(2, frames, points, 3 + channels)).astype(np.float32)


def perturbed(tree, seed: int = 0):
    """Initial parameters plus noise, so that no bias is zero and no scale is one."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape).astype(np.float32), tree)


def backbone_variables():
    return jax.jit(Backbone(BACKBONE).init)(jax.random.key(0), random_clip(channels=0)[0])


def numpy_tubes(frames: np.ndarray, config: P4DConfig) -> tuple[np.ndarray, np.ndarray]:
    """Tubes and centers of one clip, by their definitions."""
    all_tubes, all_centers = [], []
    for anchor in range(0, len(frames), config.anchor_stride):
        xyz = frames[anchor, :, :3]
        centers = [xyz[np.argmax(np.linalg.norm(xyz, axis=1))]]
        while len(centers) < config.num_centers:
            gaps = np.linalg.norm(xyz[:, None] - np.asarray(centers), axis=2).min(1)
            centers.append(xyz[gaps.argmax()])
        for center in centers:
            tube = []
            for offset in (-1, 0, 1):
                frame = frames[np.clip(anchor + offset, 0, len(frames) - 1)]
                distance = np.linalg.norm(frame[:, :3] - center, axis=1)
                order = np.argsort(distance)[: config.neighbors]
                inside = [i for i in order if distance[i] < config.radius] or [order[0]]
                inside += [inside[0]] * (config.neighbors - len(inside))
                for point in frame[inside]:
                    step = (point[:3] - center) / config.radius
                    length = np.linalg.norm(step)
                    if length > config.max_displacement:
                        step *= config.max_displacement / length
                    tube.append(np.concatenate([step, [0.5 * offset], point[3:]]))
            all_tubes.append(tube)
        all_centers.append(centers)
    shape = (len(all_centers), config.num_centers, 3 * config.neighbors, -1)
    return np.asarray(all_tubes).reshape(shape), np.asarray(all_centers)


def numpy_encode(tubes: np.ndarray, params) -> np.ndarray:
    def dense(x, name):
        return x @ params[name]["kernel"] + params[name].get("bias", 0.0)

    def layer_norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * params[name]["scale"] + params[name]["bias"]

    h = dense(
        np.maximum(layer_norm(dense(tubes, "first_dense_0"), "first_norm"), 0), "first_dense_1"
    )
    g = h.max(-2, keepdims=True)
    kernel = np.concatenate([params["second_global"]["kernel"], params["second_local"]["kernel"]])
    joined = np.concatenate([np.broadcast_to(g, h.shape), h], axis=-1)
    second = layer_norm(joined @ kernel + params["second_global"]["bias"], "second_norm")
    return dense(np.maximum(second, 0), "out").max(-2)


def test_equals_the_formulas_in_numpy():
    clip = random_clip()
    # One point far from the others: a tube around it finds empty balls in the frames beside it.
    clip[:, 2, 0, :3] = (5.0, -4.0, 3.0)
    model = P4DEmbedder(CONFIG)
    params = perturbed(jax.jit(model.init)(jax.random.key(0), clip)["params"])
    tokens, centers = jax.jit(model.apply)({"params": params}, clip)
    tubes, _ = jax.jit(p4d.tubes, static_argnums=1)(clip, CONFIG)

    params = jax.tree.map(np.asarray, params)
    for i, frames in enumerate(clip):
        expected_tubes, expected_centers = numpy_tubes(frames, CONFIG)
        np.testing.assert_allclose(tubes[i], expected_tubes, atol=1e-5)
        np.testing.assert_allclose(centers[i], expected_centers, atol=1e-6)
        np.testing.assert_allclose(tokens[i], numpy_encode(expected_tubes, params), atol=2e-5)
    lengths = np.linalg.norm(tubes[..., :3], axis=-1)
    assert np.isclose(lengths.max(), CONFIG.max_displacement)  # The clipped branch was exercised.


@pytest.mark.parametrize("channels", [0, 2])
def test_copy_of_the_backbone_repeats_its_tokens_on_a_static_cloud(channels):
    frame = random_clip(1, frames=1, points=20, channels=channels)
    clip = np.repeat(frame, 3, axis=1)
    variables = backbone_variables()
    variables = {
        "params": perturbed(variables["params"], 1),
        "batch_stats": jax.tree.map(
            lambda x: x + np.random.default_rng(2).uniform(0.2, 2, x.shape).astype(np.float32),
            variables["batch_stats"],
        ),
    }
    config = dataclasses.replace(
        CONFIG, channels=channels, neighbors=5, radius=0.7, normalization="none", anchor_stride=1
    )
    params = embedder_from_backbone(variables, config)
    model = P4DEmbedder(config)
    fresh = jax.eval_shape(model.init, jax.random.key(0), clip)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, fresh)

    tokens, _ = jax.jit(model.apply)({"params": params}, clip)
    tubes, _ = jax.jit(p4d.tubes, static_argnums=1)(clip, config)
    assert np.linalg.norm(tubes[..., :3], axis=-1).max() < config.max_displacement
    patches = tubes[..., :5, :3] * config.radius
    embedder = {name: tree["embedder"] for name, tree in variables.items()}
    expected = jax.jit(PatchEmbedder(BACKBONE).apply)(embedder, patches)
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "variant",
    [
        {"embedder_bias": False},
        {"embedder_output": 9},
        {"embedder_output": 9, "input_channels": 6, "channel_constants": (0.4, 0.5, 0.6)},
    ],
)
def test_copy_of_a_backbone_of_another_family(variant):
    """As above, with a projection after the maximum, without biases, and with gray points."""
    backbone = dataclasses.replace(BACKBONE, **variant)
    model = PointATA(
        PointATAConfig(
            backbone=backbone,
            channels=1,
            num_anchors=3,
            anchor_stride=1,
            num_centers=4,
            neighbors=5,
            radius=0.7,
            embedder_normalization="none",
            sce_neighbors=2,
        )
    )
    clip = np.repeat(random_clip(1, frames=1, points=20, channels=1), 3, axis=1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), clip)["params"]["embedder"]
    variables = jax.jit(Backbone(backbone).init)(jax.random.key(0), clip[0, ..., :3])
    variables = {
        "params": perturbed(variables["params"], 1),
        "batch_stats": jax.tree.map(lambda x: x + 0.5, variables["batch_stats"]),
    }
    config = model.config.p4d
    params = embedder_from_backbone(variables, config)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)

    tokens, _ = jax.jit(P4DEmbedder(config).apply)({"params": params}, clip)
    tubes, _ = jax.jit(p4d.tubes, static_argnums=1)(clip, config)
    patches = tubes[..., :5, :3] * config.radius
    constants = np.asarray(backbone.channel_constants, np.float32)
    gray = jnp.broadcast_to(constants, (*patches.shape[:-1], len(constants)))
    patches = jnp.concatenate([patches, gray], axis=-1)
    expected = jax.jit(lambda v: Backbone(backbone).apply(v, patches, method="tokens"))(variables)
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-4)


def test_copied_colors_are_read_from_the_clip():
    backbone = dataclasses.replace(
        BACKBONE, input_channels=6, channel_constants=(0.4, 0.4, 0.4), embedder_output=9
    )
    form = ClipConfig(
        channels=("b", "heat", "R", "g"),
        channel_mean=(100.0, 3.0, 120.0, 90.0),
        channel_std=(40.0, 2.0, 50.0, 60.0),
    )
    config = P4DConfig(
        width=backbone.width,
        num_centers=4,
        neighbors=5,
        radius=0.7,
        channels=4,
        anchor_stride=1,
        widths=backbone.embedder_widths,
        output=9,
        channel_constants=backbone.channel_constants,
        normalization="none",
    )
    clip = np.repeat(random_clip(1, frames=1, points=20, channels=4), 3, axis=1)
    bare = np.concatenate([clip[0, ..., :3]] * 2, axis=-1)
    variables = jax.jit(Backbone(backbone).init)(jax.random.key(0), bare)
    variables = {
        "params": perturbed(variables["params"], 1),
        "batch_stats": jax.tree.map(lambda x: x + 0.5, variables["batch_stats"]),
    }
    params = embedder_from_backbone(variables, config, form.colors)
    tokens, _ = jax.jit(P4DEmbedder(config).apply)({"params": params}, clip)
    tubes, _ = jax.jit(p4d.tubes, static_argnums=1)(clip, config)
    mean, std = np.array(form.channel_mean), np.array(form.channel_std)
    sensor = tubes[..., :5, 4:] * std + mean  # as the camera gave them, 0 to 255
    patches = [tubes[..., :5, :3] * config.radius, sensor[..., [2, 3, 0]] / 255]
    patches = jnp.concatenate(patches, axis=-1).astype(jnp.float32)
    expected = jax.jit(lambda v: Backbone(backbone).apply(v, patches, method="tokens"))(variables)
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-4)
    # Colors from 0 to 1 stay as they are, and two of three are none.
    unit = dataclasses.replace(form, channel_mean=(0.5,) * 4, channel_std=(0.2,) * 4)
    assert unit.colors == ((2, 0.2, 0.5), (3, 0.2, 0.5), (0, 0.2, 0.5))
    assert dataclasses.replace(unit, channels=("b", "heat", "red", "g")).colors == ()


def test_copy_refuses_what_does_not_fit():
    variables = backbone_variables()
    with pytest.raises(InputError, match='normalization="none"'):
        embedder_from_backbone(variables, CONFIG)
    wider = dataclasses.replace(CONFIG, normalization="none", widths=(6, 8, 16))
    with pytest.raises(InputError, match=r"\(6, 8, 10\) -> 12"):
        embedder_from_backbone(variables, wider)
    with pytest.raises(InputError, match="patch embedder"):
        embedder_from_backbone({"params": {}, "batch_stats": {}}, wider)
    reduced = {**variables, "params": {**variables["params"], "reduce_dim": {}}}
    with pytest.raises(InputError, match="linear layer after the maximum"):
        embedder_from_backbone(reduced, wider)
    fitting = dataclasses.replace(CONFIG, normalization="none")
    colored = dataclasses.replace(fitting, channel_constants=(0.4, 0.4, 0.4))
    with pytest.raises(InputError, match="reads 3 numbers per point.*constants for 3"):
        embedder_from_backbone(variables, colored)
    projected = {"kernel": np.zeros((12, 14)), "bias": np.zeros(14)}
    reduced = {**variables, "params": {**variables["params"], "reduce_dim": projected}}
    with pytest.raises(InputError, match=r"\(6, 8, 10\) -> 12"):
        embedder_from_backbone(reduced, dataclasses.replace(fitting, output=11))


def test_order_of_points_does_not_matter():
    clip = random_clip(3)
    # Second clip: fewer distinct points than centers, as in sparse frames drawn with replacement.
    clip[1] = clip[1][:, np.arange(clip.shape[2]) % 3]
    rng = np.random.default_rng(4)
    shuffled = np.stack(
        [[frame[rng.permutation(len(frame))] for frame in frames] for frames in clip]
    )
    model = P4DEmbedder(CONFIG)
    variables = jax.jit(model.init)(jax.random.key(0), clip)
    apply = jax.jit(model.apply)
    for result, expected in zip(apply(variables, shuffled), apply(variables, clip), strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("held", [3, 7, 12])
def test_a_tube_holds_no_copy_while_a_different_point_lies_in_the_ball(held):
    """Frames that repeat a few points many times give the tubes of the few points."""
    rng = np.random.default_rng(held)
    few = rng.normal(scale=0.3, size=(2, 5, held, 5)).astype(np.float32)
    filled = np.empty((2, 5, 40, 5), np.float32)
    for place in np.ndindex(2, 5):
        again = few[place][rng.integers(0, held, 40 - held)]
        filled[place] = rng.permutation(np.concatenate([few[place], again]))
    config = dataclasses.replace(CONFIG, num_centers=min(4, held), neighbors=3)
    tubes, centers = jax.jit(p4d.tubes, static_argnums=1)(filled, config)
    for clip in range(2):
        expected_tubes, expected_centers = numpy_tubes(few[clip], config)
        np.testing.assert_allclose(tubes[clip], expected_tubes, atol=1e-5)
        np.testing.assert_allclose(centers[clip], expected_centers, atol=1e-6)


def test_points_at_one_place_with_other_channels_are_different_points():
    clip = np.zeros((1, 1, 6, 4), np.float32)
    clip[0, 0, :, 3] = [1, 2, 3, 1, 2, 3]
    config = P4DConfig(width=12, num_centers=1, neighbors=5, channels=1, widths=(6, 8, 10))
    tubes, _ = p4d.tubes(clip, config)
    assert sorted(tubes[0, 0, 0, :5, 4].tolist()) == [1, 1, 1, 2, 3]


def test_blocks_change_neither_tokens_nor_gradients(monkeypatch):
    clip = random_clip(5)
    model = P4DEmbedder(CONFIG)
    variables = jax.jit(model.init)(jax.random.key(0), clip)

    results = []
    for budget in (1 << 20, 60):
        monkeypatch.setitem(p4d.BLOCK_ROWS, "cpu", budget)

        # A function of its own for each budget: JAX remembers what it has traced.
        def loss(variables):
            tokens, _ = model.apply(variables, clip)
            return jnp.sum(jnp.sin(tokens)), tokens

        gradient = jax.jit(jax.grad(loss, has_aux=True))
        results.append((gradient(variables), str(jax.make_jaxpr(loss)(variables))))
    (whole, whole_code), (blocks, blocks_code) = results
    assert blocks_code.count("scan[") > whole_code.count("scan[")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(blocks), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def random_dense(rng: np.random.Generator, inner: int, outer: int, bias: bool) -> dict:
    """Parameters of a Dense layer."""
    params = {"kernel": jnp.asarray(rng.normal(size=(inner, outer)), jnp.float32)}
    return params | ({"bias": jnp.asarray(rng.normal(size=outer), jnp.float32)} if bias else {})


@pytest.mark.parametrize("first_bias", [False, True])
@pytest.mark.parametrize("second_bias", [False, True])
def test_a_folded_layer_equals_two_layers(first_bias, second_bias):
    rng = np.random.default_rng(6)
    first, second = random_dense(rng, 5, 7, first_bias), random_dense(rng, 7, 4, second_bias)
    x = jnp.asarray(rng.normal(size=(9, 5)), jnp.float32)

    def dense(x, params):
        return x @ params["kernel"] + params.get("bias", 0.0)

    def one(first, second, x):
        result = dense(x, p4d.fold_dense(first, second))
        return jnp.sin(result).sum(), result

    def two(first, second, x):
        result = dense(dense(x, first), second)
        return jnp.sin(result).sum(), result

    assert ("bias" in p4d.fold_dense(first, second)) == (first_bias or second_bias)
    folded, apart = (
        jax.grad(function, argnums=(0, 1, 2), has_aux=True)(first, second, x)
        for function in (one, two)
    )
    for a, b in zip(jax.tree.leaves(folded), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("budget", [1 << 20, 60])
def test_folding_changes_neither_parameters_nor_tokens_nor_gradients(monkeypatch, budget):
    monkeypatch.setitem(p4d.BLOCK_ROWS, "cpu", budget)
    clip = random_clip(6)
    models = P4DEmbedder(CONFIG), P4DEmbedder(CONFIG, fold=False)
    folded, apart = (jax.jit(model.init)(jax.random.key(0), clip) for model in models)
    jax.tree.map(np.testing.assert_array_equal, folded, apart)

    params = perturbed(folded["params"])
    results = []
    for model in models:

        def loss(params, model=model):
            tokens, _ = model.apply({"params": params}, clip)
            return jnp.sum(jnp.sin(tokens)), tokens

        results.append(jax.jit(jax.grad(loss, has_aux=True))(params))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 14, 5), "leading axes"),
        ((2, 5, 14, 3), "channels=0"),
        ((2, 5, 3, 5), "fewer than the 4"),
    ],
)
def test_wrong_clips_are_refused_in_words(shape, message):
    with pytest.raises(InputError, match=message):
        jax.eval_shape(P4DEmbedder(CONFIG).init, jax.random.key(0), jnp.zeros(shape))

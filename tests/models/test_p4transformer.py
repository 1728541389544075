"""P4Transformer against golden numbers and parameter counts of the published PyTorch code."""

from __future__ import annotations

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.models import p4d
from pointata_jax.models.p4transformer import (
    P4DConv,
    P4Transformer,
    P4TransformerConfig,
    P4TransformerLayer,
)

GOLDEN = P4TransformerConfig(
    num_classes=5,
    num_centers=16,
    neighbors=8,
    width=32,
    depth=2,
    num_heads=2,
    head_width=16,
    mlp_width=64,
    skip_radius_sq=1e-3,
)
NTU = P4TransformerConfig(
    num_classes=60, radius=0.1, depth=10, head_width=256, dropout=0.05, head_dropout=0.5
)
SYNTHIA = P4TransformerConfig(
    kind="point",
    num_classes=12,
    channels=3,
    radius=0.9,
    depth=2,
    num_heads=4,
    head_width=256,
    mlp_width=1024,
)
HOI4D = P4TransformerConfig(
    kind="frame", num_classes=19, radius=0.9, anchor_stride=1, width=2048, mlp_width=1024
)
SMALL = P4TransformerConfig(
    num_classes=4,
    channels=2,
    num_centers=6,
    neighbors=5,
    radius=0.6,
    width=32,
    depth=1,
    num_heads=2,
    head_width=8,
    mlp_width=24,
)


def random_clip(seed: int = 0, shape=(2, 5, 20, 5)) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.4, size=shape).astype(np.float32)


def names_and_shapes(config: P4TransformerConfig) -> dict[str, tuple]:
    """Where each PyTorch tensor of the network for clips goes, and its shape there."""
    width, inner, mlp = config.width, config.num_heads * config.head_width, config.mlp_width
    table = {
        "tube_embedding.conv_d.0.weight": ("tube_embedding/displacement/kernel", (width, 4, 1, 1)),
        "pos_embedding.weight": ("position/kernel", (width, 4, 1)),
        "pos_embedding.bias": ("position/bias", (width,)),
    }

    def add(theirs: str, ours: str, *shape: int) -> None:
        table[f"{theirs}.weight"] = (f"{ours}/{'kernel' if shape[1:] else 'scale'}", shape)
        table[f"{theirs}.bias"] = (f"{ours}/bias", shape[:1])

    for i in range(config.depth):
        attention, feed_forward = (f"transformer.layers.{i}.{part}.fn" for part in (0, 1))
        add(f"{attention}.norm", f"layers_{i}/norm_1", width)
        table[f"{attention}.fn.to_qkv.weight"] = (f"layers_{i}/qkv/kernel", (3 * inner, width))
        add(f"{attention}.fn.to_out.0", f"layers_{i}/proj", width, inner)
        add(f"{feed_forward}.norm", f"layers_{i}/norm_2", width)
        add(f"{feed_forward}.fn.net.0", f"layers_{i}/mlp_0", mlp, width)
        add(f"{feed_forward}.fn.net.3", f"layers_{i}/mlp_1", width, mlp)
    add("mlp_head.0", "head_norm", width)
    add("mlp_head.1", "hidden", mlp, width)
    add("mlp_head.3", "logits", config.num_classes, mlp)
    return table


def hashed(shape: tuple[int, ...], ordinal: int) -> np.ndarray:
    """The deterministic values for which the golden numbers were measured."""
    index = np.arange(math.prod(shape), dtype=np.float64) + 1
    value = np.sin(index * 12.9898 + ordinal * 78.233) * 43758.5453
    return (value - np.floor(value)).reshape(shape)


@pytest.fixture(scope="module")
def golden_variables():
    table = names_and_shapes(GOLDEN)
    assert len(table) == 31
    params: dict = {}
    for ordinal, name in enumerate(sorted(table)):
        path, shape = table[name]
        value = hashed(shape, ordinal) - 0.5
        if len(shape) > 1:
            value = 2 * value / math.sqrt(math.prod(shape[1:]))
            value = value.reshape(shape[:2]).T
        else:
            value = (1 if name.endswith(".weight") else 0) + 0.2 * value
        *folders, leaf = path.split("/")
        place = params
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = jnp.asarray(value, jnp.float32)
    expected = jax.eval_shape(P4Transformer(GOLDEN).init, jax.random.key(0), golden_clip())
    assert jax.tree.map(jnp.shape, {"params": params}) == jax.tree.map(jnp.shape, expected)
    return {"params": params}


def golden_clip() -> np.ndarray:
    return (2 * hashed((1, 6, 128, 3), 1000) - 1).astype(np.float32)


def close(ours, first, total, squares) -> None:
    ours = np.asarray(ours, np.float64)
    np.testing.assert_allclose(ours.reshape(-1)[:5], first, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.sum(), total, rtol=1e-5)
    np.testing.assert_allclose(np.square(ours).sum(), squares, rtol=1e-5)


@pytest.mark.parametrize(
    ("embedder_relu", "first", "total", "squares"),
    [
        (
            False,
            [0.43168293, 0.0269315, -0.18583979, 0.09533238, -0.04152923],
            0.32657779,
            0.23242482,
        ),
        (
            True,
            [0.44772727, -0.00680717, -0.16451528, 0.089398, -0.04511641],
            0.32068640,
            0.23759881,
        ),
    ],
)
def test_golden_logits(golden_variables, embedder_relu, first, total, squares):
    model = P4Transformer(dataclasses.replace(GOLDEN, embedder_relu=embedder_relu))
    close(jax.jit(model.apply)(golden_variables, golden_clip()), first, total, squares)


def test_golden_features_of_the_tubes(golden_variables):
    model = P4Transformer(GOLDEN)
    tubes = jax.jit(lambda v, clip: model.apply(v, clip, method="tubes"))
    tokens, _ = tubes(golden_variables, golden_clip())
    # The published order of axes is batch, frame, channel, center.
    close(
        tokens.swapaxes(-1, -2),
        [0.20877787, 0.24002732, 0.07494093, 0.22888527, 0.04230487],
        590.61417822,
        268.99351355,
    )


@pytest.mark.parametrize(
    ("config", "shape", "count"),
    [
        (P4TransformerConfig(), (1, 24, 2048, 3), 44_135_444),
        (NTU, (1, 24, 2048, 3), 128_144_444),
        (SYNTHIA, (1, 3, 16384, 6), 14_755_692),
        (HOI4D, (1, 150, 2048, 3), 65_121_299),
    ],
    ids=["MSR-Action3D", "NTU RGB+D", "Synthia 4D", "HOI4D"],
)
def test_published_parameter_counts(config, shape, count):
    variables = jax.eval_shape(
        P4Transformer(config).init, jax.random.key(0), jnp.zeros(shape, jnp.float32)
    )
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == count
    assert ("batch_stats" in variables) == (config.kind == "point")


def random_variables(model, *arguments):
    """Variables without zero biases, unit scales or trivial statistics, at no compilation."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        noise, name = rng.normal(size=leaf.shape).astype(np.float32), path[-1].key
        if name == "kernel":
            return noise / math.sqrt(leaf.shape[0])
        return 0.1 * noise + (1 if name in ("scale", "var") else 0)

    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *arguments))
    return jax.tree_util.tree_map_with_path(fill, shapes)


def numpy_layer(rows, params, stats, name):
    rows = rows @ params[name]["kernel"]
    if f"{name}_norm" in params:
        norm, running = params[f"{name}_norm"], stats[f"{name}_norm"]
        rows = (rows - running["mean"]) / np.sqrt(running["var"] + 1e-5)
        rows = np.maximum(rows * norm["scale"] + norm["bias"], 0)
    return rows


def numpy_conv(params, stats, frames, features, *, centers, radius, k, kernel, stride, pool):
    """Point 4D convolution of one clip, by its definition."""
    all_pooled, all_centers = [], []
    last = len(frames) - 1
    for anchor in range(0, len(frames), stride):
        chosen = [frames[anchor][0]]
        while len(chosen) < centers:
            gaps = np.linalg.norm(frames[anchor][:, None] - np.asarray(chosen), axis=2).min(1)
            chosen.append(frames[anchor][gaps.argmax()])
        pooled = []
        for center in chosen:
            parts = []
            for offset in range(-(kernel // 2), kernel // 2 + 1):
                frame = min(max(anchor + offset, 0), last)
                near = np.linalg.norm(frames[frame] - center, axis=1) < radius
                found = np.flatnonzero(near)[:k] if near.any() else np.zeros(1, int)
                move = frames[frame][found] - center
                move = np.concatenate([move, np.full((len(move), 1), offset)], axis=1)
                rows = numpy_layer(move, params, stats, "displacement")
                if features is not None:
                    rows = rows + numpy_layer(features[frame][found], params, stats, "features")
                for i in range(sum(name.startswith("mlp") for name in params) // 2):
                    rows = numpy_layer(rows, params, stats, f"mlp_{i}")
                parts.append(rows.max(0))
            pooled.append(pool(parts, axis=0))
        all_pooled.append(pooled)
        all_centers.append(chosen)
    return np.asarray(all_pooled), np.asarray(all_centers)


def numpy_propagation(params, stats, xyz, centers, features, skip):
    """Interpolation and linear maps of one clip, by their definition."""
    out = []
    for t, points in enumerate(xyz):
        distance = np.linalg.norm(points[:, None] - centers[t], axis=2)
        nearest = np.argsort(distance, axis=1)[:, :3]
        weights = 1 / (np.take_along_axis(distance, nearest, 1) + 1e-8)
        weights /= weights.sum(1, keepdims=True)
        rows = (weights[..., None] * features[t][nearest]).sum(1)
        if skip is not None:
            rows = np.concatenate([rows, skip[t]], axis=1)
        out.append(numpy_layer(numpy_layer(rows, params, stats, "mlp_0"), params, stats, "mlp_1"))
    return np.asarray(out)


def test_the_network_for_points_follows_its_definition():
    # The last two levels hold fewer points than a ball takes.
    config = dataclasses.replace(SMALL, kind="point", neighbors=8, width=64)
    model, clip = P4Transformer(config), random_clip(1, (1, 3, 390, 5))
    variables = random_variables(model, clip)
    logits = jax.jit(model.apply)(variables, clip)
    assert logits.shape == (1, 3, 390, 4)

    params, stats = jax.tree.map(
        lambda x: np.asarray(x, np.float64), (variables["params"], variables["batch_stats"])
    )
    cloud = np.asarray(clip[0], np.float64)
    xyz, features = cloud[..., :3], cloud[..., 3:]
    levels = [(xyz, features)]
    for i, (points, kernel) in enumerate(((97, 1), (24, 1), (6, 3), (3, 1))):
        features, xyz = numpy_conv(
            params[f"encoder_{i}"],
            stats[f"encoder_{i}"],
            xyz,
            features,
            centers=points,
            radius=0.6 * 2**i,
            k=8,
            kernel=kernel,
            stride=1,
            pool=np.sum,
        )
        levels.append((xyz, features))
    rows = jnp.asarray(features.reshape(1, 9, 64), jnp.float32)
    layer = P4TransformerLayer(config.num_heads, config.head_width, config.mlp_width)
    rows = layer.apply({"params": variables["params"]["layers_0"]}, rows)
    features = np.asarray(rows, np.float64).reshape(3, 3, 64)
    for i in range(4):
        features = numpy_propagation(
            params[f"decoder_{i}"],
            stats[f"decoder_{i}"],
            levels[3 - i][0],
            levels[4 - i][0],
            features,
            levels[3 - i][1],
        )
    expected = features @ params["logits"]["kernel"] + params["logits"]["bias"]
    np.testing.assert_allclose(logits[0], expected, rtol=1e-4, atol=1e-4)
    assert np.abs(expected - expected.mean((0, 1))).max() > 1e-2


@pytest.mark.parametrize(("frames", "stride"), [(5, 2), (4, 1)])
def test_tubes_of_any_length_follow_their_definition(frames, stride):
    clip = random_clip(2, (2, frames, 20, 5))
    conv = P4DConv(widths=(7,), radius=0.5, neighbors=4, stride=stride)
    xyz, features = jnp.asarray(clip[..., :3]), jnp.asarray(clip[..., 3:])
    variables = conv.init(jax.random.key(0), xyz, 6, features)
    found, centers = conv.apply(variables, xyz, 6, features)
    assert found.shape == (2, math.ceil(frames / stride), 6, 7)
    for b in range(2):
        expected = numpy_conv(
            jax.tree.map(np.asarray, variables["params"]),
            {},
            clip[b, ..., :3],
            clip[b, ..., 3:],
            centers=6,
            radius=0.5,
            k=4,
            kernel=3,
            stride=stride,
            pool=np.max,
        )
        np.testing.assert_allclose(found[b], expected[0], atol=1e-5)
        np.testing.assert_array_equal(centers[b], expected[1])


def test_blocks_of_tubes_change_nothing(monkeypatch):
    clip = jnp.asarray(random_clip())
    conv = P4DConv(widths=(8, 7), radius=0.6, neighbors=5, stride=2, activation=True)
    arguments = (clip[..., :3], 6, clip[..., 3:])
    params = random_variables(conv, *arguments)
    results = []
    for rows in (90, 1 << 20):
        monkeypatch.setitem(p4d.BLOCK_ROWS, "cpu", rows)
        total = jax.value_and_grad(lambda p: jnp.square(conv.apply(p, *arguments)[0]).sum())
        results.append(jax.jit(total)(params))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_frames_between_anchors_take_interpolated_logits():
    config = dataclasses.replace(SMALL, kind="frame")
    model, clip = P4Transformer(config), random_clip(3, (2, 6, 20, 5))
    variables = random_variables(model, clip)
    logits = jax.jit(model.apply)(variables, clip)
    middle = (logits[:, (0, 2)] + logits[:, (2, 4)]) / 2
    np.testing.assert_allclose(logits[:, (1, 3)], middle, atol=1e-6)
    np.testing.assert_array_equal(logits[:, 5], logits[:, 4])
    assert np.abs(logits[:, 2] - logits[:, 0]).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "clip_shape", "logits_shape"),
    [
        ("clip", (2, 5, 20, 5), (2, 4)),
        ("frame", (2, 5, 20, 5), (2, 5, 4)),
        pytest.param("point", (1, 2, 512, 3), (1, 2, 512, 4), marks=pytest.mark.slow),
    ],
)
def test_shapes_and_a_gradient_for_every_parameter(kind, clip_shape, logits_shape):
    config = dataclasses.replace(
        SMALL,
        kind=kind,
        channels=clip_shape[-1] - 3,
        width=64,
        dropout=0.1,
        head_dropout=0.1,
    )
    model, clip = P4Transformer(config), random_clip(4, clip_shape)
    variables = random_variables(model, clip)
    targets = np.random.default_rng(5).normal(size=logits_shape).astype(np.float32)

    @jax.jit
    def gradient(key):
        def total(params):
            logits, state = model.apply(
                {**variables, "params": params},
                clip,
                True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            assert logits.shape == logits_shape
            return (logits * targets).sum(), (logits, state)

        return jax.grad(total, has_aux=True)(variables["params"])

    found, (logits, state) = gradient(jax.random.key(1))
    assert np.abs(logits - gradient(jax.random.key(2))[1][0]).max() > 1e-4
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    if kind == "point":
        for name, level in found.items():
            if name.startswith("encoder"):
                # In a tube of one frame all points have dt = 0.
                crosses_time = np.abs(level["displacement"]["kernel"][3]).max() > 0
                assert crosses_time == (name == "encoder_2")
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max() > 0, state["batch_stats"], variables["batch_stats"]
        )
        assert all(jax.tree.leaves(moved))


def test_one_head_as_wide_as_the_tokens_has_no_output_projection():
    layer, x = P4TransformerLayer(1, 8, 16), jnp.ones((1, 3, 8))
    wider = P4TransformerLayer(1, 9, 16)
    shapes = [jax.eval_shape(m.init, jax.random.key(0), x)["params"] for m in (layer, wider)]
    assert shapes[1].keys() - shapes[0].keys() == {"proj"}


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({}, (1, 4, 20, 3), "set channels=0"),
        ({}, (4, 20, 5), "leading axes"),
        ({}, (1, 4, 5, 5), "lower num_centers or neighbors"),
        ({"kind": "point"}, (1, 4, 383, 5), "at least 384 points"),
        ({"kind": "point"}, (1, 4, 384, 3), "set channels=0"),
    ],
)
def test_clips_of_a_wrong_shape_are_refused_in_words(change, shape, message):
    model = P4Transformer(dataclasses.replace(SMALL, **change))
    with pytest.raises(InputError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape, jnp.float32))


def test_wrong_settings_are_refused_in_words():
    for change, message in (
        ({"kind": "video"}, "kind 'video'"),
        ({"anchor_stride": 0}, "anchor_stride"),
        ({"radius": math.nan}, "radius"),
        ({"channels": -1}, "channels"),
        ({"dropout": 1.0}, "below 1"),
        ({"kind": "point", "width": 48}, "multiple of 32"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(SMALL, **change)
    with pytest.raises(InputError, match="odd kernel"):
        P4DConv(widths=(4,), radius=1.0, kernel=2).init(
            jax.random.key(0), jnp.ones((1, 2, 8, 3)), 4
        )
    with pytest.raises(InputError, match="four levels"):
        P4Transformer(SYNTHIA).init(
            jax.random.key(0), jnp.zeros((1, 1, 400, 6)), method=P4Transformer.tubes
        )


def test_configuration_survives_json():
    assert P4TransformerConfig.from_dict(json.loads(json.dumps(SYNTHIA.to_dict()))) == SYNTHIA
    with pytest.raises(InputError, match="head_size"):
        P4TransformerConfig.from_dict({"head_size": 3})

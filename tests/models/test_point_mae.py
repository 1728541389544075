import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from pointata_jax.errors import InputError
from pointata_jax.models.backbone_file import (
    FORMAT,
    backbone_shapes,
    load_backbone,
    save_backbone,
)
from pointata_jax.models.blocks import Block
from pointata_jax.models.point_mae import (
    PRESETS,
    Backbone,
    BackboneConfig,
    MaskedAutoencoder,
    chamfer_distance,
    group_points,
    random_mask,
    sinusoidal_features,
)
from weights_convert.variants import VARIANTS

MICRO = BackboneConfig(
    width=24, depth=2, num_heads=2, embedder_widths=(8, 8, 16), num_groups=6, group_size=4
)


def _count(tree):
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))


def test_published_parameter_counts():
    # Counted in the official files, running statistics of BatchNorm left out: 22,099,752 when
    # fine-tuned (with a 40-class head and two class vectors), 29,006,432 when pre-trained.
    config = PRESETS["small"]
    params = backbone_shapes(config)["params"]
    head = 768 * 256 + 256 + 2 * 256 + 256 * 256 + 256 + 2 * 256 + 256 * 40 + 40
    assert _count(params) + 2 * 384 + head == 22_099_752
    points = jax.ShapeDtypeStruct((1, 1024, 3), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, 64), bool)
    model = MaskedAutoencoder(config)
    shapes = jax.eval_shape(
        lambda k, p, m: model.init(k, p, m, 38), jax.random.key(0), points, mask
    )
    assert _count(shapes["params"]) == 29_006_432
    assert _count(params["embedder"]) == pytest.approx(0.494e6, rel=2e-3)
    assert _count(params["position"]) == pytest.approx(0.050e6, rel=5e-3)


def test_groups_are_the_nearest_points_of_farthest_centers():
    points = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    patches, centers = map(np.asarray, group_points(jnp.asarray(points), 5, 7))
    for cloud, patch, center in zip(points, patches, centers, strict=True):
        assert np.array_equal(center[0], cloud[0])
        for group, middle in zip(patch, center, strict=True):
            offsets = cloud - middle
            nearest = offsets[np.argsort((offsets**2).sum(1), kind="stable")[:7]]
            np.testing.assert_allclose(group, nearest, atol=1e-6)


def test_tokens_do_not_depend_on_the_order_inside_a_patch():
    points = jax.random.normal(jax.random.key(0), (1, 30, 3))
    backbone = Backbone(MICRO)
    variables = backbone.init(jax.random.key(1), points)
    # The first point starts the farthest-point walk, the others may come in any order.
    order = np.r_[0, 1 + np.random.default_rng(0).permutation(29)]
    tokens, reordered = (backbone.apply(variables, p) for p in (points, points[:, order]))
    np.testing.assert_allclose(np.asarray(tokens), np.asarray(reordered), atol=1e-5)


def test_position_is_added_at_every_block():
    points = jax.random.normal(jax.random.key(0), (1, 30, 3))
    backbone = Backbone(MICRO)
    variables = backbone.init(jax.random.key(1), points)

    def by_hand(model, points):
        tokens, centers = model.embed(points)
        x = tokens
        for block in model.blocks:
            x = block(x + model.position(centers))
        return model.norm(x)

    ours = backbone.apply(variables, points)
    np.testing.assert_array_equal(ours, backbone.apply(variables, points, method=by_hand))


UNI3D_LIKE = dataclasses.replace(
    MICRO,
    input_channels=6,
    class_token=True,
    embedder_output=10,
    position_every_block=False,
    norm_epsilon=1e-6,
    final_norm="class",
    qkv_bias="query_value",
    mlp="swiglu",
    channel_constants=(0.4, 0.5, 0.6),
)


def test_position_is_added_once_and_the_norm_is_the_class_tokens():
    points = jax.random.normal(jax.random.key(0), (1, 30, 6))
    backbone = Backbone(UNI3D_LIKE)
    variables = backbone.init(jax.random.key(1), points)

    def by_hand(model, points):
        tokens, centers = model.embed(points)
        token, position = model.global_rows(1)
        x = jnp.concatenate([token + position, tokens + model.position(centers)], axis=1)
        for block in model.blocks:
            x = block(x)
        return jnp.concatenate([model.class_norm(x[:, :1]), x[:, 1:]], axis=1)

    ours = jax.jit(backbone.apply)(variables, points)
    expected = jax.jit(lambda v: backbone.apply(v, points, method=by_hand))(variables)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert "norm" not in variables["params"]


def test_constants_stand_for_channels_that_a_cloud_lacks():
    points = jax.random.normal(jax.random.key(0), (2, 30, 3))
    backbone = Backbone(UNI3D_LIKE)
    variables = backbone.init(jax.random.key(1), points)
    filled = np.concatenate([points, np.broadcast_to([0.4, 0.5, 0.6], (2, 30, 3))], axis=-1)
    np.testing.assert_array_equal(
        backbone.apply(variables, points), backbone.apply(variables, filled.astype(np.float32))
    )
    with pytest.raises(InputError, match="4 columns.*reads 6"):
        backbone.apply(variables, np.zeros((2, 30, 4), np.float32))


def test_sinusoidal_features():
    centers = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    features = np.asarray(sinusoidal_features(jnp.asarray(centers), 24))
    for axis in range(3):
        for i in range(4):
            angle = centers[:, axis] / 10000 ** (i / 4)
            np.testing.assert_allclose(features[:, 8 * axis + i], np.sin(angle), atol=1e-6)
            np.testing.assert_allclose(features[:, 8 * axis + 4 + i], np.cos(angle), atol=1e-6)


GATED = ("gate", "value")


@pytest.mark.parametrize("fused", [True, False])
def test_projections_and_gates_in_one_matrix_or_several_are_the_same(fused):
    x = jax.random.normal(jax.random.key(0), (2, 5, 12))
    block = Block(2, 8, qkv_bias="query_value", mlp="swiglu", qkv_fused=fused, mlp_fused=fused)
    params = jax.tree.map(
        lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape),
        block.init(jax.random.key(1), x)["params"],
    )
    rest = {k: v for k, v in params.items() if k in ("norm_1", "norm_2", "mlp_1")}
    own, proj = params["attention"], {"proj": params["attention"]["proj"]}
    if fused:
        names = ("query", "key", "value")
        kernels = zip(names, jnp.split(own["qkv"]["kernel"], 3, axis=1), strict=True)
        attention = {name: {"kernel": kernel} for name, kernel in kernels}
        for name in ("query", "value"):
            attention[name]["bias"] = own[f"{name}_bias"]
        halves = {k: jnp.split(v, 2, axis=-1) for k, v in params["mlp_0"].items()}
        mlp = {f"mlp_{n}": {k: v[i] for k, v in halves.items()} for i, n in enumerate(GATED)}
    else:
        kernels = [own[name]["kernel"] for name in ("query", "key", "value")]
        attention = {"qkv": {"kernel": jnp.concatenate(kernels, axis=1)}}
        attention |= {f"{name}_bias": own[name]["bias"] for name in ("query", "value")}
        pair = [params[f"mlp_{name}"] for name in GATED]
        mlp = {"mlp_0": jax.tree.map(lambda *v: jnp.concatenate(v, axis=-1), *pair)}
    other = block.clone(qkv_fused=not fused, mlp_fused=not fused)
    moved = rest | mlp | {"attention": attention | proj}
    ours, expected = (
        jax.jit(b.apply)({"params": p}, x) for b, p in ((other, moved), (block, params))
    )
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_masks_hide_the_same_number_in_every_row():
    mask = np.asarray(random_mask(jax.random.key(0), 64, 10, 6))
    assert (mask.sum(1) == 6).all()
    assert 20 < mask[:, 0].sum() < 57  # 64 · 0.6 = 38 expected, 4.5 deviations on either side.


def test_chamfer_against_brute_force():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5, 3)), rng.normal(size=(3, 4, 3))
    expected = np.mean(
        [
            np.mean([min(((p - q) ** 2).sum() for q in y) for p in x])
            + np.mean([min(((p - q) ** 2).sum() for p in x) for q in y])
            for x, y in zip(a, b, strict=True)
        ]
    )
    np.testing.assert_allclose(
        chamfer_distance(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-5
    )


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="4 heads"):
        BackboneConfig(width=30, num_heads=4)


def test_global_tokens_come_first_and_stay_out_of_the_decoder():
    config = dataclasses.replace(MICRO, class_token=True, extra_tokens=("image",), decoder_depth=1)
    points = jax.random.normal(jax.random.key(0), (2, 30, 3))
    model = MaskedAutoencoder(config)
    mask = random_mask(jax.random.key(1), 2, 6, 4)
    variables = jax.jit(model.init, static_argnums=3)(jax.random.key(2), points, mask, 4)
    out = jax.jit(model.apply, static_argnums=3)(variables, points, mask, 4)
    assert out["visible"].shape == (2, 2, 24)
    assert out["rebuilt"].shape == (2, 4, 4, 3)
    own = {name: variables[name]["backbone"] for name in ("params", "batch_stats")}
    apply = jax.jit(Backbone(config).apply)
    tokens = apply(own, points)
    assert tokens.shape == (2, 2 + 6, 24)
    own["params"]["class_token"] = own["params"]["class_token"] + np.linspace(-2, 2, 24)
    changed = apply(own, points)
    assert np.abs(changed - tokens)[:, 0].max() > 0.1


class TestBackboneFile:
    @pytest.fixture
    def saved(self, tmp_path):
        variables = Backbone(MICRO).init(jax.random.key(0), jnp.zeros((1, 30, 3)))
        save_backbone(tmp_path / "b.safetensors", MICRO, variables, {"source": "test"})
        return tmp_path / "b.safetensors", variables

    def test_round_trip_is_exact(self, saved):
        path, variables = saved
        config, loaded = load_backbone(path)
        assert config == MICRO
        assert jax.tree.structure(loaded) == jax.tree.structure(jax.device_get(variables))
        jax.tree.map(np.testing.assert_array_equal, loaded, variables)

    def test_missing_and_cut_files_are_named(self, saved, tmp_path):
        with pytest.raises(InputError, match="nowhere.safetensors does not exist"):
            load_backbone(tmp_path / "nowhere.safetensors")
        path, _ = saved
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(InputError, match="damaged"):
            load_backbone(path)

    def test_another_architecture_is_refused(self, saved, tmp_path):
        _, variables = saved
        deeper = dataclasses.replace(MICRO, depth=3)
        save_backbone(tmp_path / "wrong.safetensors", deeper, variables)
        with pytest.raises(InputError, match="does not fit.*blocks_2"):
            load_backbone(tmp_path / "wrong.safetensors")

    def test_odd_architectures_are_refused(self, saved, tmp_path):
        path, variables = saved
        tensors = {k: np.asarray(v) for k, v in flatten_dict(variables, sep="/").items()}
        good = MICRO.to_dict()
        for change in (
            {"depth": 10**9},
            {"depth": 900},
            {"width": "24"},
            {"width": 24.0},
            {"num_heads": 0},
            {"embedder_widths": [8, 8]},
            {"embedder_widths": 8},
            {"mlp_ratio": float("nan")},
            {"num_groups": 2**62},
            {"embedder_output": -1},
            {"extra_tokens": [1]},
            {"block": "swin"},
            {"color": "blue"},
            {"position_input": "learned"},
            {"position_input": "sinusoidal", "width": 26},
            {"position_every_block": 1},
            {"norm_epsilon": 0.0},
            {"norm_epsilon": float("nan")},
            {"final_norm": "class"},
            {"final_norm": "first"},
            {"qkv_bias": "key"},
            {"mlp": "relu"},
            {"mlp_norm": True},
            {"mlp_fused": False},
            {"mlp": "swiglu", "mlp_norm": True},
            {"gate_first": "yes"},
            {"block": "recon", "mlp": "swiglu"},
            {"block": "recon", "norm_epsilon": 1e-6},
            {"channel_constants": [0.4]},
            {"input_channels": 4, "channel_constants": [float("inf")]},
        ):
            metadata = {"format": FORMAT, "config": json.dumps(good | change)}
            save_file(tensors, tmp_path / "odd.safetensors", metadata=metadata)
            with pytest.raises(InputError):
                load_backbone(tmp_path / "odd.safetensors")
        for config in ("", "[1]", "{"):
            save_file(tensors, path, metadata={"format": FORMAT, "config": config})
            with pytest.raises(InputError, match="states no usable architecture"):
                load_backbone(path)

    def test_files_from_before_the_later_settings_still_load(self, saved):
        path, variables = saved
        tensors = {k: np.asarray(v) for k, v in flatten_dict(variables, sep="/").items()}
        old = {
            k: v
            for k, v in MICRO.to_dict().items()
            if k not in ("extra_tokens", "embedder_output", "block", "channel_constants", *VARIANTS)
        }
        save_file(tensors, path, metadata={"format": FORMAT, "config": json.dumps(old)})
        assert load_backbone(path)[0] == MICRO

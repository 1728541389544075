"""Adapters and their tables against brute force in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.models.adapters import (
    PointVideoAdapter,
    SpatialContextEncoder,
    spatial_neighbors,
    temporal_correspondence,
)

BATCH, FRAMES, N, WIDTH, RANK = 2, 5, 6, 8, 4


def inputs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(BATCH, FRAMES, N, 3)).astype(np.float32)
    return rng.normal(size=(BATCH, FRAMES, N, WIDTH)).astype(np.float32), centers


def randomized(tree, seed: int = 0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32), tree)


def layer_norm(x, params):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * params["scale"] + params["bias"]


def dense(x, params):
    return x @ params["kernel"] + params["bias"]


def gelu(x):
    return np.asarray(jax.nn.gelu(x))


@pytest.mark.parametrize("dilation", [1, 2, 7])
def test_correspondence_is_the_nearest_center(dilation):
    _, centers = inputs()
    table = np.asarray(temporal_correspondence(jnp.asarray(centers), dilation))
    assert table.shape == (BATCH, FRAMES, N, 2)
    assert table.dtype == np.int32
    for b, t, i, side in np.ndindex(table.shape):
        there = centers[b, np.clip(t + (-dilation, dilation)[side], 0, FRAMES - 1)]
        assert table[b, t, i, side] == np.linalg.norm(there - centers[b, t, i], axis=1).argmin()
    # At the edges a token corresponds to itself.
    np.testing.assert_array_equal(table[:, 0, :, 0], np.broadcast_to(np.arange(N), (BATCH, N)))
    np.testing.assert_array_equal(table[:, -1, :, 1], np.broadcast_to(np.arange(N), (BATCH, N)))


def test_spatial_neighbors_are_the_nearest_others():
    _, centers = inputs(1)
    table = np.asarray(spatial_neighbors(jnp.asarray(centers), 3))
    distance = np.linalg.norm(centers[:, :, :, None] - centers[:, :, None], axis=-1)
    distance += np.where(np.eye(N, dtype=bool), np.inf, 0)
    np.testing.assert_array_equal(table, distance.argsort(-1)[..., :3])
    with pytest.raises(InputError, match="sce_neighbors"):
        spatial_neighbors(jnp.asarray(centers), N)


def test_tokens_at_one_place_are_one_neighbor():
    _, centers = inputs(1)
    few = centers[:, :, :4]
    repeated = few[:, :, [0, 1, 2, 0, 3, 1]]
    table = np.asarray(spatial_neighbors(jnp.asarray(repeated), 5))
    for b, t, i in np.ndindex(table.shape[:3]):
        places = np.unique(repeated[b, t, table[b, t, i]], axis=0)
        # The three others, and the token itself in the places of what is missing.
        assert len(places) == 4
        assert (places == repeated[b, t, i]).all(-1).any()


def test_point_video_adapter_equals_its_formula():
    x, centers = inputs(2)
    dilation, scale = 2, 0.7
    table = temporal_correspondence(jnp.asarray(centers), dilation)
    model = PointVideoAdapter(RANK, scale, dilation=dilation)
    variables = jax.jit(model.init)(jax.random.key(0), x, table)
    np.testing.assert_array_equal(jax.jit(model.apply)(variables, x, table), x)

    params = randomized(variables["params"])
    result = jax.jit(model.apply)({"params": params}, x, table)
    z = dense(layer_norm(x, params["norm"]), params["down"])
    mixed = np.empty_like(z)
    for b, t, i in np.ndindex(BATCH, FRAMES, N):
        taps = [z[b, t, i]]
        for side, frame in enumerate((max(t - dilation, 0), min(t + dilation, FRAMES - 1))):
            taps.insert(2 * side, z[b, frame, table[b, t, i, side]])
        mixed[b, t, i] = (np.stack(taps) * params["temporal_kernel"]).sum(0)
    branch = dense(dense(gelu(mixed + params["temporal_bias"]), params["mix"]), params["up"])
    np.testing.assert_allclose(result, x + scale * branch, atol=1e-5)


def test_spatial_context_encoder_equals_its_formula():
    x, centers = inputs(3)
    neighbors = spatial_neighbors(jnp.asarray(centers), 3)
    model = SpatialContextEncoder(RANK)
    variables = jax.jit(model.init)(jax.random.key(0), x, centers, neighbors)
    # A zero gate is safe only while what it multiplies is not zero as well.
    assert np.abs(jax.jit(model.apply)(variables, x, centers, neighbors)).max() > 1e-3

    params = randomized(variables["params"])
    result = jax.jit(model.apply)({"params": params}, x, centers, neighbors)
    z = dense(layer_norm(x, params["norm"]), params["down"])
    expected = np.empty_like(x)
    for b, t, i in np.ndindex(BATCH, FRAMES, N):
        messages = []
        for j in np.asarray(neighbors[b, t, i]):
            pair = [z[b, t, j] - z[b, t, i], z[b, t, i], centers[b, t, j] - centers[b, t, i]]
            hidden = np.concatenate(pair) @ params["pair_kernel"] + params["pair_bias"]
            messages.append(dense(np.maximum(hidden, 0), params["message"]))
        expected[b, t, i] = dense(np.max(messages, axis=0), params["up"])
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_dropout_works_only_in_training():
    x, centers = map(jnp.asarray, inputs(4))
    table = temporal_correspondence(centers)
    model = PointVideoAdapter(RANK, dropout=0.5)
    params = randomized(jax.jit(model.init)(jax.random.key(0), x, table)["params"])

    def run(train: bool, seed: int) -> np.ndarray:
        rngs = {"dropout": jax.random.key(seed)}
        return np.asarray(model.apply({"params": params}, x, table, train, rngs=rngs))

    np.testing.assert_array_equal(run(False, 0), run(False, 1))
    assert np.abs(run(True, 0) - run(True, 1)).max() > 0.01

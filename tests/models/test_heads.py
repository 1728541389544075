"""The heads of the three kinds of task."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.models.heads import (
    ActionSegmentationHead,
    RecognitionHead,
    SemanticSegmentationHead,
    anchor_weights,
)


def tokens_and_head():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(6, 3, 5, 4)).astype(np.float32)
    head = RecognitionHead(num_classes=3, hidden=7, dropout=0.0)
    return tokens, head, jax.jit(head.init)(jax.random.key(0), [tokens])


def test_equals_its_formula_in_evaluation():
    tokens, head, variables = tokens_and_head()
    rng = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda x: x + rng.uniform(0.1, 1, x.shape).astype(np.float32), variables
    )
    params, stats = variables["params"], variables["batch_stats"]["norm"]
    pooled = np.concatenate([tokens.mean(2), tokens.max(2)], axis=-1).mean(1)
    pooled = (pooled - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    pooled = pooled * params["norm"]["scale"] + params["norm"]["bias"]
    hidden = jax.nn.gelu(pooled @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    expected = hidden @ params["logits"]["kernel"] + params["logits"]["bias"]
    np.testing.assert_allclose(jax.jit(head.apply)(variables, [tokens]), expected, atol=1e-5)


def test_a_common_mean_is_invisible_in_training_and_is_learned_as_a_statistic():
    tokens, head, variables = tokens_and_head()
    shift = 5 * np.arange(1, 5, dtype=np.float32)
    train = jax.jit(lambda tokens: head.apply(variables, [tokens], True, mutable=["batch_stats"]))
    logits, _ = train(tokens)
    shifted, state = train(tokens + shift)
    np.testing.assert_allclose(logits, shifted, atol=1e-3)
    pooled = np.concatenate([tokens.mean(2), tokens.max(2)], axis=-1).mean(1) + np.tile(shift, 2)
    # One step of a running average with momentum 0.9, from zero.
    np.testing.assert_allclose(
        state["batch_stats"]["norm"]["mean"], 0.1 * pooled.mean(0), rtol=1e-4
    )


def test_several_levels_and_the_deviation_over_time():
    rng = np.random.default_rng(0)
    levels = [jnp.asarray(rng.normal(size=(6, 3, 5, 4)), jnp.float32) for _ in range(2)]
    head = RecognitionHead(num_classes=3, hidden=7, dropout=0.0, time_pooling="mean_std")
    variables = jax.jit(head.init)(jax.random.key(0), levels)
    state: Any = head.apply(variables, levels, True, mutable=["batch_stats"])[1]
    seen = state["batch_stats"]["norm"]
    frames = np.concatenate([f(x, axis=2) for x in levels for f in (np.mean, np.max)], axis=-1)
    expected = np.concatenate([frames.mean(1), np.sqrt(frames.var(1) + 1e-5)], axis=-1)
    np.testing.assert_allclose(seen["mean"], 0.1 * expected.mean(0), rtol=1e-4)
    # A clip that does not move has a gradient.
    still = [jnp.asarray(np.repeat(x[:, :1], 3, axis=1)) for x in levels]
    gradient = jax.grad(lambda x: jnp.sum(head.apply(variables, x)))(still)
    assert all(np.isfinite(g).all() for g in gradient)


@pytest.mark.parametrize(("frames", "stride"), [(7, 1), (7, 3), (8, 3), (9, 2)])
def test_frames_between_anchors_are_interpolated(frames, stride):
    anchors = np.arange(0, frames, stride)
    values = np.random.default_rng(0).normal(size=len(anchors))
    weights = anchor_weights(frames, len(anchors), stride)
    np.testing.assert_allclose(
        weights @ values, np.interp(np.arange(frames), anchors, values), atol=1e-6
    )


def test_a_frame_is_labeled_by_its_own_tokens():
    tokens = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    head = ActionSegmentationHead(num_classes=3, anchor_stride=2, hidden=7)
    variables = jax.jit(head.init, static_argnums=2)(jax.random.key(0), tokens, 6)
    apply = jax.jit(head.apply, static_argnums=2)
    logits = np.asarray(apply(variables, tokens, 6))
    assert logits.shape == (2, 6, 3)
    np.testing.assert_allclose(logits[:, 1], (logits[:, 0] + logits[:, 2]) / 2, atol=1e-5)
    np.testing.assert_allclose(logits[:, 5], logits[:, 4], atol=1e-6)
    changed = tokens.copy()
    changed[:, 2] += 1.0
    moved = np.abs(np.asarray(apply(variables, changed, 6)) - logits).max((0, 2)) > 1e-4
    assert moved.tolist() == [False, False, False, True, True, True]


def numpy_interpolated(xyz, centers, values):
    """Interpolation by the inverse distances of the three nearest centers, by its definition."""
    result = np.empty((len(xyz), values.shape[1]))
    for i, point in enumerate(xyz):
        distance = np.linalg.norm(centers - point, axis=1)
        nearest = np.argsort(distance)[:3]
        weight = 1 / (distance[nearest] + 1e-8)
        result[i] = weight @ values[nearest] / weight.sum()
    return result


def test_points_get_the_features_of_their_frame():
    rng = np.random.default_rng(0)
    batch, frames, anchors, n, points = 2, 3, 2, 4, 9
    clip = rng.normal(size=(batch, frames, points, 5)).astype(np.float32)
    centers = rng.normal(size=(batch, anchors, n, 3)).astype(np.float32)
    levels = [rng.normal(size=(batch, anchors, n, 6)).astype(np.float32) for _ in range(2)]
    head = SemanticSegmentationHead(num_classes=3, anchor_stride=2, radius=0.5, hidden=8)
    variables = jax.jit(head.init)(jax.random.key(0), levels, centers, clip)
    variables = jax.tree.map(
        lambda x: x + rng.uniform(0.1, 0.5, x.shape).astype(np.float32), variables
    )
    params, stats = variables["params"], variables["batch_stats"]

    def norm(x, name):
        x = (x - stats[name]["mean"]) / np.sqrt(stats[name]["var"] + 1e-5)
        return x * params[name]["scale"] + params[name]["bias"]

    tokens = norm(np.concatenate(levels, -1), "norm")
    tokens = tokens @ params["tokens"]["kernel"] + params["tokens"]["bias"]
    expected = np.empty((batch, frames, points, 3))
    for b, t in np.ndindex(batch, frames):
        # Frame 1 lies between both anchors; the earlier one is taken.
        a = {0: 0, 1: 0, 2: 1}[t]
        xyz = clip[b, t, :, :3]
        gaps = np.linalg.norm(xyz[:, None] - centers[b, a], axis=2)
        place = (xyz - centers[b, a][gaps.argmin(1)]) / 0.5
        own = np.concatenate([clip[b, t], place], -1) @ params["points"]["kernel"]
        rows = numpy_interpolated(xyz, centers[b, a], tokens[b, a]) + own
        rows = np.maximum(norm(rows, "point_norm_0"), 0) @ params["hidden"]["kernel"]
        rows = np.maximum(norm(rows, "point_norm_1"), 0)
        expected[b, t] = rows @ params["logits"]["kernel"] + params["logits"]["bias"]
    ours = jax.jit(head.apply)(variables, levels, centers, clip)
    np.testing.assert_allclose(ours, expected, atol=2e-4)

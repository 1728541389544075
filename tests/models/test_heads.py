"""The recognition head."""

from __future__ import annotations

import jax
import numpy as np

from pointata_jax.models.heads import RecognitionHead


def tokens_and_head():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(6, 3, 5, 4)).astype(np.float32)
    head = RecognitionHead(num_classes=3, hidden=7, dropout=0.0)
    return tokens, head, jax.jit(head.init)(jax.random.key(0), tokens)


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
    np.testing.assert_allclose(jax.jit(head.apply)(variables, tokens), expected, atol=1e-5)


def test_a_common_mean_is_invisible_in_training_and_is_learned_as_a_statistic():
    tokens, head, variables = tokens_and_head()
    shift = 5 * np.arange(1, 5, dtype=np.float32)
    train = jax.jit(lambda tokens: head.apply(variables, tokens, True, mutable=["batch_stats"]))
    logits, _ = train(tokens)
    shifted, state = train(tokens + shift)
    np.testing.assert_allclose(logits, shifted, atol=1e-3)
    pooled = np.concatenate([tokens.mean(2), tokens.max(2)], axis=-1).mean(1) + np.tile(shift, 2)
    # One step of a running average with momentum 0.9, from zero.
    np.testing.assert_allclose(
        state["batch_stats"]["norm"]["mean"], 0.1 * pooled.mean(0), rtol=1e-4
    )

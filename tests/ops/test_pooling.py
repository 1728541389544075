import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax import ops


@pytest.mark.parametrize("shape", [(5, 3), (4, 1, 6), (2, 3, 7, 4), (2, 300, 3)])
def test_maximum_and_gradient_against_loops(shape):
    rng = np.random.default_rng(0)
    # Few values, so that equals occur; the first of them gets the gradient.
    features = rng.integers(0, 4, shape).astype(np.float32)
    weights = rng.normal(size=(*shape[:-2], shape[-1])).astype(np.float32)

    def weighted(x):
        return (ops.neighbor_max(x) * weights).sum()

    value, gradient = jax.jit(jax.value_and_grad(weighted))(features)
    assert float(value) == pytest.approx(float((features.max(-2) * weights).sum()), rel=1e-5)
    expected = np.zeros(shape, np.float32)
    for index in np.ndindex(weights.shape):
        *lead, channel = index
        column = features[(*lead, slice(None), channel)]
        expected[(*lead, int(np.argmax(column)), channel)] = weights[index]
    np.testing.assert_array_equal(gradient, expected)


def test_gradient_is_that_of_the_maximum_where_no_two_are_equal():
    features = jnp.asarray(np.random.default_rng(1).normal(size=(6, 8, 5)))
    ours = jax.grad(lambda x: jnp.sin(ops.neighbor_max(x)).sum())(features)
    theirs = jax.grad(lambda x: jnp.sin(x.max(-2)).sum())(features)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_repeats_of_a_point_pass_the_same_gradient_on():
    points = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    repeated = np.concatenate([points, points[:1], points[:1]])
    kernel = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)

    def loss(kernel, pool):
        return jnp.square(pool(repeated @ kernel)).sum()

    ours = jax.grad(loss)(kernel, ops.neighbor_max)
    np.testing.assert_allclose(ours, jax.grad(loss)(kernel, lambda x: x.max(-2)), rtol=1e-5)


def test_the_layer_below_is_not_computed_again():
    kernel = jnp.ones((4, 4))

    def block(x):
        return ops.neighbor_max(jnp.tanh(x) @ kernel)

    policy = jax.checkpoint_policies.save_only_these_names(ops.PLACES)
    for pool, products in ((block, 2), (lambda x: (jnp.tanh(x) @ kernel).max(-2), 3)):
        saved = jax.checkpoint(pool, policy=policy)
        text = str(
            jax.make_jaxpr(jax.grad(lambda x, f=saved: jnp.sin(f(x)).sum()))(jnp.ones((8, 6, 4)))
        )
        assert text.count("dot_general[") == products


def test_nan_stays_nan():
    features = jnp.array([[1.0], [jnp.nan]])
    assert np.isnan(ops.neighbor_max(features)).all()
    assert np.isfinite(jax.grad(lambda x: ops.neighbor_max(x).sum())(features)).all()

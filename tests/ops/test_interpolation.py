import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointata_jax.errors import InputError
from pointata_jax.ops import three_nn_interpolate
from tests.ops.clouds import grid_clouds, squared_distances

TARGETS, SOURCES, CHANNELS = 7, 5, 2


def brute_force(targets, sources, features, distance):
    d = squared_distances(targets, sources)
    nearest = np.argsort(d, axis=-1, kind="stable")[..., :3]
    d = np.take_along_axis(d, nearest, -1)
    weights = 1 / ((np.sqrt(d) if distance == "euclidean" else d) + 1e-8)
    weights /= weights.sum(-1, keepdims=True)
    rows = np.take_along_axis(features[..., None, :, :], nearest[..., None], -2)
    return np.sum(weights[..., None] * rows, axis=-2)


@pytest.mark.parametrize("lead", [(), (2, 2)])
@pytest.mark.parametrize("distance", ["euclidean", "squared"])
@given(data=st.data())
@settings(max_examples=25)
def test_equals_brute_force(lead, distance, data):
    targets, sources = data.draw(grid_clouds((*lead, TARGETS), (*lead, SOURCES)))
    features = np.random.default_rng(0).normal(size=(*lead, SOURCES, CHANNELS)).astype(np.float32)
    found = three_nn_interpolate(targets, sources, features, distance=distance)
    expected = brute_force(targets, sources, features, distance)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "squared"])
def test_gradients_are_right_and_finite_at_coincident_points(distance):
    rng = np.random.default_rng(1)
    sources = rng.normal(size=(SOURCES, 3))
    # Coincident with a source, a rounding error away from one, and two free ones.
    targets = np.concatenate([sources[:1], sources[1:2] + 1e-7, rng.normal(size=(2, 3))])
    features = rng.normal(size=(SOURCES, CHANNELS))
    arrays = [jnp.asarray(a, jnp.float32) for a in (targets, sources, features)]

    def total(targets, sources, features):
        result = three_nn_interpolate(targets, sources, features, distance=distance)
        return jnp.sum(jnp.sin(result))

    gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arrays)
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() < 1e2

    def slope(which, row, axis, step=1e-6):
        values = []
        for sign in (1, -1):
            moved = [targets.copy(), sources.copy(), features.copy()]
            moved[which][row, axis] += sign * step
            values.append(np.sin(brute_force(*moved, distance)).sum())  # pyright: ignore[reportCallIssue]
        return (values[0] - values[1]) / (2 * step)

    for axis in range(3):  # of a free target
        np.testing.assert_allclose(gradients[0][3, axis], slope(0, 3, axis), rtol=2e-3, atol=1e-5)
    for row in range(SOURCES):
        np.testing.assert_allclose(gradients[2][row, 0], slope(2, row, 0), rtol=1e-4, atol=1e-5)


def test_weights_are_those_of_the_formula_at_any_scale():
    rng = np.random.default_rng(2)
    for scale in (1e-3, 1.0, 1e3):
        targets, sources = scale * rng.normal(size=(6, 3)), scale * rng.normal(size=(SOURCES, 3))
        targets, sources = targets.astype(np.float32), sources.astype(np.float32)
        features = np.eye(SOURCES, dtype=np.float32)  # so that the result is the weights
        for distance in ("euclidean", "squared"):
            found = three_nn_interpolate(targets, sources, features, distance=distance)
            expected = brute_force(targets, sources, features, distance)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-6)


def test_vmap_and_leading_axes_agree():
    rng = np.random.default_rng(3)
    targets, sources = rng.normal(size=(2, 3, 6, 3)), rng.normal(size=(2, 3, 4, 3))
    features = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    whole = three_nn_interpolate(targets, sources, features)
    mapped = jax.vmap(jax.vmap(three_nn_interpolate))(targets, sources, features)
    np.testing.assert_allclose(mapped, whole, rtol=1e-6, atol=1e-7)


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("sources", "features", "options", "message"),
    [
        ((2, 3), (2, 4), {}, "at least 3 sources, got 2"),
        ((5, 3), (4, 4), {}, "one row for each of the 5 sources"),
        ((5, 2), (5, 4), {}, r"sources must have shape"),
        ((5, 3), (5, 4), {"distance": "cosine"}, "distance must be"),
        ((2, 5, 3), (3, 5, 4), {}, "leading axes do not agree"),
    ],
)
def test_unusable_input_is_named(sources, features, options, message):
    with pytest.raises(InputError, match=message):
        three_nn_interpolate(jnp.zeros((6, 3)), jnp.zeros(sources), jnp.zeros(features), **options)

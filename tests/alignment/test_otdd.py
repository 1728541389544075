"""Dataset distances against POT, their gradient against central differences, their convergence."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest

from pointata_jax.alignment import OTDDConfig, gaussian_label_distances, otdd, warn_if_unconverged
from pointata_jax.alignment.costs import squared_distances
from pointata_jax.alignment.otdd import Costs, LabeledSet, otdd_costs, sinkhorn_divergence
from pointata_jax.errors import InputError

# Sources have four classes and targets three. Both use `num_classes=4`, with the fourth target
# class absent, so that one compiled function serves most tests.
CLASSES = 4


def labeled_set(num_classes, seed, offset=0.0, n=48, dim=8):
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int32) % num_classes
    centers = 2 * rng.standard_normal((num_classes, dim))
    features = centers[labels] + rng.standard_normal((n, dim)) + offset
    return features.astype(np.float32), labels


SOURCE, SOURCE_LABELS = labeled_set(4, 0)
TARGET, TARGET_LABELS = labeled_set(3, 1, offset=0.5)


@functools.partial(jax.jit, static_argnames=("config",))
def measure(source, source_labels, target, target_labels, config=OTDDConfig()):  # noqa: B008
    """Returns ((value, logs), gradient in the target)."""

    def loss(target):
        return otdd(source, source_labels, CLASSES, target, target_labels, CLASSES, config)

    return jax.value_and_grad(loss, has_aux=True)(target)


def between(target, config=OTDDConfig()):  # noqa: B008
    return measure(SOURCE, SOURCE_LABELS, target, TARGET_LABELS, config)


def reference_cost(u, labels_u, v, labels_v):
    """½|u - v|² + ½ W² in float64, with POT's Bures distance between class covariances."""
    u, v = u.astype(np.float64), v.astype(np.float64)
    table = np.zeros((CLASSES, CLASSES))
    for i in set(labels_u.tolist()):
        for j in set(labels_v.tolist()):
            x, y = u[labels_u == i], v[labels_v == j]
            pot = ot.gaussian.bures_wasserstein_distance(
                x.mean(0), y.mean(0), np.cov(x.T, bias=True), np.cov(y.T, bias=True)
            )
            table[i, j] = np.nan_to_num(np.asarray(pot)) ** 2
    return (ot.dist(u, v) + table[labels_u[:, None], labels_v[None, :]]) / 2


def reference_divergence(costs, epsilon):
    """POT: transport cost plus ε KL(P | ab), which is what OTT-JAX calls `reg_ot_cost`."""
    values = []
    for cost in costs:
        a, b = (np.full(size, 1 / size) for size in cost.shape)
        plan = np.asarray(
            ot.sinkhorn(a, b, cost, epsilon, "sinkhorn_log", numItermax=5000, stopThr=1e-6)
        )
        entropy = plan * np.log(np.maximum(plan, 1e-300) / (a[:, None] * b[None, :]))
        values.append((plan * cost).sum() + epsilon * entropy.sum())
    return values[0] - (values[1] + values[2]) / 2


def test_value_is_that_of_pot():
    (value, logs), _ = between(TARGET)
    source, target = (SOURCE, SOURCE_LABELS), (TARGET, TARGET_LABELS)
    costs = [
        reference_cost(*a, *b) for a, b in ((source, target), (source, source), (target, target))
    ]
    epsilon = 0.1 * costs[0].std()
    np.testing.assert_allclose(logs["epsilon"], epsilon, rtol=1e-4)
    np.testing.assert_allclose(value, reference_divergence(costs, epsilon), rtol=1e-4)
    assert all(logs[f"converged_{name}"] for name in ("cross", "source", "target"))
    assert all(logs[f"iterations_{name}"] > 0 for name in ("cross", "source", "target"))
    assert 0.1 < logs["label_share"] < 0.9
    assert logs["covariance_left_out"] == 0


def test_distance_of_a_set_to_itself_is_zero():
    """The same holds with classes renumbered and samples shuffled, but not for a shifted set."""

    def to_source(v, labels):
        return float(measure(SOURCE, SOURCE_LABELS, v, labels)[0][0])

    order = np.random.default_rng(2).permutation(len(SOURCE))
    renumbered = np.array([2, 0, 3, 1])[SOURCE_LABELS]
    assert to_source(SOURCE, SOURCE_LABELS) == pytest.approx(0, abs=1e-4)
    assert to_source(SOURCE[order], renumbered[order]) == pytest.approx(0, abs=1e-3)
    assert to_source(SOURCE + 0.1, SOURCE_LABELS) > 0.05


def test_gradient_is_that_of_central_differences():
    """Features and class means are differentiated; covariances and ε are constants."""
    config, step = OTDDConfig(epsilon_scale=0.3, threshold=1e-8, max_iterations=5000), 1e-4
    labels = ((SOURCE_LABELS, TARGET_LABELS), (SOURCE_LABELS,) * 2, (TARGET_LABELS,) * 2)

    def tables(u, v, covariance):
        return [
            gaussian_label_distances(a, y, CLASSES, b, z, CLASSES, covariance=covariance)
            for (a, b), (y, z) in zip(((u, v), (u, u), (v, v)), labels, strict=True)
        ]

    @jax.jit
    def slopes(u, v, epsilon, directions):
        """Central differences of the divergence, with Bures terms fixed at their value at v."""
        bures = [a - b for a, b in zip(tables(u, v, "full"), tables(u, v, "none"), strict=True)]

        def held(v):
            costs = [
                squared_distances(a, b) / 2 + (means + spread)[y[:, None], z[None, :]] / 2
                for (a, b), (y, z), means, spread in zip(
                    ((u, v), (u, u), (v, v)), labels, tables(u, v, "none"), bures, strict=True
                )
            ]
            return sinkhorn_divergence(Costs(*costs), config, epsilon)[0]

        moved = jnp.concatenate([v + step * directions, v - step * directions, v[None]])
        values, count = jax.lax.map(held, moved), len(directions)
        return values[-1], (values[:count] - values[count:-1]) / (2 * step)

    with jax.enable_x64(True):
        u, v = SOURCE.astype(np.float64), TARGET.astype(np.float64)
        directions = np.random.default_rng(3).standard_normal((3, *v.shape))
        (value, logs), gradient = measure(u, SOURCE_LABELS, v, TARGET_LABELS, config)
        here, slope = slopes(u, v, logs["epsilon"], directions)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(value, here, rtol=1e-9)
    np.testing.assert_allclose((np.asarray(gradient) * directions).sum((1, 2)), slope, rtol=1e-5)


def test_default_tolerance_is_tight_enough_for_gradients():
    loose, tight = between(TARGET)[1], between(TARGET, OTDDConfig(threshold=1e-5))[1]
    assert np.linalg.norm(loose - tight) < 0.01 * np.linalg.norm(tight)


def test_unconverged_problems_are_reported():
    (_, logs), _ = between(
        TARGET, OTDDConfig(label_weight=0.0, epsilon_scale=0.005, max_iterations=3)
    )
    assert not logs["converged"]
    assert not logs["converged_cross"]
    with pytest.warns(RuntimeWarning, match="step 7: optimal transport did not converge.*cross"):
        message = warn_if_unconverged(logs, "step 7")
    assert message
    assert "max_iterations" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_if_unconverged(between(TARGET)[0][1]) is None
        assert warn_if_unconverged({"loss": 1.0}) is None
    # Features that are NaN do not converge either.
    broken = TARGET.copy()
    broken[0, 0] = np.nan
    assert not between(broken)[0][1]["converged"]


def test_bfloat16_features_are_widened_before_the_cost():
    """bfloat16 features give the costs of the same rounded values in float32."""
    rounded = jnp.asarray(TARGET, jnp.bfloat16)
    costs_of = jax.jit(
        lambda v: otdd_costs(
            LabeledSet(SOURCE, SOURCE_LABELS, CLASSES),
            LabeledSet(v, TARGET_LABELS, CLASSES),
            OTDDConfig(),
        )[0]
    )
    costs, expected = costs_of(rounded), costs_of(rounded.astype(jnp.float32))
    for cost, same in zip(costs, expected, strict=True):
        assert cost.dtype == jnp.float32
        np.testing.assert_allclose(cost, same, rtol=1e-6)


def test_common_offset_costs_no_digits():
    """Raw features can share a mean that is a thousand times their spread."""
    a, b = SOURCE.astype(np.float64) + 2000, TARGET.astype(np.float64) + 2000
    a, b = a.astype(np.float32), b.astype(np.float32)
    expected = ot.dist(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(squared_distances(a, b), expected, rtol=1e-4)


def test_collapsed_features_stay_finite():
    point = np.ones_like(SOURCE)
    (value, _), gradient = measure(point, SOURCE_LABELS, point, TARGET_LABELS)
    assert value == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_one_global_problem_on_sharded_features():
    if jax.device_count() < 8:
        pytest.skip("needs eight devices, which conftest.py simulates")
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(TARGET, jax.NamedSharding(mesh, jax.P("data")))
    (value, _), gradient = between(spread)
    (expected, _), expected_gradient = between(TARGET)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.wrong_arguments
def test_bad_settings_are_named():
    for change, words in (
        ({"covariance": "half"}, "covariance 'half'"),
        ({"epsilon_scale": 0.0}, "epsilon_scale is 0.0"),
        ({"label_weight": -1.0}, "label_weight is -1.0"),
    ):
        with pytest.raises(InputError, match=words):
            dataclasses.replace(OTDDConfig(), **change)

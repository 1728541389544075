"""Every objective, and the case that separates the joint from the class-wise distance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest

from pointata_jax.alignment import OBJECTIVES, Objective, OTDDConfig
from pointata_jax.alignment.otdd import LabeledSet, otdd_costs
from pointata_jax.errors import InputError

N = 48
LABELS = np.repeat([0, 1], N // 2)
CENTERS = np.array([[-4.0, 0.0], [4.0, 0.0]])


def clusters(membership, seed):
    noise = 0.3 * np.random.default_rng(seed).standard_normal((N, 2))
    return (CENTERS[membership] + noise).astype(np.float32)


SOURCE = clusters(LABELS, 0)
ALIGNED = clusters(LABELS, 1)  # each target class on one source class
MIXED = clusters(np.arange(N) % 2, 1)  # each target class spread over both


# Class 1 of three target classes is absent throughout.
TARGET_LABELS = 2 * LABELS


@functools.cache
def compiled(name):
    """Compiled function from a target and its labels to ((loss, logs), gradient)."""
    objective = Objective(name, 2, 3)

    def loss(target, labels):
        return objective.loss(SOURCE, LABELS, target, labels)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.fixture(scope="module")
def losses():
    targets = {"aligned": ALIGNED, "mixed": MIXED}
    return {
        name: {key: compiled(name)(v, TARGET_LABELS) for key, v in targets.items()}
        for name in OBJECTIVES
    }


def entropic_cost(cost, epsilon):
    """POT's <P, C> + ε KL(P | ab), uniform marginals."""
    a, b = (np.full(size, 1 / size) for size in cost.shape)
    plan = np.asarray(ot.sinkhorn(a, b, cost, epsilon, "sinkhorn_log", stopThr=1e-6))
    ratio = np.maximum(plan, 1e-300) / (a[:, None] * b[None, :])
    return (plan * cost).sum() + epsilon * (plan * np.log(ratio)).sum()


def value(losses, name, target):
    return float(losses[name][target][0][0])


def test_only_the_joint_distance_prefers_aligned_classes(losses):
    assert value(losses, "otdd", "aligned") < 0.1 < 10 < value(losses, "otdd", "mixed")
    # ORCA's surrogate prefers mixed classes by a wide margin.
    assert value(losses, "classwise", "aligned") > 1.5 * value(losses, "classwise", "mixed")
    # Without labels the two targets look alike.
    for name in ("sinkhorn", "mmd", "l2"):
        difference = value(losses, name, "aligned") - value(losses, name, "mixed")
        assert abs(difference) < 0.01 * value(losses, "otdd", "mixed")


def test_every_objective_returns_scalars_and_finite_gradients(losses):
    for name in OBJECTIVES:
        objective = Objective(name, 2, 2)
        (loss, logs), gradient = losses[name]["mixed"]
        assert jnp.shape(loss) == ()
        assert all(jnp.shape(x) == () for x in logs.values())
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max() > 0) == objective.trains
        assert objective.matches_moments == (name != "none")
    assert not Objective("moments", 2, 2).trains
    assert Objective("otdd", 2, 2).uses_labels


@pytest.mark.parametrize(
    ("name", "expected"), [("otdd", 1.0), ("sinkhorn", 0.71), ("classwise", 0.5)]
)
def test_descent_ends_where_the_objective_says(name, expected):
    """Free particles, of which 71 % start on the side of their class.

    The joint distance moves all of them to the side of their class. The unlabeled distance does not
    change the fraction. The class-wise surrogate spreads each class over both sides.
    """
    noise = np.random.default_rng(1).standard_normal((N, 2))
    start = (CENTERS[LABELS] / 16 + noise).astype(np.float32)
    end = start
    for _ in range(40):
        end = end - 0.3 * N * compiled(name)(end, TARGET_LABELS)[1]
    assert np.mean((start[:, 0] > 0) == LABELS) == pytest.approx(0.71, abs=0.01)
    # All objectives reach the source clusters; they differ in which particle goes to which one.
    assert np.abs(np.abs(end[:, 0]) - 4).max() < 1.5
    assert np.mean((end[:, 0] > 0) == LABELS) == pytest.approx(expected, abs=0.05)


def test_classwise_is_the_weighted_sum_over_classes():
    """Zero weights equal subsets: the reference is POT's solution for the samples of each class."""
    labels = np.where(np.arange(N) % 3 == 0, 2, 0)
    config = OTDDConfig()
    source_set, target_set = LabeledSet(SOURCE, LABELS, 2), LabeledSet(MIXED, labels, 3)
    costs, _ = jax.jit(lambda: otdd_costs(source_set, target_set, config))()
    cross, source, target = (np.asarray(cost, np.float64) for cost in costs)
    epsilon = 0.1 * cross.std()
    expected = -entropic_cost(source, epsilon) / 2
    for c in (0, 2):
        own = np.flatnonzero(labels == c)
        value = entropic_cost(cross[:, own], epsilon)
        value -= entropic_cost(target[np.ix_(own, own)], epsilon) / 2
        expected += len(own) / N * value
    (loss, logs), _ = compiled("classwise")(MIXED, labels)
    assert logs["converged"]
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_sinkhorn_is_the_divergence_without_labels():
    far = MIXED + np.array([1, 2], np.float32)
    u, v = SOURCE.astype(np.float64), far.astype(np.float64)
    cross = np.asarray(ot.dist(u, v)) / 2
    epsilon = 0.1 * cross.std()
    within = [entropic_cost(ot.dist(w, w) / 2, epsilon) for w in (u, v)]
    (loss, _), _ = compiled("sinkhorn")(far, TARGET_LABELS)
    np.testing.assert_allclose(loss, entropic_cost(cross, epsilon) - sum(within) / 2, rtol=1e-4)


def test_mmd_and_l2_against_numpy():
    u, v = SOURCE.astype(np.float64), ALIGNED.astype(np.float64) + 1

    def squares(a, b):
        return ((a[:, None] - b[None]) ** 2).sum(-1)

    both = np.concatenate([u, v])
    widths = squares(both, both).mean() * 2.0 ** np.arange(-2, 3)

    def kernel(a, b):
        return np.exp(-squares(a, b)[..., None] / widths).mean()

    expected = kernel(u, u) + kernel(v, v) - 2 * kernel(u, v)
    v32 = v.astype(np.float32)
    (mmd, _), _ = compiled("mmd")(v32, TARGET_LABELS)
    np.testing.assert_allclose(mmd, expected, rtol=1e-4)
    np.testing.assert_allclose(compiled("mmd")(SOURCE, TARGET_LABELS)[0][0], 0, atol=1e-6)
    (l2, logs), _ = compiled("l2")(v32, TARGET_LABELS)
    np.testing.assert_allclose(l2, squares(u, v).mean() / 2, rtol=1e-5)
    np.testing.assert_allclose(
        logs["mean_distance"], np.linalg.norm(u.mean(0) - v.mean(0)), rtol=1e-5
    )


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="Unknown alignment objective 'emd': use one of otdd"):
        Objective("emd", 2, 2)
    with pytest.raises(InputError, match="at least one class"):
        Objective("otdd", 2, 0)


@pytest.mark.wrong_arguments
def test_sides_of_different_shapes_are_named():
    with pytest.raises(InputError, match="as many source features"):
        Objective("otdd", 2, 2).loss(SOURCE, LABELS, ALIGNED[:8], LABELS[:8])
    with pytest.raises(InputError, match="width"):
        Objective("l2", 2, 2).loss(SOURCE, LABELS, ALIGNED[:, :1], LABELS)

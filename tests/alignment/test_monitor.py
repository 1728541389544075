"""The alignment report tells informative labels from noise, and the stopping rule stops."""

import jax
import numpy as np
import pytest

from pointata_jax.alignment import Objective, OTDDConfig, StoppingRule, alignment_report

OBJECTIVE = Objective("mmd", 3, 3, OTDDConfig(covariance="diagonal"))


def labeled_set(seed, separation):
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    features = separation * np.eye(3, 8)[labels] + rng.standard_normal((60, 8))
    return features.astype(np.float32), labels


def test_permuted_labels_cost_more_only_when_labels_inform():
    source = labeled_set(0, 4.0)
    target, labels = labeled_set(1, 4.0)
    key = jax.random.key(0)
    report = alignment_report(OBJECTIVE, *source, target, labels, key)
    assert report["otdd_permuted"] > 2 * report["otdd"] > 0
    assert report["gap"] == pytest.approx(report["otdd_permuted"] - report["otdd"], rel=1e-5)
    assert report["gap"] > 5 * report["otdd_permuted_std"]
    assert report["converged"] == 1.0
    assert report["iterations_cross"] > 0
    np.testing.assert_allclose(report["deviation"], target.std(0).mean(), rtol=1e-5)
    np.testing.assert_allclose(report["offset"], np.sqrt((target.mean(0) ** 2).mean()), rtol=1e-5)
    assert report == alignment_report(OBJECTIVE, *source, target, labels, key)

    shuffled = np.random.default_rng(2).permutation(labels)
    blind = alignment_report(OBJECTIVE, *source, target, shuffled, key)
    assert abs(blind["gap"]) < 0.1 * report["gap"]


def history(gaps, deviations=None):
    deviations = deviations or [1.0] * len(gaps)
    return [
        {"otdd": 1.0, "gap": gap, "deviation": deviation}
        for gap, deviation in zip(gaps, deviations, strict=True)
    ]


def test_stopping_rule():
    rule = StoppingRule(patience=2, min_growth=0.01, min_deviation=0.5)
    assert rule.reason([]) is None
    assert rule.reason(history([1, 2, 3, 4])) is None
    assert rule.reason(history([1, 2, 2.01])) is None
    # Growth of half a per cent does not count, and the second such report ends the alignment.
    stalled = history([1, 2, 2.01, 2.005])
    assert "has not grown for 2 reports" in (rule.reason(stalled) or "")
    assert rule.best(stalled) == 1
    # A gap that grows while the target shrinks does not count as growth.
    shrunk = history([1, 2, 3], [1.0, 0.6, 0.49])
    assert "deviation" in (rule.reason(shrunk) or "")
    assert rule.best(shrunk) == 1
    assert "no longer finite" in (rule.reason(history([1, float("nan")])) or "")


def test_the_rule_watches_another_figure():
    rule = StoppingRule(patience=2, watched="label_fit")
    reports = [
        r | {"label_fit": fit} for r, fit in zip(history([1, 2, 3, 4]), [5, 9, 8, 7], strict=True)
    ]
    assert rule.best(reports) == 1
    assert "share of the held-out labels" in (rule.reason(reports) or "")

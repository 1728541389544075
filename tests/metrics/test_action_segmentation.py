"""Scores of action segmentation against golden cases and against slow, simple versions."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.metrics.action_segmentation import (
    edit_distance,
    match_counts,
    scores,
    segments,
)


def runs(text):
    """The labels that "0x4 1x3" stands for: four of class 0, then three of class 1."""
    parts = [part.split("x") for part in text.split()]
    return np.concatenate([np.full(int(times), int(label)) for label, times in parts])


# Measured with the benchmark's own evaluator: TP, FP and FN at 0.10, 0.25 and 0.50.
GOLDEN = {
    "A": ("0x4 1x3 2x3", "0x3 1x2 0x1 1x1 2x3", 80, 60, [(3, 2, 0), (3, 2, 0), (2, 3, 1)]),
    "B": ("0x9 1x1", "0x9 1x1", 100, 100, [(1, 1, 1)] * 3),
    "C": ("0x5 1x5", "0x5 1x5", 100, 100, [(2, 0, 0)] * 3),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_cases_of_the_official_evaluator(case):
    target, predicted, accuracy, edit, counts = GOLDEN[case]
    target, predicted = runs(target), runs(predicted)
    np.testing.assert_array_equal(match_counts(predicted, target, last_end=-1), counts)
    result = scores([predicted], [target], mode="official")
    assert result["acc"] == pytest.approx(accuracy)
    assert result["edit"] == pytest.approx(edit)
    for name, (tp, fp, fn) in zip(("f1@10", "f1@25", "f1@50"), counts, strict=True):
        assert result[name] == pytest.approx(200 * tp / (2 * tp + fp + fn))


def test_a_correct_last_segment_of_one_frame_is_correct_in_corrected_mode():
    right = runs("0x9 1x1")
    assert set(scores([right], [right]).values()) == {100.0}
    assert scores([right], [right], mode="official")["f1@50"] == pytest.approx(50.0)


def slow_distance(first, second):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        same = first[i - 1] == second[j - 1]
        return min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (not same)
        )

    return distance(len(first), len(second))


def slow_counts(predicted, target, threshold):
    """TP, FP and FN from sets of frames, one predicted segment after the other."""

    def frames(labels):
        return [
            (label, set(range(start, end)))
            for label, start, end in zip(*segments(labels), strict=True)
        ]

    taken, hits = set(), 0
    truth = frames(target)
    for label, part in frames(predicted):
        overlaps = [
            len(part & other) / len(part | other) if label == name else 0.0 for name, other in truth
        ]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= threshold and best not in taken:
            taken.add(best)
            hits += 1
    return hits, len(frames(predicted)) - hits, len(truth) - hits


def random_pairs(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        length = int(rng.integers(1, 30))
        target = np.repeat(rng.integers(0, 3, 30), rng.integers(1, 6, 30))[:length]
        predicted = np.where(rng.random(length) < 0.2, rng.integers(0, 3, length), target)
        yield predicted, target


def test_against_brute_force():
    pairs = list(random_pairs(150, 0))
    total = np.zeros((3, 3))
    for predicted, target in pairs:
        assert edit_distance(predicted, target) == slow_distance(predicted, target)
        counts = [slow_counts(predicted, target, threshold) for threshold in (0.1, 0.25, 0.5)]
        np.testing.assert_array_equal(match_counts(predicted, target), counts)
        total += counts
    result = scores(*zip(*pairs, strict=True))
    tp, fp, fn = total.T
    pooled = 200 * tp / (2 * tp + fp + fn)
    np.testing.assert_allclose([result[f"f1@{t}"] for t in (10, 25, 50)], pooled)
    frames = np.concatenate([p == t for p, t in pairs])
    assert result["acc"] == pytest.approx(100 * frames.mean())


def test_the_official_accuracy_depends_on_its_batches():
    # Of nine videos eight are wrong in every frame. The ninth, a batch by itself, is right.
    targets = [np.zeros(5, int)] * 9
    predictions = [np.ones(5, int)] * 8 + [np.zeros(5, int)]
    assert scores(predictions, targets, mode="official")["acc"] == pytest.approx(50.0)
    assert scores(predictions, targets)["acc"] == pytest.approx(100 / 9)
    assert scores(predictions, targets, mode="official", batch_size=3)["acc"] == pytest.approx(
        100 / 9
    )


def test_ignored_frames_are_removed_in_corrected_mode():
    target, predicted = runs("0x3 1x4 2x3"), runs("0x3 1x4 2x3")
    gap, wrong = target.copy(), predicted.copy()
    gap[[4, 5]], wrong[[4, 5]] = -1, 9  # Predictions for ignored frames do not matter.
    ignored = np.full(4, -1)
    result = scores([wrong, np.arange(4)], [gap, ignored])
    assert set(result.values()) == {100.0}
    assert scores([wrong], [gap], mode="official")["acc"] == pytest.approx(80.0)


def test_all_wrong_is_zero_without_a_division_by_zero():
    result = scores([np.zeros(6, int)], [np.ones(6, int)], mode="official")
    assert set(result.values()) == {0.0}


@pytest.mark.wrong_arguments
@pytest.mark.parametrize(
    ("predictions", "targets", "options", "sentence"),
    [
        ([], [], {}, "0 predicted sequences against 0 targets"),
        ([np.zeros(3, int)], [], {}, "1 predicted sequences against 0"),
        ([np.zeros(3, int)], [np.zeros(4, int)], {}, r"Video 0: predictions \(3,\) and targets"),
        ([np.zeros(3)], [np.zeros(3, int)], {}, "predictions are float64, expected integers"),
        ([np.zeros(3, int)], [np.full(3, -1)], {}, "nothing to score"),
        ([np.zeros(3, int)], [np.zeros(3, int)], {"mode": "exact"}, "Unknown scoring mode 'exact'"),
    ],
)
def test_bad_input_is_named(predictions, targets, options, sentence):
    with pytest.raises(InputError, match=sentence):
        scores(predictions, targets, **options)

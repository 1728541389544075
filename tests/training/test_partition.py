from __future__ import annotations

import jax
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.training import partition
from tests.training import toy


@pytest.mark.parametrize("tuning", sorted(partition.TUNINGS))
def test_every_tuning_covers_the_model_and_splits_without_loss(tuning):
    params, _ = toy.variables()
    groups = partition.assign_groups(params, partition.tuning_rules(tuning))
    trainable, frozen = partition.split(params, groups)
    merged = partition.merge(trainable, frozen)
    assert jax.tree.structure(merged) == jax.tree.structure(params)
    assert jax.tree.all(jax.tree.map(np.array_equal, merged, params))

    small = {"embedder", "pva_0", "sce", "sce_gates", "temporal_embedding", "head"}
    expected = {
        "pointata": small,
        "adapter": small,
        "random_frozen": small,
        "full": small | {"backbone"},
        "scratch": small | {"backbone"},
        "lora": small,
        "frame": small | {"backbone"},
        "side": small,
        "probe": {"head"},
    }[tuning]
    assert set(trainable) == expected
    assert set(frozen) == (small | {"backbone"}) - expected
    assert partition.count_parameters(trainable) + partition.count_parameters(frozen) == sum(
        leaf.size for leaf in jax.tree.leaves(params)
    )


def test_an_uncovered_parameter_is_named_with_the_rules():
    params = {"head": {"out": np.zeros(2)}, "haed": {"out": np.zeros(2)}}
    with pytest.raises(InputError, match=r"'haed/out'.*no rule covers it.*head/\.\+"):
        partition.assign_groups(params, partition.tuning_rules("pointata"))


def test_a_parameter_covered_twice_is_named_with_the_rules():
    rules = ((r"head/.+", "head"), (r".*/bias", "frozen"))
    with pytest.raises(InputError, match=r"'head/bias'.*2 rules.*'head/\.\+' \(head\).*\.\*/bias"):
        partition.assign_groups({"head": {"bias": np.zeros(2), "kernel": np.zeros(2)}}, rules)


def test_a_name_that_only_begins_like_a_known_one_is_not_covered():
    with pytest.raises(InputError, match="'sce_gates_old'"):
        partition.assign_groups({"sce_gates_old": np.zeros(1)}, partition.TUNINGS["full"])


def test_unknown_tuning_and_double_merge():
    with pytest.raises(InputError, match="unknown tuning 'prompt'.*pointata"):
        partition.tuning_rules("prompt")
    with pytest.raises(InputError, match="'head/out' is both"):
        partition.merge({"head": {"out": 1}}, {"head": {"out": 1}})

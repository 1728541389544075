from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax import export

from pointata_jax.errors import InputError
from pointata_jax.training import optimizer as optimizer_lib
from pointata_jax.training import partition, sharding
from pointata_jax.training.step import create_train_state, make_eval_step, make_train_step
from tests.training import toy


def run_steps(state, frozen, optimizer, steps, mesh=None, loss_fn=toy.loss_fn):
    step = make_train_step(loss_fn, optimizer, mesh=mesh)
    stream, losses = toy.Stream(), []
    for _ in range(steps):
        batch = next(stream)
        batch = sharding.shard_batch(batch, mesh) if mesh else batch
        state, metrics = step(state, frozen, batch, jax.random.key(1))
        losses.append(float(metrics["loss"]))
    return state, losses


def test_frozen_leaves_stay_and_the_rest_learns():
    state, frozen, optimizer, _ = toy.setup()
    before = jax.tree.map(np.array, frozen)
    start = jax.tree.map(np.array, state.trainable)
    state, losses = run_steps(state, frozen, optimizer, 24)
    assert jax.tree.all(jax.tree.map(np.array_equal, frozen, before))
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), state.trainable, start)
    assert all(jax.tree.leaves(moved))
    assert losses[-1] < 0.7 * losses[0]
    assert int(state.step) == 24


@pytest.mark.parametrize("clip", [None, 0.5])
def test_split_equals_masking_the_whole_tree_bit_for_bit(clip):
    """The form most people know: gradients of everything, `multi_transform`, `set_to_zero`."""
    state, frozen, optimizer, groups = toy.setup(clip_norm=clip)
    params, model_state = toy.variables()
    transforms = optimizer_lib.group_transforms(toy.config())
    whole = optax.multi_transform({**transforms, "frozen": optax.set_to_zero()}, groups)
    if clip is not None:  # masked, or the gradients of frozen weights would count in the norm
        trains = jax.tree.map(lambda group: group != "frozen", groups)
        whole = optax.chain(optax.masked(optax.clip_by_global_norm(clip), trains), whole)
    whole_state = create_train_state(params, model_state, whole)

    state, losses = run_steps(state, frozen, optimizer, 8)
    whole_state, whole_losses = run_steps(whole_state, {}, whole, 8)

    assert losses == whole_losses
    merged = partition.merge(state.trainable, frozen)
    assert jax.tree.all(jax.tree.map(np.array_equal, merged, whole_state.trainable))
    assert jax.tree.all(jax.tree.map(np.array_equal, state.model_state, whole_state.model_state))
    assert not np.array_equal(merged["head"]["out"]["kernel"], params["head"]["out"]["kernel"])


def test_eight_devices_equal_one_and_pmap():
    devices = jax.devices()
    if len(devices) < 8:
        pytest.skip(f"needs 8 devices, {len(devices)} here: see tests/conftest.py")
    one, eight = sharding.make_mesh(devices[:1]), sharding.make_mesh(devices[:8])
    # Dropout and batch statistics are off: pmap draws and averages per device. Plain gradient
    # steps: Adam would turn rounding noise in tiny gradients into whole steps.

    def plain_loss(params, model_state, batch, key, train):
        del train
        loss, (_, metrics) = toy.loss_fn(params, model_state, batch, key, False)
        return loss, (model_state, metrics)

    params, model_state = toy.variables()
    groups = partition.assign_groups(params, partition.tuning_rules("pointata"))
    trainable, frozen = partition.split(params, groups)
    optimizer = optax.sgd(0.1, momentum=0.9)
    ends = []
    for mesh in (one, eight):
        state = create_train_state(trainable, model_state, optimizer, mesh=mesh)
        placed = sharding.replicate(frozen, mesh)
        state, losses = run_steps(state, placed, optimizer, 5, mesh, plain_loss)
        ends.append((jax.tree.map(np.asarray, state.trainable), losses))

    @functools.partial(jax.pmap, axis_name="data", devices=devices[:8], in_axes=(0, 0, None, 0))
    def pmap_step(trainable, opt_state, frozen, batch):
        def loss_of(trainable):
            merged = partition.merge(trainable, frozen)
            return plain_loss(merged, model_state, batch, jax.random.key(0), True)[0]

        loss, gradient = jax.value_and_grad(loss_of)(trainable)
        loss, gradient = jax.lax.pmean((loss, gradient), "data")
        updates, opt_state = optimizer.update(gradient, opt_state, trainable)
        return optax.apply_updates(trainable, updates), opt_state, loss

    def stack(tree):
        return jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * 8), tree)

    replicas, opt_state, losses = stack(trainable), stack(optimizer.init(trainable)), []
    stream = toy.Stream()
    for _ in range(5):
        batch = jax.tree.map(lambda leaf: leaf.reshape(8, -1, *leaf.shape[1:]), next(stream))
        replicas, opt_state, loss = pmap_step(replicas, opt_state, frozen, batch)
        losses.append(float(loss[0]))
    ends.append((jax.tree.map(lambda leaf: np.asarray(leaf[0]), replicas), losses))

    for end in ends[1:]:
        np.testing.assert_allclose(end[1], ends[0][1], rtol=1e-6)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6), end[0], ends[0][0]
        )


def test_batch_statistics_and_dropout_are_global_over_eight_devices():
    devices = jax.devices()
    if len(devices) < 8:
        pytest.skip(f"needs 8 devices, {len(devices)} here: see tests/conftest.py")
    ends = []
    for mesh in (sharding.make_mesh(devices[:1]), sharding.make_mesh(devices[:8])):
        state, frozen, optimizer, _ = toy.setup(mesh=mesh)
        ends.append(run_steps(state, sharding.replicate(frozen, mesh), optimizer, 3, mesh))
    (first, losses), (second, others) = ends
    np.testing.assert_allclose(losses, others, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        first.model_state,
        second.model_state,
    )


def test_the_step_lowers_for_cpu_cuda_and_tpu():
    state, frozen, optimizer, _ = toy.setup()
    step: Any = make_train_step(toy.loss_fn, optimizer)
    exported = export.export(step, platforms=["cpu", "cuda", "tpu"])(
        state, frozen, next(toy.Stream()), jax.random.key(0)
    )
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


def test_a_step_that_is_not_finite_leaves_the_state_untouched():
    state, frozen, optimizer, _ = toy.setup()
    step = make_train_step(toy.loss_fn, optimizer, donate=False)
    batch = next(toy.Stream())
    batch["points"][3, 0, 0] = np.nan
    after, metrics = step(state, frozen, batch, jax.random.key(0))
    assert not bool(metrics["finite"])
    assert jax.tree.all(jax.tree.map(np.array_equal, after, state))


def test_the_caller_keeps_its_arrays_when_the_state_is_donated():
    params, model_state = jax.tree.map(jax.numpy.asarray, toy.variables())
    groups = partition.assign_groups(params, partition.tuning_rules("full"))
    optimizer = optimizer_lib.make_optimizer(toy.config(), partition.trainable_groups(groups))
    state = create_train_state(params, model_state, optimizer, mesh=sharding.make_mesh())
    run_steps(state, {}, optimizer, 1, sharding.make_mesh())
    assert np.isfinite(np.asarray(params["head"]["out"]["kernel"])).all()
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(state.trainable["head"]["out"]["kernel"])


def test_reserved_metric_names_and_changed_model_state_are_refused():
    state, frozen, optimizer, _ = toy.setup()
    batch, key = next(toy.Stream()), jax.random.key(0)

    def clashing(*args):
        loss, (model_state, _) = toy.loss_fn(*args)
        return loss, (model_state, {"grad_norm": loss})

    with pytest.raises(InputError, match="'grad_norm'"):
        make_train_step(clashing, optimizer)(state, frozen, batch, key)
    with pytest.raises(InputError, match="return all the collections"):
        make_train_step(lambda *args: (toy.loss_fn(*args)[0], ({}, {})), optimizer)(
            state, frozen, batch, key
        )


def test_eval_step_on_a_padded_batch_equals_the_plain_forward_pass():
    mesh = sharding.make_mesh()
    state, frozen, _, _ = toy.setup(mesh=mesh)
    batch = next(toy.Stream(batch_size=5))
    padded = sharding.pad_batch(batch, 8 * mesh.size)
    logits = make_eval_step(toy.eval_fn, mesh=mesh)(state, frozen, padded)
    params, model_state = toy.variables()
    expected = toy.eval_fn(params, model_state, batch)
    np.testing.assert_allclose(np.asarray(logits)[padded["weight"] > 0], expected, atol=1e-6)

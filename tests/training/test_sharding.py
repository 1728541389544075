from __future__ import annotations

import jax
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.training import sharding
from tests.training import toy
from tests.two_processes import run_two


def test_an_uneven_batch_is_refused_with_the_number_to_use():
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices: see tests/conftest.py")
    mesh = sharding.make_mesh(jax.devices()[:8])
    with pytest.raises(InputError, match="batch of 12 clips.*over 8 devices.*8 or 16"):
        sharding.shard_batch(next(toy.Stream(batch_size=12)), mesh)
    with pytest.raises(InputError, match="for instance 8"):
        sharding.check_batch_size(3, mesh)
    sharding.check_batch_size(16, mesh)


def test_text_in_a_batch_is_refused_by_name():
    batch = {"points": np.zeros((8, 2)), "video_id": np.array(["a"] * 8)}
    with pytest.raises(InputError, match="'video_id' is <U1"):
        sharding.shard_batch(batch, sharding.make_mesh())


def test_padding_repeats_the_last_row_with_weight_zero():
    batch = {"points": np.arange(6.0).reshape(3, 2), "weight": np.array([1.0, 1.0, 0.0])}
    padded = sharding.pad_batch(batch, 5)
    np.testing.assert_array_equal(padded["points"][:, 0], [0, 2, 4, 4, 4])
    np.testing.assert_array_equal(padded["weight"], [1, 1, 0, 0, 0])
    with pytest.raises(InputError, match="3 rows cannot be filled up to 2"):
        sharding.pad_batch(batch, 2)


def test_half_given_cluster_is_refused():
    with pytest.raises(InputError, match="together, or none"):
        sharding.initialize_distributed("localhost:1234")


CHILD = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
from pointata_jax.training import sharding
sharding.initialize_distributed(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
from pointata_jax.training.step import make_train_step
from tests.training import toy
mesh = sharding.make_mesh()
state, frozen, optimizer, _ = toy.setup(mesh=mesh)
step = make_train_step(toy.loss_fn, optimizer, mesh=mesh)
frozen, key = sharding.replicate((frozen, jax.random.key(1)), mesh)
stream, losses = toy.Stream(), []
for _ in range(3):
    rows = jax.tree.map(lambda leaf: np.split(leaf, 2)[jax.process_index()], next(stream))
    state, metrics = step(state, frozen, sharding.shard_batch(rows, mesh), key)
    losses.append(float(metrics["loss"]))
print(json.dumps({"devices": jax.device_count(), "losses": losses}))
"""


@pytest.mark.slow
def test_two_processes_equal_one():
    results = run_two(CHILD, timeout=100)

    from tests.training.test_step import run_steps

    state, frozen, optimizer, _ = toy.setup()
    _, losses = run_steps(state, frozen, optimizer, 3)
    for result in results:
        assert result["devices"] == 8
        np.testing.assert_allclose(result["losses"], losses, rtol=1e-6)

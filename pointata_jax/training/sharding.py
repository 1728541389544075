"""Devices: one 1-D `data` mesh, the state replicated over it, the batch split along it.

One device, eight devices and several hosts run the same code. Unlike with `jax.pmap`, arrays have
no leading device axis: the compiled function sees the global batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import KeyPath
from jax.typing import ArrayLike

from pointata_jax.errors import InputError

AXIS = "data"
"""Name of the only axis of the mesh."""

Tree = TypeVar("Tree")


def initialize_distributed(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the processes of a multi-host run; call it before anything else touches a device.

    Without arguments the cluster is detected (Cloud TPU, Slurm, …); elsewhere give all three: the
    `host:port` of process 0, the number of processes and the index of this one. Does nothing when
    the process has already joined.
    """
    if jax.distributed.is_initialized():
        return
    given = (coordinator_address, num_processes, process_id)
    if any(value is None for value in given) and any(value is not None for value in given):
        raise InputError(
            "a distributed run needs the coordinator address, the number of processes and the "
            "index of this process together, or none of them where the cluster is detected: got "
            f"{given}."
        )
    try:
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the distributed run could not start ({error}): check the coordinator address and "
            "that every process is running."
        ) from error


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A 1-D mesh named `data` over the given devices, or over all of all hosts."""
    devices = jax.devices() if devices is None else devices
    # Auto, which is not the default: with explicit axes the backward pass of a gather (integer
    # labels) has no sharding rule.
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_rows(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that are split along their first axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Puts the same values on every device. The result may share memory with its source."""
    everywhere = replicated(mesh)

    def put(leaf: ArrayLike) -> jax.Array:
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(everywhere, leaf.ndim):
            return leaf
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if jax.process_count() == 1:
            return jax.device_put(leaf, everywhere)
        return jax.make_array_from_process_local_data(everywhere, np.asarray(leaf))

    return jax.tree.map(put, tree)


def shard_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Splits this host's rows over its devices: host arrays `[b, …]` → global arrays `[B, …]`.

    `b` is the number of rows of this process; the global batch is the processes' rows in order of
    their index.

    Raises:
      InputError: the rows cannot be dealt out evenly, or a leaf is not numeric.
    """
    rows = batch_rows(mesh)
    local = len(mesh.local_devices)

    def put(path: KeyPath, leaf: ArrayLike) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(rows, leaf.ndim):
            return leaf
        leaf = np.asarray(leaf)
        if leaf.dtype.kind not in "biufV" or leaf.ndim == 0:
            raise InputError(
                f"batch entry '{name}' is {leaf.dtype}{list(leaf.shape)}: a batch holds numeric "
                "arrays whose first axis counts the clips; drop the entry before training."
            )
        if leaf.shape[0] % local:
            raise InputError(uneven_message(leaf.shape[0], local))
        return jax.make_array_from_process_local_data(rows, leaf)

    return jax.tree_util.tree_map_with_path(put, batch)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """`InputError` unless a global batch can be dealt out evenly over the devices of the mesh."""
    if batch_size < 1 or batch_size % mesh.size:
        raise InputError(uneven_message(batch_size, mesh.size))


def uneven_message(rows: int, devices: int) -> str:
    """The sentence for a batch that its devices cannot share evenly."""
    below, above = rows // devices * devices, max(1, -(-rows // devices)) * devices
    near = f"{below} or {above}" if 0 < below < above else f"{above}"
    return (
        f"a batch of {rows} clips cannot be dealt out evenly over {devices} devices: use a "
        f"multiple of {devices}, for instance {near}."
    )


def pad_batch(batch: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """Fills a host batch up to `rows` rows for evaluation.

    The last row is repeated with `weight` 0, so that weighted sums leave it out. (The model may
    refuse rows of zeros.) A batch without `weight` gets one.
    """
    have = next(iter(batch.values())).shape[0]
    if not 0 < have <= rows:
        raise InputError(f"a batch of {have} rows cannot be filled up to {rows} rows.")
    weight = np.asarray(batch.get("weight", np.ones(have)), np.float32)
    padded = {
        name: np.concatenate([value, np.repeat(np.asarray(value)[-1:], rows - have, axis=0)])
        for name, value in batch.items()
    }
    padded["weight"] = np.concatenate([weight, np.zeros(rows - have, np.float32)])
    return padded

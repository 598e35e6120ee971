"""Devices: one mesh, the batch split over it, everything else replicated."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree


def make_mesh() -> Mesh:
    """All devices on one axis "data", sharded by the compiler (Auto)."""
    return jax.make_mesh((jax.device_count(),), ("data",), (AxisType.Auto,))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises if the devices cannot share the batch evenly."""
    if batch_size % mesh.size:
        raise ValueError(
            f"got train.batch_size={batch_size} on {mesh.size} devices, expected a "
            "multiple of the device count: change train.batch_size or hide devices"
        )


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a copy of every array on every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard_batch(batch: PyTree, batch_size: int, mesh: Mesh) -> PyTree:
    """Splits this host's part of a batch over its devices.

    Args:
      batch: arrays of this host, first axis the images.
      batch_size: images over all hosts; without it uneven hosts go unnoticed.
      mesh: from `make_mesh`.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))

    def place(x: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(
            sharding, x, (batch_size, *x.shape[1:])
        )

    return jax.tree.map(place, batch)

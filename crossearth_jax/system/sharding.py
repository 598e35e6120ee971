"""Devices: one mesh of two axes, and where every array of a run lives on it.

The batch is split over both axes. Trainable parameters and their optimiser state are
small and replicated. Frozen weights are split over "fsdp" and gathered layer by layer
where they are used; with one "fsdp" device, the default, they are replicated too.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

SMALL = 16_384  # scalars; splitting less costs more than it saves


def make_mesh(fsdp: int = 1, devices: list[jax.Device] | None = None) -> Mesh:
    """Axes "data" and "fsdp", sharded by the compiler (Auto).

    Args:
      fsdp: devices that share one copy of the frozen weights.
      devices: all of every host if None.

    Raises:
      ValueError: the devices do not form whole groups of `fsdp`.
    """
    devices = jax.devices() if devices is None else devices
    if fsdp < 1 or len(devices) % fsdp:
        raise ValueError(
            f"got train.fsdp={fsdp} on {len(devices)} device(s), expected a divisor of "
            "the device count: set --config.train.fsdp=1 or another divisor"
        )
    shape = (len(devices) // fsdp, fsdp)
    types = (AxisType.Auto,) * 2
    return jax.make_mesh(shape, ("data", "fsdp"), types, devices=devices)


def check_batch_size(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
    """Raises if the devices cannot share every part of the batch evenly."""
    if accumulate < 1 or batch_size % (mesh.size * accumulate):
        raise ValueError(
            f"got train.batch_size={batch_size} in train.accumulate={accumulate} "
            f"part(s) on {mesh.size} devices, expected a multiple of parts x devices: "
            "change train.batch_size, train.accumulate or hide devices"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """A full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_split(mesh: Mesh) -> NamedSharding:
    """First axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def weight_split(x: jax.Array | np.ndarray, mesh: Mesh) -> NamedSharding:
    """The longest axis that "fsdp" divides, none for small arrays."""
    parts = mesh.shape["fsdp"]
    axes = [i for i, n in enumerate(x.shape) if n % parts == 0]
    if parts == 1 or x.size < SMALL or not axes:
        return replicated(mesh)
    longest = max(axes, key=lambda i: x.shape[i])
    names = ["fsdp" if i == longest else None for i in range(x.ndim)]
    return NamedSharding(mesh, PartitionSpec(*names))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a copy of every array on every device; hosts must hold equal values."""
    return jax.tree.map(lambda x: _place(x, replicated(mesh)), tree)


def place_frozen(tree: PyTree, mesh: Mesh) -> PyTree:
    """Splits frozen weights over "fsdp"; hosts must hold equal values."""
    return jax.tree.map(lambda x: _place(x, weight_split(x, mesh)), tree)


def _place(x: jax.Array | np.ndarray, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1:
        return jax.device_put(x, sharding)
    if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _place(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(data)
    # `device_put` would gather every array from every host to compare them.
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def shard_batch(batch: PyTree, batch_size: int, mesh: Mesh) -> PyTree:
    """Splits this host's part of a batch over its devices.

    Args:
      batch: arrays of this host, first axis the images.
      batch_size: images over all hosts; without it uneven hosts go unnoticed.
      mesh: from `make_mesh`.
    """

    def place(x: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(
            batch_split(mesh), x, (batch_size, *x.shape[1:])
        )

    return jax.tree.map(place, batch)


def whole_batch(batch: int) -> int:
    """A batch size rounded up to a multiple of this host's devices."""
    devices = jax.local_device_count()
    return -(-batch // devices) * devices


def replicate_here(tree: PyTree, here: Mesh) -> PyTree:
    """Copies on every device of this host alone.

    Hosts score different images, so they must not meet inside a compiled function.

    Args:
      tree: replicated arrays of a run, or arrays of this host.
      here: mesh of this host's devices.
    """

    def place(x: jax.Array | np.ndarray) -> jax.Array:
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            x = x.addressable_data(0)
        return jax.device_put(x, replicated(here))

    return jax.tree.map(place, tree)

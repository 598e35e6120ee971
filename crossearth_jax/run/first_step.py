"""Before the first step: it is compiled, and its memory stands beside the device's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, Sharding
from jaxtyping import PyTree

from crossearth_jax.data.pipeline import Batch
from crossearth_jax.system import device_memory, hosts, sharding
from crossearth_jax.train_step import TrainState


def compiled_step(step_fn: Any, *arguments: Any) -> Callable[..., Any]:
    """The program of a jitted step for arguments of these shapes and places.

    Says before that it takes a moment, and afterwards what the program will need.
    """
    if hosts.is_first():
        print("compiling the step, about 20 s the first time", flush=True)
    compiled = step_fn.lower(*arguments).compile()
    needs, has = device_memory.needed(compiled), device_memory.available()
    if hosts.is_first() and needs and has:
        need, have = map(device_memory.gigabytes, (needs, has))
        print(f"a step needs {need} of the {have} of each device", flush=True)
        if needs > has:
            logging.warning("this will not fit: set %s", device_memory.HELPS)
    return compiled


def traced_step(
    step_fn: Any, state: TrainState, frozen: PyTree, images: int, crop: int, mesh: Mesh
) -> Any:
    """A jitted step, traced for shapes of `images` a batch at their places.

    Args:
      step_fn: of `make_train_step`.
      state: arrays or shapes.
      frozen: arrays or shapes, wherever they are.
      images: of a batch, over all devices.
      crop: pixels of a side.
      mesh: of devices that need not be there.
    """

    def blank() -> Batch:
        labels = jnp.zeros((images, crop, crop), np.uint8)
        return Batch(jnp.stack([labels] * 3, -1), labels)

    everywhere = sharding.replicated(mesh)
    return step_fn.trace(
        placed(state, everywhere),
        jax.tree.map(lambda x: placed(x, sharding.weight_split(x, mesh)), frozen),
        placed(jax.eval_shape(blank), sharding.batch_split(mesh)),
        placed(jax.eval_shape(lambda: jax.random.key(0)), everywhere),
    )


def placed(tree: PyTree, place: Sharding) -> PyTree:
    """Shapes with a place on devices."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree
    )

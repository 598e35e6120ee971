"""A model as a jitted function from windows to class scores."""

from functools import partial

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from crossearth_jax.models.parameters import combine
from crossearth_jax.scoring.windows import ScoreFn
from crossearth_jax.system import sharding
from crossearth_jax.system.compiling import lean_schedule


def class_scores(
    graph: nnx.GraphDef,
    params: PyTree,
    frozen: PyTree,
    windows: Float[Array, "B H W 3"],
) -> Float[Array, "B H W K"]:
    """Class scores of normalised windows, by the parts of a `build.Network`."""
    return nnx.merge(graph, combine(params, frozen)).scores(windows)


def make_score_fn(graph: nnx.GraphDef, params: PyTree, frozen: PyTree) -> ScoreFn:
    """Jitted function from normalised windows to class scores, on this host alone.

    The windows of a call are split over the host's devices and must be a multiple
    of them.
    """
    here = sharding.make_mesh(devices=jax.local_devices())
    params = sharding.replicate_here(params, here)
    frozen = sharding.replicate_here(frozen, here)
    scores = jax.jit(partial(class_scores, graph), compiler_options=lean_schedule())

    def score_fn(windows: np.ndarray) -> jax.Array:
        placed = jax.device_put(windows, sharding.batch_split(here))
        return scores(params, frozen, placed)

    return score_fn

"""A model as a jitted function from windows to class scores."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
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


def jitted_scores(graph: nnx.GraphDef, mesh: Mesh) -> Callable[..., Array]:
    """The jitted `(params, frozen, windows) -> scores` for the devices of a mesh."""
    options = lean_schedule(mesh.devices.flat[0].platform)
    return jax.jit(partial(class_scores, graph), compiler_options=options)


def make_score_fn(graph: nnx.GraphDef, params: PyTree, frozen: PyTree) -> ScoreFn:
    """Jitted function from normalised windows to class scores, on this host alone.

    The windows of a call are split over the host's devices and must be a multiple
    of them.
    """
    return make_scorer(graph, frozen)(params)


def make_scorer(graph: nnx.GraphDef, frozen: PyTree) -> Callable[[PyTree], ScoreFn]:
    """Score functions, see `make_score_fn`, that share one compiled program.

    A function reads the parameters that it was made of: it must not outlive them where
    a training step takes their memory.
    """
    here = sharding.make_mesh(devices=jax.local_devices())
    frozen = sharding.replicate_here(frozen, here)
    scores = jitted_scores(graph, here)

    def with_parameters(params: PyTree) -> ScoreFn:
        params = sharding.replicate_here(params, here)

        def score_fn(windows: np.ndarray) -> jax.Array:
            placed = jax.device_put(windows, sharding.batch_split(here))
            return scores(params, frozen, placed)

        return score_fn

    return with_parameters

"""The state of a training as its checkpoints have it: every array under its path.

In a GPU's memory the optimiser's moments are two vectors of all parameters,
see `optim.over_vectors`; on disk each has the arrays of the parameters.
"""

from collections.abc import Callable, Mapping

import jax
import optax
from jaxtyping import Array, PyTree

from crossearth_jax.models.parameters import dotted, undotted
from crossearth_jax.models.two_vectors import Vectors, as_arrays, as_vectors
from crossearth_jax.train_step import TrainState

_cut = jax.jit(as_arrays)  # compiled once for all checkpoints of a run


def stored(state: TrainState) -> dict[str, Array]:
    """The arrays of a state by dotted path; cut out of vectors they are copies."""
    return dotted(_apart(state))


def stored_shapes(like: TrainState) -> dict[str, jax.ShapeDtypeStruct]:
    """What `stored` has of such a state, all of it placed as the number of its step."""
    shapes, where = jax.eval_shape(_apart, like), like.step.sharding
    return {
        path: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
        for path, x in dotted(shapes).items()
    }


def restored(arrays: Mapping[str, Array], like: TrainState) -> TrainState:
    """Undoes `stored` for a state of the structure of `like`."""
    state = undotted(arrays, jax.eval_shape(_apart, like))
    if not _has_vectors(like):
        return state
    together = jax.jit(as_vectors, out_shardings=like.step.sharding)
    return state._replace(opt_state=_with_moments(state.opt_state, together))


def _apart(state: TrainState) -> TrainState:
    def apart(moments: Vectors) -> PyTree:
        return _cut(moments, state.params)

    if not _has_vectors(state):
        return state
    return state._replace(opt_state=_with_moments(state.opt_state, apart))


def _has_vectors(state: TrainState) -> bool:
    moments = optax.tree.get(state.opt_state, "mu")
    return isinstance(moments, tuple)


def _with_moments(state: PyTree, change: Callable[[PyTree], PyTree]) -> PyTree:
    """The optimiser's state with other moments."""

    def is_adam(part: PyTree) -> bool:
        return isinstance(part, optax.ScaleByAdamState)

    def changed(part: PyTree) -> PyTree:
        if not is_adam(part):
            return part
        return part._replace(mu=change(part.mu), nu=change(part.nu))

    return jax.tree.map(changed, state, is_leaf=is_adam)

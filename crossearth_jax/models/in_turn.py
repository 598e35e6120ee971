"""Layers of one structure that follow each other, written out or as a loop."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PyTree

from crossearth_jax.models.portable import for_tpu

# (layer or layers, its number, what goes through all) → (that, what is kept of it)
Step = Callable[[Any, int | Array, Array], tuple[Array, PyTree]]


def in_turn(
    layers: Sequence[Any], step: Step, through: Array, *, recomputed: bool = False
) -> tuple[Array, list[PyTree]]:
    """What goes through all layers, and what every one of them keeps.

    A TPU runs a loop over stacked weights: its compiler takes time and code for every
    layer that is written out, minutes and hundreds of MB of them.

    Args:
      layers: modules, or tuples of them; not all need have one structure.
      step: one layer.
      through: before the first.
      recomputed: compute each layer again in the backward pass instead of keeping what
        is inside it. That takes the loop too, because XLA on a CPU undoes
        `jax.checkpoint` where layers are written out.
    """
    if recomputed or for_tpu():
        return _in_loops(layers, step, through, recomputed)
    kept = []
    for i, layer in enumerate(layers):
        through, of_layer = step(layer, i, through)
        kept.append(of_layer)
    return through, kept


def _in_loops(
    layers: Sequence[Any], step: Step, through: Array, recomputed: bool
) -> tuple[Array, list[PyTree]]:
    weights = [nnx.to_pure_dict(nnx.state(layer)) for layer in layers]
    kept: list[PyTree] = []
    for _, run in itertools.groupby(
        range(len(layers)), lambda i: jax.tree.structure(weights[i])
    ):
        numbers = [*run]
        alike = [weights[i] for i in numbers]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alike)
        graph = nnx.graphdef(layers[numbers[0]])

        def body(
            through: Array, layer: tuple[Array, PyTree], graph: nnx.GraphDef = graph
        ) -> tuple[Array, PyTree]:
            number, state = layer
            return step(nnx.merge(graph, state), number, through)

        body = jax.checkpoint(body) if recomputed else body
        through, of_run = jax.lax.scan(body, through, (jnp.array(numbers), stacked))
        kept += [jax.tree.map(lambda x, i=i: x[i], of_run) for i in range(len(numbers))]
    return through, kept

"""All arrays of a tree as two vectors: those of one axis, and those of more.

An accelerator starts a kernel for everything that is computed of each of n arrays; of a
vector it starts one. Two, since what a single array is divided by, XLA turns into a
factor: its rounding would be another one than that of n arrays.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

Vectors = tuple[Float[Array, " N"], Float[Array, " M"]]


def as_vectors(tree: PyTree) -> Vectors:
    """Biases and their like behind one another, and kernels and theirs."""
    small, large = ([jnp.ravel(x) for x in part] for part in _parts(tree))
    empty = [jnp.zeros(0)]
    return jnp.concatenate(small or empty), jnp.concatenate(large or empty)


def as_arrays(vectors: Vectors, like: PyTree) -> PyTree:
    """Undoes `as_vectors` for a tree of arrays or shapes."""
    small, large = map(_cut, vectors, _parts(like))
    leaves, structure = jax.tree.flatten(like)
    arrays = [next(small if x.ndim < 2 else large) for x in leaves]
    return jax.tree.unflatten(structure, arrays)


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Square root of the sum of squares of all arrays.

    A CPU adds up array by array: in a vector that long its running sum would round the
    small squares away. Elsewhere sums are trees.
    """

    def of_vectors(tree: PyTree) -> Float[Array, ""]:
        return optax.tree.norm(as_vectors(tree))

    return jax.lax.platform_dependent(tree, cpu=optax.tree.norm, default=of_vectors)


def _parts(tree: PyTree) -> tuple[list[Array], list[Array]]:
    leaves = jax.tree.leaves(tree)
    return [x for x in leaves if x.ndim < 2], [x for x in leaves if x.ndim >= 2]


def _cut(vector: Array, like: list[Array]) -> Iterator[Array]:
    ends = np.cumsum([x.size for x in like])[:-1]
    pieces = jnp.split(vector, ends) if like else []
    return (piece.reshape(x.shape) for piece, x in zip(pieces, like, strict=True))

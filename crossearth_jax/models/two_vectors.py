"""All arrays of a tree as two vectors, its first half of arrays and its second.

A GPU starts a kernel for everything that is computed of each of n arrays; of a vector
it starts one. Two, since what a single array is divided by, XLA turns into a
factor: its rounding would be another one than that of n arrays.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

Vectors = tuple[Float[Array, " N"], Float[Array, " M"]]


def as_vectors(tree: PyTree) -> Vectors:
    """All arrays behind one another."""
    first, second = ([jnp.ravel(x) for x in half] for half in _halves(tree))
    empty = [jnp.zeros(0)]
    return jnp.concatenate(first or empty), jnp.concatenate(second or empty)


def as_arrays(vectors: Vectors, like: PyTree) -> PyTree:
    """Undoes `as_vectors` for a tree of arrays or shapes."""
    first, second = map(_cut, vectors, _halves(like))
    return jax.tree.unflatten(jax.tree.structure(like), [*first, *second])


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Square root of the sum of squares of all arrays.

    Array by array but on a GPU: in a vector that long a CPU's running sum would round
    the small squares away. A GPU's sums are trees.
    """

    def of_vectors(tree: PyTree) -> Float[Array, ""]:
        return optax.tree.norm(as_vectors(tree))

    return jax.lax.platform_dependent(tree, cuda=of_vectors, default=optax.tree.norm)


def _halves(tree: PyTree) -> tuple[list[Array], list[Array]]:
    leaves = jax.tree.leaves(tree)
    middle = len(leaves) // 2
    return leaves[:middle], leaves[middle:]


def _cut(vector: Array, like: list[Array]) -> list[Array]:
    ends = np.cumsum([x.size for x in like])[:-1]
    pieces = jnp.split(vector, ends) if like else []
    return [piece.reshape(x.shape) for piece, x in zip(pieces, like, strict=True)]

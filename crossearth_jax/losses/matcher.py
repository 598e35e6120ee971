"""Hungarian matching of queries and classes on sampled points (method.md section 5).

Q queries, K classes, n points. There is at most one mask per class and image, so the
assignment is a (Q, K) problem in which absent classes cost nothing.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

FEW_CLASSES = 8  # as many are matched without loops where these are slow


def dice_terms(
    logits: Float[Array, "... n"], target: Float[Array, "... n"]
) -> Float[Array, "..."]:
    """Dice loss of sigmoid masks with +1 smoothing."""
    mask = jax.nn.sigmoid(logits)
    overlap = 2 * (mask * target).sum(-1)
    return 1 - (overlap + 1) / (mask.sum(-1) + target.sum(-1) + 1)


def matching_costs(
    class_logits: Float[Array, "Q K1"],
    masks: Float[Array, "Q n"],
    targets: Float[Array, "K n"],
    valid: Float[Array, " n"],
    *,
    class_weight: float,
    mask_weight: float,
    dice_weight: float,
) -> dict[str, Float[Array, "Q K"]]:
    """Weighted costs of giving class k to query q.

    Args:
      class_logits: last column "no object".
      masks: mask logits at the points.
      targets: share of each class at the points.
      valid: 0 takes a point out of the mask costs.
      class_weight: weight of -softmax(class).
      mask_weight: weight of the binary cross-entropy, a mean over points.
      dice_weight: weight of the Dice cost.

    Returns:
      "class", "mask" and "dice" costs.
    """
    positive = jax.nn.softplus(-masks) * valid  # [Q, n]
    negative = jax.nn.softplus(masks) * valid
    count = jnp.maximum(valid.sum(), 1)
    precision = jax.lax.Precision.HIGHEST
    bce = jnp.matmul(positive, targets.T, precision=precision)
    bce = bce + jnp.matmul(negative, (1 - targets).T, precision=precision)
    share, targets = jax.nn.sigmoid(masks) * valid, targets * valid
    overlap = 2 * jnp.matmul(share, targets.T, precision=precision)
    total = share.sum(-1)[:, None] + targets.sum(-1)[None]
    return {
        "class": -class_weight * jax.nn.softmax(class_logits)[:, :-1],
        "mask": mask_weight * bce / count,
        "dice": dice_weight * (1 - (overlap + 1) / (total + 1)),
    }


def match(cost: Float[Array, "Q K"], present: Bool[Array, " K"]) -> Int[Array, " K"]:
    """Query of each class; meaningless where the class is absent.

    Absent classes get a constant cost, so they only take queries that the present
    ones leave over and cannot change the optimum.
    """
    if cost.shape[0] < cost.shape[1]:
        raise ValueError(
            f"got {cost.shape[0]} queries for {cost.shape[1]} classes, expected at "
            "least as many queries: raise rein.num_tokens"
        )
    cost = jnp.where(present[None], jnp.nan_to_num(cost), 0)
    queries, classes = cost.shape
    if classes > FEW_CLASSES or queries == classes:
        return _with_loops(cost)
    return jax.lax.platform_dependent(
        cost, cuda=without_loops, rocm=without_loops, default=_with_loops
    )


def _with_loops(cost: Float[Array, "Q K"]) -> Int[Array, " K"]:
    queries, classes = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(cost.shape[1], jnp.int32).at[classes].set(queries)


def without_loops(cost: Float[Array, "Q K"]) -> Int[Array, " K"]:
    """The same assignment, ties too, without a loop that depends on data.

    For such a loop a GPU asks the host before every turn. K is less than Q, or ties
    would be others. The k-th class finds its
    place after k visits at the latest, so all of them are written out: `K (K + 1) / 2`.
    Visits after the last are computed and not taken.
    """
    queries, classes = cost.shape
    of_class = jnp.zeros(classes)  # potentials
    of_query = jnp.zeros(queries)
    owner = jnp.full(queries, -1)  # class of each query
    for k in range(classes):
        least = jnp.full(queries, jnp.inf)  # reduced cost of a way to each query
        before = jnp.full(queries, -1)  # query that the way comes from
        visited = jnp.zeros(queries, bool)
        at, asking = jnp.int32(-1), jnp.int32(k)  # -1: nowhere yet
        for _ in range(k + 1):
            searching = asking >= 0
            way = cost[:, asking] - of_class[asking] - of_query
            shorter = searching & ~visited & (way < least)
            before = jnp.where(shorter, at, before)
            least = jnp.where(shorter, way, least)
            open_ways = jnp.where(visited, jnp.inf, least)
            nearest, step = jnp.argmin(open_ways), open_ways.min()
            step = jnp.where(searching, step, 0)
            in_tree = (owner[:, None] == jnp.arange(classes)) & visited[:, None]
            moved = in_tree.any(0) | (jnp.arange(classes) == k)
            of_class = jnp.where(moved, of_class + step, of_class)
            of_query = jnp.where(visited, of_query - step, of_query)
            least = jnp.where(visited, least, least - step)
            at = jnp.where(searching, nearest, at)
            visited = visited | (searching & (jnp.arange(queries) == at))
            asking = jnp.where(searching, owner[at], asking)
        owner = _handed_on(owner, before, at, k)
    taken = owner[:, None] == jnp.arange(classes)
    return jnp.argmax(taken, 0).astype(jnp.int32)


def _handed_on(
    owner: Int[Array, " Q"], before: Int[Array, " Q"], at: Int[Array, ""], k: int
) -> Int[Array, " Q"]:
    """Every query on the way takes the class of the one before it, the first k."""
    everyone = jnp.arange(len(owner))
    for _ in range(k + 1):
        source = before[at]
        handed = jnp.where(source < 0, k, owner[source])
        owner = jnp.where((everyone == at) & (at >= 0), handed, owner)
        at = jnp.where(at < 0, at, source)
    return owner

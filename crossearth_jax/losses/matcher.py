"""Hungarian matching of queries and classes on sampled points (method.md section 5).

Q queries, K classes, n points. There is at most one mask per class and image, so the
assignment is a (Q, K) problem in which absent classes cost nothing.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int


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
    queries, classes = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(cost.shape[1], jnp.int32).at[classes].set(queries)

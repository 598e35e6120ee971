"""L_Seg: class, mask and Dice losses with deep supervision (method.md section 5).

P predictions, B batch, Q queries, K classes, n points. Targets are one binary mask
per class that is present; pixels of label 255 are in no mask.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from crossearth_jax.losses.matcher import dice_terms, match, matching_costs
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.pixels.resample import sample_bilinear


@dataclasses.dataclass(frozen=True)
class SegmentationLoss:
    """Weights and sampling of L_Seg.

    Attributes:
      class_weight: weight of the class cost and loss.
      mask_weight: weight of the mask cost and loss.
      dice_weight: weight of the Dice cost and loss.
      class_weights: of matched queries in the class loss, by class; None is 1 for all.
        Matching, mask and Dice losses do not depend on them.
      no_object: class weight of unmatched queries.
      num_points: n.
      oversample: candidates for uncertain points, as a multiple of n.
      importance: share of points chosen by uncertainty; the rest is random.
      exclude_ignored: leave points on label 255 out instead of counting them as
        negatives, which is what the authors' code does.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    class_weights: tuple[float, ...] | None = None
    no_object: float = 0.1
    num_points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75
    exclude_ignored: bool = False


class LossPoints(NamedTuple):
    """Random points in [0, 1]², x first, for all predictions.

    Attributes:
      match: points of the matching cost.
      candidates: points among which the uncertain ones are chosen, per class mask.
      extra: random points added to them.
    """

    match: Float[Array, "P B n 2"]
    candidates: Float[Array, "P B K n3 2"]
    extra: Float[Array, "P B K nr 2"]


def draw_points(
    key: Array, loss: SegmentationLoss, shape: tuple[int, int, int]
) -> LossPoints:
    """Draws all points of one loss.

    Args:
      key: PRNG key.
      loss: gives the counts.
      shape: (P, B, K).
    """
    n = loss.num_points
    predictions, batch, classes = shape
    chosen = int(loss.importance * n)
    keys = jax.random.split(key, 3)
    per_mask = (predictions, batch, classes)
    return LossPoints(
        match=jax.random.uniform(keys[0], (predictions, batch, n, 2)),
        candidates=jax.random.uniform(
            keys[1], (*per_mask, int(loss.oversample * n), 2)
        ),
        extra=jax.random.uniform(keys[2], (*per_mask, n - chosen, 2)),
    )


def class_masks(
    label: Integer[Array, "H W"], num_classes: int
) -> Float[Array, "H W K"]:
    """Binary mask of each class; ignored pixels are in none."""
    return (label[..., None] == jnp.arange(num_classes)).astype(jnp.float32)


def uncertain_points(
    mask: Float[Array, "h w"],
    candidates: Float[Array, "n3 2"],
    extra: Float[Array, "nr 2"],
    num_points: int,
) -> Float[Array, "n 2"]:
    """Candidates with logits nearest to 0, then the extra points."""
    logits = sample_bilinear(mask[..., None], candidates)[:, 0]
    order = _order(jnp.abs(logits), num_points - extra.shape[0])
    return jnp.concatenate([candidates[order], extra])


def _order(values: Float[Array, "n"], count: int) -> Integer[Array, "count"]:
    """Indices of the smallest values, from small to large.

    A CPU sorts slowly. GPUs would exchange what they take the largest of, and each look
    through the whole batch; what is sorted stays where it is.
    """
    by_platform = {"cuda": _order_by_sort, "default": _order_by_top_k}
    choices = {name: partial(by, count=count) for name, by in by_platform.items()}
    return jax.lax.platform_dependent(values, **choices)


def _order_by_sort(values: Array, count: int) -> Array:
    _, order = jax.lax.sort((values, jnp.arange(values.size)), num_keys=1)
    return order[:count]


def _order_by_top_k(values: Array, count: int) -> Array:
    return jax.lax.top_k(-values, count)[1]


def _image_terms(
    class_logits: Float[Array, "Q K1"],
    mask_logits: Float[Array, "Q h w"],
    label: Integer[Array, "H W"],
    points: LossPoints,
    loss: SegmentationLoss,
) -> dict[str, Array]:
    """Unreduced terms of one prediction and image; `points` without P and B."""
    targets = class_masks(label, class_logits.shape[-1] - 1)  # [H, W, K]
    present = targets.any((0, 1))
    kept = (label != IGNORE).astype(jnp.float32)[..., None]  # [H, W, 1]
    frozen = jax.lax.stop_gradient((class_logits, mask_logits))
    query = _matched(*frozen, targets, present, kept, points.match, loss)  # [K]
    bce, dice = jax.vmap(partial(_mask_terms, kept=kept, loss=loss))(
        mask_logits[query], targets.transpose(2, 0, 1), points.candidates, points.extra
    )
    return {
        "class": _class_term(class_logits, query, present, loss),
        "mask": jnp.where(present, bce, 0).sum(),
        "dice": jnp.where(present, dice, 0).sum(),
        "query": jnp.where(present, query, -1),
    }


def _validity(
    kept: Float[Array, "H W 1"], xy: Float[Array, "n 2"], loss: SegmentationLoss
) -> Float[Array, "n"]:
    """1 at the points that count, 0 on ignored pixels if those are left out."""
    if not loss.exclude_ignored:
        return jnp.ones(xy.shape[0])
    return (sample_bilinear(kept, xy)[:, 0] > 0.5).astype(jnp.float32)


def _matched(
    class_logits: Float[Array, "Q K1"],
    mask_logits: Float[Array, "Q h w"],
    targets: Float[Array, "H W K"],
    present: Bool[Array, "K"],
    kept: Float[Array, "H W 1"],
    xy: Float[Array, "n 2"],
    loss: SegmentationLoss,
) -> Integer[Array, "K"]:
    """The query of every class at the least cost; any for a class that is absent."""
    costs = matching_costs(
        class_logits,
        sample_bilinear(mask_logits.transpose(1, 2, 0), xy).T,
        sample_bilinear(targets, xy).T,
        _validity(kept, xy, loss),
        class_weight=loss.class_weight,
        mask_weight=loss.mask_weight,
        dice_weight=loss.dice_weight,
    )
    return match(costs["class"] + costs["mask"] + costs["dice"], present)


def _mask_terms(
    mask: Float[Array, "h w"],
    target: Float[Array, "H W"],
    candidates: Float[Array, "n3 2"],
    extra: Float[Array, "nr 2"],
    *,
    kept: Float[Array, "H W 1"],
    loss: SegmentationLoss,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Cross-entropy and Dice term of one mask at its uncertain points."""
    clean = jax.lax.stop_gradient(mask)
    xy = uncertain_points(clean, candidates, extra, loss.num_points)
    logits = sample_bilinear(mask[..., None], xy)[:, 0]  # [n]
    truth = sample_bilinear(target[..., None], xy)[:, 0]
    valid = _validity(kept, xy, loss)
    bce = jax.nn.softplus(logits) - logits * truth
    bce = (bce * valid).sum() / jnp.maximum(valid.sum(), 1)
    outside = jnp.where(valid > 0, logits, -jnp.inf)
    return bce, dice_terms(outside, truth * valid)


def _class_term(
    class_logits: Float[Array, "Q K1"],
    query: Integer[Array, "K"],
    present: Bool[Array, "K"],
    loss: SegmentationLoss,
) -> Float[Array, ""]:
    """Weighted cross-entropy of all queries.

    The target is K ("no object") unless a present class took the query.
    """
    queries, classes = class_logits.shape[0], class_logits.shape[1] - 1
    slot = jnp.where(present, query, queries)
    wanted = jnp.full(queries, classes)
    wanted = wanted.at[slot].set(jnp.arange(classes), mode="drop")
    weight = jnp.where(wanted == classes, loss.no_object, 1.0)
    if loss.class_weights is not None:
        weight = jnp.array([*loss.class_weights, loss.no_object])[wanted]
    entropy = -jnp.take_along_axis(
        jax.nn.log_softmax(class_logits), wanted[:, None], axis=-1
    )[:, 0]
    return (entropy * weight).sum()


def mean_over(
    labels: Integer[Array, "N H W"],
    num_classes: int,
    num_queries: int,
    loss: SegmentationLoss,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """What sums over N images are divided by: class weights, and masks.

    Every present class takes one query, so both follow from the labels alone. The
    authors count an image without any class as one mask.
    """
    present = jax.vmap(lambda y: class_masks(y, num_classes).any((0, 1)))(labels)
    matched = present.sum(1)  # [N]
    weight = matched
    if loss.class_weights is not None:
        weight = present @ jnp.array(loss.class_weights)
    weight = weight + (num_queries - matched) * loss.no_object
    return weight.sum(), jnp.maximum(matched, 1).sum().astype(jnp.float32)


def segmentation_terms(
    class_logits: Float[Array, "P B Q K1"],
    mask_logits: Float[Array, "P B Q h w"],
    label: Integer[Array, "B H W"],
    points: LossPoints,
    loss: SegmentationLoss,
    labels: Integer[Array, "N H W"] | None = None,
) -> dict[str, Array]:
    """Weighted loss terms of every prediction.

    The class loss is a weighted mean over all queries of the batch; mask and Dice
    losses are means over all matched masks of the batch.

    Args:
      class_logits: last column "no object".
      mask_logits: at any resolution.
      label: class ids, 255 ignored.
      points: random points, see `draw_points`.
      loss: weights and sampling.
      labels: of the whole batch, of which `label` is one of N / B equal parts: the
        mean of the parts' terms is then the term of the whole batch.

    Returns:
      "class", "mask", "dice" of shape [P], and the matching "query" [P, B, K], -1
      where a class is absent.
    """
    label = label.astype(jnp.int32)
    whole = label if labels is None else labels.astype(jnp.int32)
    queries, classes = class_logits.shape[2], class_logits.shape[3] - 1
    weight, masks = mean_over(whole, classes, queries, loss)
    share = label.shape[0] / whole.shape[0]

    def prediction(
        classes: Array, masks_: Array, points: LossPoints
    ) -> dict[str, Array]:
        terms = jax.vmap(lambda c, m, y, p: _image_terms(c, m, y, p, loss))(
            classes, masks_, label, points
        )
        return {
            "class": loss.class_weight * terms["class"].sum() / (weight * share),
            "mask": loss.mask_weight * terms["mask"].sum() / (masks * share),
            "dice": loss.dice_weight * terms["dice"].sum() / (masks * share),
            "query": terms["query"],
        }

    return jax.vmap(prediction)(class_logits, mask_logits, points)

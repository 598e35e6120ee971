"""The training step of CrossEarth: pure, jitted, one backbone call (method.md 8).

X is a clean image, X_S styled, X_M masked; B images per batch.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, PyTree

from crossearth_jax.data.pipeline import Batch
from crossearth_jax.earth_style.inject import Restyle
from crossearth_jax.earth_style.views import MaskedModelling, StyleInjection
from crossearth_jax.losses.mim import delta_loss, reconstruction_loss
from crossearth_jax.losses.segmentation import (
    SegmentationLoss,
    draw_points,
    segmentation_terms,
)
from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.models.parameters import combine
from crossearth_jax.models.two_vectors import global_norm
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.system.compiling import lean_schedule

Metrics = dict[str, Float[Array, ""]]
LOSSES = ("seg", "mim", "delta")  # L_Seg, L_MIM, L_Δ, as `Objective.weights` has them


class TrainState(NamedTuple):
    """Everything that a step changes; plain nested dicts of arrays.

    Attributes:
      params: trainable parameters only.
      opt_state: of the same parameters.
      step: number of finished steps; also the position in the data.
      bad: steps in a row, up to this one, whose loss or gradient was not finite;
        none of them has changed `params` or `opt_state`.
    """

    params: PyTree
    opt_state: PyTree
    step: Array
    bad: Array


@dataclasses.dataclass(frozen=True)
class Objective:
    """Which losses a step computes, and their weights.

    Attributes:
      segmentation: L_Seg.
      style: None trains without Earth-style injection.
      masked: None trains without the MIM flow.
      weights: of L_Seg, L_MIM and L_Δ in the sum.
      gradient_norms: measure every loss's gradient by itself, for the log.
    """

    segmentation: SegmentationLoss
    style: StyleInjection | None
    masked: MaskedModelling | None
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gradient_norms: bool = False

    def weighted(self, class_weights: Iterable[float]) -> "Objective":
        """The same with these weights of the classes in L_Seg's class loss."""
        weights = tuple(map(float, class_weights))
        loss = dataclasses.replace(self.segmentation, class_weights=weights)
        return dataclasses.replace(self, segmentation=loss)


def compute_losses(
    model: CrossEarth,
    restyle: Restyle | None,
    batch: Batch,
    key: PRNGKeyArray,
    objective: Objective,
    labels: Integer[Array, "N H W"] | None = None,
    drawn: Bool[Array, " B"] | None = None,
) -> Metrics:
    """L_Seg, L_MIM and L_Δ of one batch; X (or X_S) and X_M in one backbone call.

    Args:
      model: with all its parameters.
      restyle: p_t or its stand-in.
      batch: B images.
      key: of this step.
      objective: the losses.
      labels: of the whole batch of which this is one of N / B equal parts; the mean
        of the parts' losses is then the loss of the whole.
      drawn: which images are styled; None draws them, see `draw_styled`.

    Returns:
      "loss" (the weighted sum), "seg", its last prediction's "class", "mask" and
      "dice", and where they apply "mim", "delta", "styled" (share of images).
    """
    keys = _keys(key)
    clean = normalise(batch.image)  # X
    if drawn is None:
        drawn = draw_styled(key, objective.style, len(clean))
    image, styled = _styled(clean, restyle, keys["style"], objective.style, drawn)
    views = [image]
    if objective.masked:
        views.append(objective.masked.image(keys["mask"], clean, model.prompt[...]))
    # Views of one image stay neighbours, so a batch split over devices stays put.
    stacked = jnp.stack(views, axis=1)  # [B, V, H, W, 3]
    images = stacked.reshape(-1, *clean.shape[1:])
    taps = model.taps(images, training=True)
    taps = [tap.reshape(*stacked.shape[:2], *tap.shape[1:]) for tap in taps]

    metrics = _segmentation(
        model, [t[:, 0] for t in taps], image, batch, keys["points"], objective, labels
    )
    if objective.masked:
        counted = objective.masked.counted(keys["mask"], clean)
        metrics |= _modelling(model, taps, clean, views, styled, objective, counted)
    if objective.style:
        metrics["styled"] = styled.mean()
    seg, mim, delta = objective.weights
    metrics["loss"] = (
        seg * metrics["seg"]
        + mim * metrics.get("mim", 0.0)
        + delta * metrics.get("delta", 0.0)
    )
    return metrics


def _keys(key: PRNGKeyArray) -> dict[str, PRNGKeyArray]:
    """Keys of a step's random parts."""
    return dict(zip(("style", "mask", "points"), jax.random.split(key, 3), strict=True))


def draw_styled(
    key: PRNGKeyArray, style: StyleInjection | None, batch: int
) -> Bool[Array, " B"]:
    """Which images of a batch are styled: all or none, or each by itself."""
    if style is None:
        return jnp.zeros(batch, bool)
    draw_key, _ = jax.random.split(_keys(key)["style"])
    draws = (batch,) if style.per_image else (1,)
    drawn = jax.random.bernoulli(draw_key, style.probability, draws)
    return jnp.broadcast_to(drawn, (batch,))


def _styled(
    clean: Array,
    restyle: Restyle | None,
    key: PRNGKeyArray,
    style: StyleInjection | None,
    drawn: Bool[Array, " B"],
) -> tuple[Array, Float[Array, " B"]]:
    """X_S where drawn, X elsewhere, and which images were drawn."""
    if style is None:
        return clean, jnp.zeros(len(clean))
    _, style_key = jax.random.split(key)

    def inject() -> Array:
        assert restyle is not None  # since `style` is not
        injected = style.image(style_key, clean, restyle)
        return jnp.where(drawn[:, None, None, None], injected, clean)

    # A branch, not a select: unstyled steps do not pay for the style networks.
    return jax.lax.cond(drawn.any(), inject, lambda: clean), drawn.astype(jnp.float32)


def _segmentation(
    model: CrossEarth,
    taps: list[Array],
    image: Array,
    batch: Batch,
    key: PRNGKeyArray,
    objective: Objective,
    labels: Array | None,
) -> Metrics:
    output = model.segment(taps, image)
    predictions, images, _, classes = output.class_logits.shape
    points = draw_points(
        key, objective.segmentation, (predictions, images, classes - 1)
    )
    terms = segmentation_terms(
        output.class_logits,
        output.mask_logits,
        jnp.asarray(batch.label),
        points,
        objective.segmentation,
        labels,
    )
    last = {name: terms[name][-1] for name in ("class", "mask", "dice")}
    total = sum(terms[name].sum() for name in last)
    assert not isinstance(total, int)  # as a sum of no terms would be
    return {"seg": total, **last}


def _modelling(
    model: CrossEarth,
    taps: list[Array],
    clean: Array,
    views: list[Array],
    styled: Float[Array, " B"],
    objective: Objective,
    counted: Bool[Array, "B H W"] | None,
) -> Metrics:
    """L_MIM of X_M always; L_MIM of X_S and L_Δ on styled images."""
    settings = objective.masked
    assert settings is not None  # or it is not called

    def target(view: Array) -> Array:
        return clean if settings.target == "clean" else jax.lax.stop_gradient(view)

    rebuilt = model.reconstruct([tap[:, 1] for tap in taps])  # X̂_M
    error = reconstruction_loss(rebuilt, target(views[1]), settings.loss, counted)
    mim = error.mean()
    if objective.style is None:
        return {"mim": mim}

    def styled_terms() -> tuple[Array, Array]:
        rebuilt_styled = model.reconstruct([tap[:, 0] for tap in taps])  # X̂_S
        error = reconstruction_loss(rebuilt_styled, target(views[0]), settings.loss)
        delta = delta_loss(rebuilt_styled, rebuilt)
        return (error * styled).mean(), (delta * styled).mean()

    mim_styled, delta = jax.lax.cond(
        styled.any(), styled_terms, lambda: (jnp.zeros(()), jnp.zeros(()))
    )
    return {"mim": mim + mim_styled, "delta": delta}


def make_gradients(
    model_graph: nnx.GraphDef,
    restyle_graph: nnx.GraphDef | None,
    objective: Objective,
    *,
    accumulate: int = 1,
) -> Callable[..., tuple[PyTree, Metrics]]:
    """`(params, frozen, batch, key) -> (gradients, losses)` of one step.

    See `make_train_step` for the arguments; `key` is the step's own.
    """

    def loss(
        params: PyTree, frozen: dict[str, Any], batch: Batch, *rest: Any
    ) -> tuple[Metrics, Metrics]:
        model = nnx.merge(model_graph, combine(params, frozen["model"]))
        restyle = restyle_graph and nnx.merge(restyle_graph, frozen["restyle"])
        metrics = compute_losses(model, restyle, batch, *rest)
        return {name: metrics[name] for name in LOSSES if name in metrics}, metrics

    def total(params: PyTree, *rest: Any) -> tuple[Array, Metrics]:
        metrics = loss(params, *rest)[1]
        return metrics["loss"], metrics

    def apart(params: PyTree, *rest: Any) -> tuple[PyTree, Metrics]:
        return _gradients_apart(lambda p: loss(p, *rest), params, objective.weights)

    differentiate = apart if objective.gradient_norms else jax.grad(total, has_aux=True)

    def whole(
        params: PyTree, frozen: dict[str, Any], batch: Batch, key: PRNGKeyArray
    ) -> tuple[PyTree, Metrics]:
        return differentiate(params, frozen, batch, key, objective)

    def in_parts(
        params: PyTree, frozen: dict[str, Any], batch: Batch, key: PRNGKeyArray
    ) -> tuple[PyTree, Metrics]:
        # Once for the whole batch, whatever the parts.
        drawn = draw_styled(key, objective.style, len(batch.image))
        drawn = split_batch(drawn, accumulate)

        def of(part: Batch, index: Array) -> tuple[PyTree, Metrics]:
            own_key = jax.random.fold_in(key, index)
            rest = objective, batch.label, drawn[index]
            return differentiate(params, frozen, part, own_key, *rest)

        def add(total: PyTree, part: tuple[Batch, Array]) -> tuple[PyTree, None]:
            return jax.tree.map(lambda t, n: t + n / accumulate, total, of(*part)), None

        parts = split_batch(batch, accumulate), jnp.arange(accumulate)
        shapes = jax.eval_shape(of, *jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, parts)[0]

    return whole if accumulate == 1 else in_parts


def _gradients_apart(
    loss: Callable[[PyTree], tuple[Metrics, Metrics]],
    params: PyTree,
    weights: tuple[float, float, float],
) -> tuple[PyTree, Metrics]:
    """The gradient, and its norm by loss and part of the model as "gradient/mim/rein".

    Of a batch in parts they are the mean of the parts' norms.
    """
    values, backward, metrics = jax.vjp(loss, params, has_aux=True)
    gradient = jax.tree.map(jnp.zeros_like, params)
    for name, weight in zip(LOSSES, weights, strict=True):
        if name not in values:
            continue
        (own,) = backward({k: jnp.float32(weight * (k == name)) for k in values})
        for part, of_part in own.items():
            metrics[f"gradient/{name}/{part}"] = global_norm(of_part)
        gradient = jax.tree.map(jnp.add, gradient, own)
    return gradient, metrics


def make_train_step(
    model_graph: nnx.GraphDef,
    restyle_graph: nnx.GraphDef | None,
    optimiser: optax.GradientTransformation,
    objective: Objective,
    *,
    placement: jax.sharding.Sharding,
    accumulate: int = 1,
    patience: int = 1,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The jitted step `(state, frozen, batch, key) -> (state, metrics)`.

    `state` is donated. `frozen` is {"model": …, "restyle": …}: no gradient is taken
    and no optimiser state is kept for it. `key` is the run's key; the step's own is
    `step_key`.

    Args:
      model_graph: structure of the model.
      restyle_graph: structure of p_t or its stand-in.
      optimiser: of the trainable parameters.
      objective: the losses.
      placement: of the new state and of the metrics, see `sharding.replicated`.
      accumulate: parts that a batch is computed in, one after another. Losses are
        means over the whole batch whatever the parts.
      patience: a step whose loss or gradient is not finite changes no parameter; after
        so many in a row nothing changes any more, so that the state is what the last
        of them began with.
    """
    gradients = make_gradients(
        model_graph, restyle_graph, objective, accumulate=accumulate
    )

    def step(
        state: TrainState, frozen: dict[str, Any], batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        key = step_key(key, state.step)
        grads, metrics = gradients(state.params, frozen, batch, key)
        updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics["gradient"] = global_norm(grads)

        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient"])
        good = finite & (state.bad < patience)
        bad = state.bad + 1
        stays = state._replace(step=state.step + (bad < patience), bad=bad)
        moves = TrainState(params, opt_state, state.step + 1, jnp.zeros_like(state.bad))
        state = jax.tree.map(lambda new, old: jnp.where(good, new, old), moves, stays)
        return state, metrics | {"bad": state.bad}

    return jax.jit(
        step,
        donate_argnums=0,
        out_shardings=placement,
        compiler_options=lean_schedule(next(iter(placement.device_set)).platform),
    )


def step_key(key: PRNGKeyArray, step: Array | int) -> PRNGKeyArray:
    """The key of one step of a run."""
    return jax.random.fold_in(key, step)


def split_batch(batch: PyTree, parts: int) -> PyTree:
    """[B, ...] to [parts, B / parts, ...], every device keeping its own images."""

    def split(x: Array) -> Array:
        return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, batch)

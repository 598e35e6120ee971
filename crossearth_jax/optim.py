"""Learning-rate schedule and AdamW with the authors' parameter groups (section 8)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.models.portable import for_gpu
from crossearth_jax.models.two_vectors import as_arrays, as_vectors, global_norm


def learning_rate(
    lr: float,
    *,
    power: float,
    decay_steps: int,
    warmup_steps: int = 0,
    warmup_factor: float = 1e-6,
) -> optax.Schedule:
    """Linear warm-up, then polynomial decay that is 0 at `decay_steps - 1`.

    The last warm-up step and the first decay step both use the full rate.
    """

    def schedule(count: ArrayLike) -> jax.Array:
        span = max(warmup_steps - 1, 1)
        rise = warmup_factor + (1 - warmup_factor) * count / span
        # Whole steps are subtracted, so that float32 stays exact near the end.
        left = (decay_steps - 1 - count) / (decay_steps - warmup_steps - 1)
        fall = jax.numpy.clip(left, 0, 1) ** power
        return lr * jax.numpy.where(jax.numpy.less(count, warmup_steps), rise, fall)

    return schedule


def decay_mask(model: CrossEarth, params: PyTree) -> PyTree:
    """True where weight decay applies.

    It does not apply to norms, LayerScale and the Injector's gain (gains of a
    residual branch), Rein's tokens and scale, and the decoder's level_embed. Biases
    decay, and so does the pixel decoder's level_encoding.

    Args:
      model: tells which modules are norms.
      params: trainable parameters as a nested dict.
    """
    norms = {
        path
        for path, module in nnx.iter_modules(model)
        if isinstance(module, nnx.LayerNorm | nnx.GroupNorm)
    }
    exempt = {
        ("rein", "scale"),
        ("rein", "tokens"),
        ("rein", "tokens_a"),
        ("rein", "tokens_b"),
        ("decoder", "level_embed"),
    }

    def decays(path: tuple, _: Any) -> bool:
        names = tuple(entry.key for entry in path)
        return not (
            names[:-1] in norms
            or names in exempt
            or names[-1] in ("gamma", "ls1", "ls2")
        )

    return jax.tree_util.tree_map_with_path(decays, params)


def adamw(
    schedule: optax.Schedule,
    mask: PyTree,
    *,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """AdamW over the trainable parameters; `mask` is `decay_mask`'s.

    For a GPU it works on few vectors. A CPU gains nothing by that, and would round
    otherwise; a TPU's compiler takes minutes over it.
    """
    adam = optax.scale_by_adam(*betas, eps=eps)
    update = optax.chain(
        over_vectors(adam) if for_gpu() else adam,
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(schedule),
    )
    if not clip_norm:
        return update
    clip = _clipped if for_gpu() else optax.clip_by_global_norm
    return optax.chain(clip(clip_norm), update)


def over_vectors(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner`, which works scalar by scalar, on all arrays as two vectors.

    The values are the same. Its state has vectors too; see `run.stored_state`.
    """

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        vectors, state = inner.update(as_vectors(updates), state)
        # Computed as a whole, once.
        vectors = jax.lax.optimization_barrier(vectors)
        # XLA cuts a vector with few kernels only where something is computed of it
        # first; pieces that are mere copies would be one kernel each.
        vectors = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), vectors)
        return as_arrays(vectors, updates), state

    def init(params: PyTree) -> PyTree:
        return inner.init(as_vectors(params))

    return optax.GradientTransformation(init, update)


def _clipped(most: float) -> optax.GradientTransformation:
    """Scales the gradient down to a norm; as optax does, but with `global_norm`."""

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        norm = global_norm(updates)

        def scaled(x: Array) -> Array:
            return jnp.where(norm < most, x, x / norm * most)

        return jax.tree.map(scaled, updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)

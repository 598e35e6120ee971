"""Learning-rate schedule and AdamW with the authors' parameter groups (section 8)."""

from typing import Any

import jax
import optax
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import PyTree

from crossearth_jax.models.crossearth import CrossEarth


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
    """AdamW over the trainable parameters; `mask` is `decay_mask`'s."""
    update = optax.adamw(
        schedule, *betas, eps=eps, weight_decay=weight_decay, mask=mask
    )
    if not clip_norm:
        return update
    return optax.chain(optax.clip_by_global_norm(clip_norm), update)

"""L_MIM and L_Δ: reconstruction of masked and styled images (method.md section 7)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def reconstruction_loss(
    prediction: Float[Array, "B H W 3"],
    target: Float[Array, "B H W 3"],
    kind: str,
    counted: Bool[Array, "B H W"] | None = None,
) -> Float[Array, " B"]:
    """Mean error over the pixels of each image: "l1" for CASID, "mse" elsewhere.

    Args:
      prediction: what was rebuilt.
      target: what it should be.
      kind: "l1" or "mse".
      counted: pixels that count, None for all; an image without any has no error.
    """
    if kind not in ("l1", "mse"):
        raise ValueError(f'got mim.loss="{kind}", expected "l1" or "mse"')
    error = (jnp.abs if kind == "l1" else jnp.square)(prediction - target)
    if counted is None:
        return error.mean((1, 2, 3))
    total = jnp.where(counted[..., None], error, 0).sum((1, 2, 3))
    return total / jnp.maximum(error.shape[3] * counted.sum((1, 2)), 1)


def delta_loss(
    styled: Float[Array, "B H W 3"], masked: Float[Array, "B H W 3"]
) -> Float[Array, " B"]:
    """L_Δ = L1 between the reconstructions of X_S and X_M."""
    return jnp.abs(styled - masked).mean((1, 2, 3))

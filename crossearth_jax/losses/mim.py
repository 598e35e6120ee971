"""L_MIM and L_Δ: reconstruction of masked and styled images (method.md section 7)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def reconstruction_loss(
    prediction: Float[Array, "B H W 3"],
    target: Float[Array, "B H W 3"],
    kind: str,
) -> Float[Array, " B"]:
    """Mean error over all pixels of each image: "l1" for CASID, "mse" elsewhere."""
    difference = prediction - target
    if kind == "l1":
        return jnp.abs(difference).mean((1, 2, 3))
    if kind == "mse":
        return jnp.square(difference).mean((1, 2, 3))
    raise ValueError(f'got mim.loss="{kind}", expected "l1" or "mse"')


def delta_loss(
    styled: Float[Array, "B H W 3"], masked: Float[Array, "B H W 3"]
) -> Float[Array, " B"]:
    """L_Δ = L1 between the reconstructions of X_S and X_M."""
    return jnp.abs(styled - masked).mean((1, 2, 3))

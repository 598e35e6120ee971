"""Mask generator p_g: random blocks of the image are altered (paper Eqs. 3, 4)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def block_mask(
    u: Float[Array | np.ndarray, "B h w"], height: int, width: int, ratio: float
) -> Bool[Array, "B H W"]:
    """Thresholds a grid of draws and resizes it to the image.

    Pixel i of an axis of length H takes block floor(i·h/H), as PyTorch's nearest
    resize does.

    Args:
      u: uniform draws in [0, 1), one for each block.
      height: rows of the image.
      width: columns of the image.
      ratio: τ in [0, 1], the expected share of altered area.

    Returns:
      True where the image is altered: u ≤ τ (method §6). Eq. 4's M is its opposite.
    """
    rows = np.arange(height) * u.shape[1] // height
    columns = np.arange(width) * u.shape[2] // width
    altered = jnp.asarray(u) <= ratio  # [B, h, w]
    return altered[:, rows][:, :, columns]  # [B, H, W]


def altered_mask(
    key: PRNGKeyArray, batch: int, height: int, width: int, ratio: float, block: int
) -> Bool[Array, "B H W"]:
    """Draws a mask for each image: τ of the area, in blocks of about `block` pixels.

    The grid has ⌈H/B⌉×⌈W/B⌉ blocks of equal size (Eq. 3), so they are a little
    smaller than `block` when it does not divide the image.

    Raises:
      ValueError: for a ratio outside [0, 1] or a block below one pixel.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(
            f"got mask ratio {ratio}, expected a share in [0, 1]: set the config's τ"
        )
    if block < 1:
        raise ValueError(f"got block size {block}, expected pixels from 1: set B")
    grid = (batch, -(-height // block), -(-width // block))
    return block_mask(jax.random.uniform(key, grid), height, width, ratio)

"""Styled images X_S and masked images X_M, from normalised images (paper Eqs. 5, 6).

Each draws its own mask. Pure functions: the caller owns the key, the restyling and
the prompt.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from crossearth_jax.earth_style.masks import altered_mask
from crossearth_jax.pixels.normalise import denormalise, normalise

Restyle = Callable[
    [PRNGKeyArray, Float[Array, "B H W 3"]], Float[Array, "B H W 3"]
]  # RGB in [0, 1] to RGB in [0, 1]


def styled_image(
    key: PRNGKeyArray,
    x: Float[Array, "B H W 3"],
    restyle: Restyle,
    *,
    ratio: float,
    block: int,
    polarity: Literal["altered", "equation5"] = "altered",
) -> Float[Array, "B H W 3"]:
    """X_S: the style on some blocks of X, the rest of X untouched (method §6).

    The styled part is normalised like any other image. No gradient passes through it.

    Args:
      key: drives the mask and the style.
      x: normalised images X.
      restyle: one of the modules of `restyle.py`, or anything with their call.
      ratio: τ, the share of altered area.
      block: B, pixels.
      polarity: "altered" puts the style on the altered blocks (a share of τ);
        "equation5" follows Eq. 5 literally and puts it on the others (1 − τ).

    Raises:
      ValueError: for another polarity, or a ratio or block that `altered_mask` refuses.
    """
    if polarity not in ("altered", "equation5"):
        raise ValueError(
            f"got polarity {polarity!r}, expected 'altered' or 'equation5': "
            "set style.polarity"
        )
    mask_key, style_key = jax.random.split(key)
    batch, height, width, _ = x.shape
    altered = altered_mask(mask_key, batch, height, width, ratio, block)
    takes_style = altered if polarity == "altered" else ~altered
    image = jnp.clip(denormalise(jax.lax.stop_gradient(x)) / 255, 0, 1)
    styled = jax.lax.stop_gradient(normalise(restyle(style_key, image) * 255))
    return jnp.where(takes_style[..., None], styled.astype(x.dtype), x)


def masked_image(
    key: PRNGKeyArray,
    x: Float[Array, "B H W 3"],
    prompt: Float[Array, "h w 3"],
    *,
    ratio: float,
    block: int,
    prompt_mode: Literal["replace", "product"] = "replace",
) -> Float[Array, "B H W 3"]:
    """X_M: X with some blocks hidden behind the trainable visual prompt v (method §6).

    Args:
      key: drives the mask.
      x: normalised images X.
      prompt: v, of the images' size, in normalised space; gradients flow into it.
      ratio: τ, the share of hidden area.
      block: B, pixels.
      prompt_mode: "replace" shows v on the hidden blocks; "product" is X·M·v, Eq. 6
        read literally, which is zero everywhere while v is.

    Raises:
      ValueError: for a prompt of another size, another mode, or a ratio or block that
        `altered_mask` refuses.
    """
    if prompt_mode not in ("replace", "product"):
        raise ValueError(
            f"got prompt mode {prompt_mode!r}, expected 'replace' or 'product': "
            "set mim.prompt"
        )
    if prompt.shape != x.shape[1:]:
        raise ValueError(
            f"got images of {x.shape[1]}x{x.shape[2]} and a visual prompt of "
            f"{prompt.shape[0]}x{prompt.shape[1]}, expected the same size: build the "
            "prompt for this crop size"
        )
    batch, height, width, _ = x.shape
    altered = altered_mask(key, batch, height, width, ratio, block)[..., None]
    v = prompt.astype(x.dtype)
    if prompt_mode == "replace":
        return jnp.where(altered, v, x)
    return jnp.where(altered, 0, x * v)

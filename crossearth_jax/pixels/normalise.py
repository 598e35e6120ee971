"""The one place that knows the ImageNet constants.

Images are RGB on the 0-255 scale outside and (RGB - mean) / std inside the model.
Files in another channel order (IR, R, G) keep it: the first channel takes red's place.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

IMAGENET_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
IMAGENET_STD = np.array([58.395, 57.12, 57.375], np.float32)
MEAN_COLOUR = 124, 116, 104  # the mean in whole values: "nothing" in an image


def normalise(
    image: UInt8[Array | np.ndarray, "*B H W 3"]
    | Float[Array | np.ndarray, "*B H W 3"],
) -> Float32[Array, "*B H W 3"]:
    """Turns pixels on the 0-255 scale into what the backbone expects (method §0)."""
    return (jnp.asarray(image, jnp.float32) - IMAGENET_MEAN) / IMAGENET_STD


def denormalise(
    x: Float[Array | np.ndarray, "*B H W 3"],
) -> Float32[Array, "*B H W 3"]:
    """The inverse of `normalise`: 0-255 scale, neither clipped nor rounded."""
    return jnp.asarray(x, jnp.float32) * IMAGENET_STD + IMAGENET_MEAN

"""Resizing of images and scores in NumPy, so that no size compiles."""

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8


def fitted_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width of the same shape whose longer edge is `longest`.

    As mmsegmentation's Resize with keep_ratio, which the authors use for RescueNet:
    halves are rounded up, and a smaller image is enlarged.
    """
    scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def fitted_image(
    image: UInt8[np.ndarray, "H W 3"], longest: int | None
) -> UInt8[np.ndarray, "h w 3"]:
    """An image at its `fitted_size`; as it is for None."""
    if longest is None:
        return image
    height, width = image.shape[:2]
    return resize_on_host(image, fitted_size(height, width, longest))


def resize_on_host(
    values: Shaped[np.ndarray, "h w C"], size: tuple[int, int]
) -> Shaped[np.ndarray, "H W C"]:
    """Bilinear, half-pixel centres, no antialias."""
    if values.shape[:2] == tuple(size):
        return values
    height, width = size
    resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, values.shape[2])  # cv2 drops a single K

"""Class ids of pixels, and their colours."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

Colour = tuple[int, int, int]  # R, G, B; 0-255

IGNORE = 255  # the class id of pixels that count nowhere
IGNORED: Colour = (128, 128, 128)  # and their colour


def coloured(
    ids: UInt8[np.ndarray, "*size"], palette: Sequence[Colour]
) -> UInt8[np.ndarray, "*size 3"]:
    """The palette's colour of every class id; what is no class is grey.

    Args:
      ids: class ids.
      palette: RGB of each class, by id.
    """
    colours = np.full((256, 3), IGNORED, np.uint8)
    colours[: len(palette)] = np.asarray(palette, np.uint8).reshape(-1, 3)
    return colours[ids]

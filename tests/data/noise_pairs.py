"""Folders of random images and labels of two classes."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pairs(
    root: Path, size: tuple[int, int], count: int = 12, *, odd: int | None = None
) -> Path:
    """Writes t00, t01, … into images/ and labels/ of a folder; returns the folder.

    Args:
      root: the folder.
      size: height and width.
      count: pairs.
      odd: the one that is a JPEG with a TIFF label; the others are PNG.
    """
    rng = np.random.default_rng(0)
    for kind, top, shape, rare in (
        ("images", 256, (*size, 3), ".jpg"),
        ("labels", 2, size, ".tif"),
    ):
        (root / kind).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, top, shape, np.uint8)
            suffix = rare if i == odd else ".png"
            Image.fromarray(pixels).save(root / kind / f"t{i:02d}{suffix}")
    return root

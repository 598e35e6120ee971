"""Field imagery from a folder, for the Earth statistics and the stand-ins' pool."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from crossearth_jax.data.decode import read_image
from crossearth_jax.data.folders import IMAGE_SUFFIXES


def image_files(folder: str | Path) -> list[Path]:
    """All PNG, JPEG and TIFF files under a folder, sorted.

    Raises:
      FileNotFoundError: if the folder does not exist.
      ValueError: if it holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"got no folder at {folder}, expected a folder of field imagery: "
            "check the path"
        )
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ValueError(
            f"got no image in {folder}, expected PNG, JPEG or TIFF files "
            f"({', '.join(IMAGE_SUFFIXES)}) in it or below: check the path"
        )
    return files


def square(
    image: UInt8[np.ndarray, "h w 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Scales the shorter side to `size`, antialiased, and crops the centre."""
    fitted = ImageOps.fit(
        Image.fromarray(image), (size, size), Image.Resampling.BILINEAR
    )
    return np.asarray(fitted)


def load_pool(
    folder: str | Path, count: int, size: int
) -> UInt8[np.ndarray, "N size size 3"]:
    """Reads at most `count` images, evenly spread over the sorted folder.

    Each as training reads one, see `read_image`.

    Args:
      folder: field imagery, searched with its subfolders.
      count: upper bound of N.
      size: side of the square images, pixels.

    Raises:
      FileNotFoundError: if the folder does not exist.
      ValueError: if it holds no image, an image cannot be read, or a number is
        below 1.
    """
    if count < 1 or size < 1:
        raise ValueError(
            f"got count {count} and size {size}, expected both from 1: set the pool's "
            "count and size"
        )
    files = spread(image_files(folder), count)
    return np.stack([square(read_image(path), size) for path in files])


def spread(files: list[Path], count: int) -> list[Path]:
    """At most `count` files at even distances, so that every subfolder has a part."""
    kept = min(count, len(files))
    return [files[i * len(files) // kept] for i in range(kept)]

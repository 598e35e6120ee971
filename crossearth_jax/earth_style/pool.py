"""Field imagery from a folder, for the Earth statistics and the stand-ins' pool."""

from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff")
EIGHT_BIT = ("1", "CMYK", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr")


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
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(
            f"got no image in {folder}, expected PNG, JPEG or TIFF files "
            f"({', '.join(SUFFIXES)}) in it or below: check the path"
        )
    return files


def read_rgb(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """Reads an 8-bit image; grey is repeated, bands after the third are dropped.

    Raises:
      ValueError: if the file cannot be decoded or is not of 8 bits.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT:
                raise ValueError(
                    f"got {path} with pixels of mode {image.mode}, expected 8 bits a "
                    "channel: convert it to 8-bit RGB"
                )
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        return _read_tiff(path)
    except OSError as error:
        raise ValueError(
            f"got an unreadable image {path} ({error}), expected a whole PNG, JPEG or "
            "TIFF file: replace or remove it"
        ) from error


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
    return np.stack([square(read_rgb(path), size) for path in files])


def spread(files: list[Path], count: int) -> list[Path]:
    """At most `count` files at even distances, so that every subfolder has a part."""
    kept = min(count, len(files))
    return [files[i * len(files) // kept] for i in range(kept)]


def _read_tiff(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """TIFF layouts that Pillow does not know, such as five bands."""
    try:
        pixels = tifffile.imread(path)
    except Exception as error:  # tifffile and its codecs raise many kinds
        raise ValueError(
            f"got a file that is not an image: {path} ({error}), expected PNG, JPEG or "
            "TIFF: replace or remove it"
        ) from error
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ValueError(
            f"got {path} of {pixels.dtype} with shape {pixels.shape}, expected uint8 "
            "[height, width, bands] with at least three bands: convert it to RGB"
        )
    return np.ascontiguousarray(pixels[..., :3])

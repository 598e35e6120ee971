"""How large an image may be: the one place where image files are opened.

A file of 100 kB can stand for an image of 30,000 x 30,000 pixels, 2.7 GB. Pillow has a
limit of its own for the whole process, which this one, an argument, replaces.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

MAX_PIXELS = 100_000_000  # 10,000 x 10,000: 300 MB as RGB; the key data.max_pixels
MAX_PIXEL_BYTES = 16  # of a pixel of any kind: four bands of 32 bits

Image.MAX_IMAGE_PIXELS = None
# What is wrong with a file is said once, in our error; these loggers quote the file.
for _name in ("tifffile", "PIL.TiffImagePlugin"):
    logging.getLogger(_name).disabled = True


class TooLargeError(ValueError):
    """An image beyond the limit."""


@contextmanager
def open_image(
    file: str | Path | BinaryIO,
    *,
    formats: tuple[str, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[ImageFile.ImageFile]:
    """Opens an image by Pillow; no pixel is decoded yet.

    Args:
      file: a path, or an open file.
      formats: Pillow's names of those that are taken; None takes all.
      max_pixels: a larger one is refused by what its header says.

    Raises:
      TooLargeError: it has more pixels.
      OSError: Pillow does not know it.
    """
    with Image.open(file, formats=formats) as image:
        check_size(*image.size, max_pixels)
        yield image


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuses sizes that no image has, and those beyond `max_pixels`.

    Raises:
      TooLargeError: more pixels.
      ValueError: a side without a pixel, as in a damaged header.
    """
    if min(width, height) < 1:
        raise ValueError(f"got an image of {width} x {height} pixels: it is damaged")
    if width * height > max_pixels:
        raise TooLargeError(
            f"got an image of {width} x {height} pixels, expected at most "
            f"{max_pixels:,}: cut it into tiles, or raise data.max_pixels"
        )

"""What the header of an image says: its size and its tags. No pixel is decoded."""

from io import BytesIO
from pathlib import Path

import tifffile

from crossearth_jax.data.decode import FORMATS
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pixel_limit import TooLargeError, check_size, open_image
from crossearth_jax.data.tags import Tags, tags_of, tags_of_page


def read_header(
    name: Path | Packed, file: Path | BytesIO, max_pixels: int
) -> tuple[tuple[int, int], Tags]:
    """Width and height, and the tags of a PNG, JPEG or TIFF.

    Args:
      name: of the file.
      file: where it is, or what is in it.
      max_pixels: of an image.

    Raises:
      TooLargeError: it has more pixels.
      Exception: it is no such file; decoders fail in many ways.
    """
    try:
        with open_image(file, formats=FORMATS, max_pixels=max_pixels) as image:
            return image.size, tags_of(image)
    except TooLargeError:
        raise
    except Exception:
        if name.suffix.lower() not in (".tif", ".tiff"):
            raise
    if isinstance(file, BytesIO):
        file.seek(0)
    with tifffile.TiffFile(file) as found:  # of pixel types that Pillow does not know
        page = found.pages.first
        check_size(page.imagewidth, page.imagelength, max_pixels)
        return (page.imagewidth, page.imagelength), tags_of_page(page)

"""Image and label files to arrays: PNG, JPEG and TIFF, by content, 8 bits a channel.

Everything that cannot be read exactly as it was meant is a `ValueError` that names
the file; nothing is scaled, rotated or quietly cut to eight bits.
"""

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Integer, UInt8
from PIL import Image, ImageFile, TiffImagePlugin

from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pixel_limit import (
    MAX_PIXEL_BYTES,
    MAX_PIXELS,
    TooLargeError,
    check_size,
    open_image,
)
from crossearth_jax.data.timed import TIMEOUT_S, read_in_time
from crossearth_jax.system.escape import cut

FORMATS = ("PNG", "JPEG", "TIFF")
MAX_FRAMES = 64  # of a TIFF: overviews, each with a mask
SUBFILE_TYPE = 254  # TIFF tag; bit 1: an overview, bit 4: a mask of the main image


def read_image(
    path: Path | Packed,
    *,
    data: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "H W 3"]:
    """Reads RGB, RGBA (alpha dropped), grey (repeated) or palette images.

    Channels keep the file's order, so IR-R-G stays IR, R, G.

    Args:
      path: the file.
      data: its content where it was read already (from an archive); `path` then only
        names it in errors.
      timeout_s: for reading the file.
      max_pixels: a larger image is refused before it is decoded.

    Raises:
      ValueError: the file is empty, broken, too large, of another type, has more than
        8 bits a channel, a channel count other than 1 to 4, or could not be read in
        time.
    """
    data = read_in_time(path, timeout_s) if data is None else data
    pixels = _pixels(path, data, max_pixels, indexed=False)
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{path}: got {pixels.dtype} pixels, expected 8 bits a channel: scale them "
            "to 0-255 first, e.g. `gdal_translate -ot Byte -scale IN OUT`"
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels > 4:
        raise ValueError(
            f"{path}: got {channels} channels, expected 1 to 4: write the three that "
            "the model should see, e.g. `gdal_translate -b 1 -b 2 -b 3 IN OUT`"
        )
    if channels <= 2:
        grey = pixels if pixels.ndim == 2 else pixels[:, :, 0]
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def read_label(
    path: Path | Packed,
    *,
    indexed: bool,
    data: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]:
    """Reads a label file without interpreting its values.

    Args:
      path: the file.
      indexed: True gives the stored numbers (palette index, bit 0/1), False the
        colours that a viewer shows (palette colour, bit as 0/255).
      data: as for `read_image`.
      timeout_s: for reading the file.
      max_pixels: as for `read_image`.

    Returns:
      [H, W] numbers, also when a colour file is grey everywhere, else [H, W, 3].

    Raises:
      ValueError: as for `read_image`, or the label is not made of integers.
    """
    data = read_in_time(path, timeout_s) if data is None else data
    pixels = _pixels(path, data, max_pixels, indexed=indexed)
    if not np.issubdtype(pixels.dtype, np.integer):
        raise ValueError(
            f"{path}: got {pixels.dtype} label values, expected integers: write the "
            "labels as an 8-bit PNG"
        )
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] <= 2:
        return pixels[:, :, 0]
    colours = pixels[:, :, :3]
    grey = (colours == colours[:, :, :1]).all()
    return colours[:, :, 0] if grey else np.ascontiguousarray(colours)


class _RefusedError(ValueError):
    """A readable file that must not be used as it is: no second decoder is tried."""


def _pixels(
    path: Path | Packed, data: bytes, max_pixels: int, *, indexed: bool
) -> np.ndarray:
    """[H, W] or [H, W, channels] in the file's own depth."""
    try:
        if not data:
            raise _RefusedError(
                f"{path}: got an empty file (0 bytes), expected an image: copy it again"
            )
        with open_image(BytesIO(data), formats=FORMATS, max_pixels=max_pixels) as image:
            _check_single_page(path, image)
            _check_pixel_type(path, image)
            return _as_array(image, indexed=indexed)
    except (_RefusedError, MemoryError):
        raise
    except TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # decoders fail on foreign bytes in many ways
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise _broken(path, error) from error
        return _tiff_pixels(path, data, max_pixels, error)


def _check_single_page(path: Path | Packed, image: Image.Image) -> None:
    """Refuses band-per-page TIFFs, of which only the first page would be read."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    pages = 0
    with suppress(EOFError):  # behind the last one
        for frame in range(MAX_FRAMES):
            image.seek(frame)
            # Overviews and masks, as in cloud-optimised GeoTIFFs, are not pages.
            pages += image.tag_v2.get(SUBFILE_TYPE, 0) & 5 == 0
        pages = max(pages, 2)  # more frames than overviews and masks can be
    image.seek(0)
    if pages > 1:
        raise _RefusedError(
            f"{path}: got a TIFF with {pages} pages, expected one: write the bands as "
            "channels of one page"
        )


def _check_pixel_type(path: Path | Packed, image: ImageFile.ImageFile) -> None:
    """Refuses what Pillow would silently cut to the high byte, and print colours."""
    deep = any(";16" in str(tile.args) for tile in image.tile)
    if deep and image.mode in ("RGB", "RGBA", "LA"):
        raise _RefusedError(
            f"{path}: got 16 bits a channel, expected 8: scale them to 0-255 first, "
            "e.g. `gdal_translate -ot Byte -scale IN OUT`"
        )
    if image.mode in ("CMYK", "LAB"):
        raise _RefusedError(
            f"{path}: got {image.mode} colours, expected RGB or grey: convert it"
        )


def _as_array(image: Image.Image, *, indexed: bool) -> np.ndarray:
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * (1 if indexed else 255)
    if image.mode == "YCbCr" or (image.mode == "P" and not indexed):
        return np.asarray(image.convert("RGB"))
    return np.asarray(image)


def _tiff_pixels(
    path: Path | Packed, data: bytes, max_pixels: int, first_error: Exception
) -> np.ndarray:
    """Second decoder, for TIFFs that Pillow does not know (float, many bands)."""
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            page = file.pages.first
            check_size(page.imagewidth, page.imagelength, max_pixels)
            if page.nbytes > max_pixels * MAX_PIXEL_BYTES:
                raise TooLargeError(f"got {page.nbytes:,} bytes of pixels: too many")
            pixels, axes = page.asarray(), page.axes
    except MemoryError:
        raise
    except TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        raise _broken(path, first_error) from error
    if pixels.ndim not in (2, 3):
        raise _broken(path, ValueError(f"it has {pixels.ndim} axes"))
    if axes == "SYX":
        pixels = np.moveaxis(pixels, 0, 2)
    return pixels


def _broken(path: Path | Packed, error: Exception) -> ValueError:
    reason = cut(str(error), 300)
    return ValueError(
        f"{path}: cannot be decoded ({reason}): expected a whole PNG, JPEG or TIFF; "
        'copy or convert it again, or set data.on_corrupt="skip"'
    )

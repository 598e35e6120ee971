"""Image and label files to arrays: PNG, JPEG and TIFF, by content, 8 bits a channel.

Everything that cannot be read exactly as it was meant is a `ValueError` that names
the file; nothing is scaled, rotated or quietly cut to eight bits.
"""

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Integer, UInt8
from PIL import Image, ImageFile, TiffImagePlugin

from crossearth_jax.data.image_budget import (
    MAX_FRAMES,
    check_bytes,
    check_segments,
    check_structure,
)
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pixel_limit import (
    MAX_PIXEL_BYTES,
    MAX_PIXELS,
    TooLargeError,
    check_size,
    open_image,
)
from crossearth_jax.data.tags import (
    Tags,
    check_upright,
    colour_bands,
    tags_of,
    tags_of_page,
    warn_of_alpha,
)
from crossearth_jax.data.timed import TIMEOUT_S, read_in_time
from crossearth_jax.system.escape import cut
from crossearth_jax.system.extras import install_command

FORMATS = ("PNG", "JPEG", "TIFF")
SCALE = (
    "state data.scale where a run reads them, or scale them to 0-255 first, e.g. "
    "`gdal_translate -ot Byte -scale IN OUT`"
)
SUBFILE_TYPE = 254  # TIFF tag; bit 1: an overview, bit 4: a mask of the main image

Label = Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]
Mask = Bool[np.ndarray, "H W"]


def read_image(
    path: Path | Packed,
    *,
    data: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "H W 3"]:
    """The colours of `read_image_and_mask`."""
    limits = {"timeout_s": timeout_s, "max_pixels": max_pixels}
    return read_image_and_mask(path, data=data, **limits)[0]


def read_image_and_mask(
    path: Path | Packed,
    *,
    data: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask | None]:
    """Reads RGB, grey (repeated) or palette images, with or without alpha.

    Channels keep the file's order, so IR-R-G stays IR, R, G.

    Args:
      path: the file.
      data: its content where it was read already (from an archive); `path` then only
        names it in errors.
      timeout_s: for reading the file.
      max_pixels: a larger image is refused before it is decoded.

    Returns:
      Colours, and where alpha is 0; None without any such pixel.

    Raises:
      ValueError: the file is empty, broken, too large, of another type, has more than
        8 bits a channel, bands of which it is not clear which three to take, an
        orientation tag, or could not be read in time.
    """
    if data is None:
        data = read_in_time(path, timeout_s, max_pixels)
    found = pixels_of(path, data, max_pixels, indexed=False)
    pixels = found.values
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{path}: got {pixels.dtype} pixels, expected 8 bits a channel: {SCALE}"
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels > 4:
        raise ValueError(
            f"{path}: got {channels} channels, expected 1 to 4: write the three that "
            "the model should see, e.g. `gdal_translate -b 1 -b 2 -b 3 IN OUT`"
        )
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2), None
    colours = found.colours(path)
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    hidden, band = found.transparent(), found.tags.alpha()
    if hidden is not None and band is not None:
        warn_of_alpha(path, band, pixels[:, :, band], hidden)
    return np.ascontiguousarray(colours), hidden


def read_label(
    path: Path | Packed,
    *,
    indexed: bool,
    data: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> Label:
    """The values of `read_label_and_mask`."""
    limits = {"timeout_s": timeout_s, "max_pixels": max_pixels}
    return read_label_and_mask(path, indexed=indexed, data=data, **limits)[0]


def read_label_and_mask(
    path: Path | Packed,
    *,
    indexed: bool,
    data: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> tuple[Label, Mask | None]:
    """Reads a label file without interpreting its values.

    Args:
      path: the file.
      indexed: True gives the stored numbers (palette index, bit 0/1), False the
        colours that a viewer shows (palette colour, bit as 0/255).
      data: as for `read_image_and_mask`.
      timeout_s: for reading the file.
      max_pixels: as for `read_image_and_mask`.

    Returns:
      [H, W] numbers, also when a colour file is grey everywhere, else [H, W, 3]; and
      where the file itself says that there is no data (alpha 0, a nodata value), None
      without any such pixel.

    Raises:
      ValueError: as for `read_image_and_mask`, or the label is not made of integers.
    """
    if data is None:
        data = read_in_time(path, timeout_s, max_pixels)
    found = pixels_of(path, data, max_pixels, indexed=indexed)
    nothing = found.nothing()
    if found.values.ndim == 2:
        return _whole_numbers(path, found.values, nothing), nothing
    colours = _whole_numbers(path, found.colours(path), nothing)
    if colours.shape[2] == 1 or (colours == colours[:, :, :1]).all():
        return colours[:, :, 0], nothing
    return np.ascontiguousarray(colours), nothing


def _whole_numbers(
    path: Path | Packed, values: np.ndarray, nothing: Mask | None
) -> np.ndarray:
    """Integers as they are, floats (QGIS writes such labels) if they are integers."""
    if np.issubdtype(values.dtype, np.integer):
        return values
    if np.issubdtype(values.dtype, np.floating):
        filled = values.astype(np.float64, copy=False)
        if nothing is not None:  # nan may be the value for no data
            filled = np.where(nothing & ~np.isfinite(filled), -1, filled)
        whole = np.isfinite(filled).all() and (filled == np.trunc(filled)).all()
        if whole and np.abs(filled).max(initial=0) < 2**53:
            return filled.astype(np.int64)
    raise ValueError(
        f"{path}: got {values.dtype} label values, expected integers: write the "
        "labels as an 8-bit PNG"
    )


@dataclass(frozen=True)
class Pixels:
    """[H, W] or [H, W, channels] in the file's own depth, and the file's tags."""

    values: np.ndarray
    tags: Tags

    def colours(self, path: Path | Packed) -> np.ndarray:
        """[H, W, 1 or 3]."""
        # Palettes become three bands, and Pillow leaves bands without a meaning out.
        if self.values.shape[2] == 3:
            return self.values
        return self.values[:, :, list(colour_bands(path, self.tags))]

    def transparent(self) -> Mask | None:
        """Where alpha is 0."""
        band = self.tags.alpha()
        if band is None or self.values.ndim == 2 or band >= self.values.shape[2]:
            return None
        return _if_any(self.values[:, :, band] == 0)

    def nothing(self) -> Mask | None:
        """Where alpha is 0 or the value is the file's nodata."""
        value, masks = self.tags.nodata, [self.transparent()]
        if isinstance(value, tuple) and self.values.ndim == 3:
            masks.append((self.values[:, :, : len(value)] == value).all(2))
        elif isinstance(value, int | float) and self.values.ndim == 2:
            same = np.isnan(self.values) if value != value else self.values == value
            masks.append(same)
        found = [mask for mask in masks if mask is not None]
        return _if_any(np.logical_or.reduce(found)) if found else None


def _if_any(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


class RefusedError(ValueError):
    """A readable file that must not be used as it is: no second decoder is tried."""


def pixels_of(
    path: Path | Packed, data: bytes, max_pixels: int, *, indexed: bool
) -> Pixels:
    """Decodes a file that has to be as labels and 8-bit images are.

    Raises:
      ValueError: it is not, or is broken or too large.
    """
    try:
        if not data:
            raise RefusedError(
                f"{path}: got an empty file (0 bytes), expected an image: copy it again"
            )
        check_structure(data)
        with open_image(BytesIO(data), formats=FORMATS, max_pixels=max_pixels) as image:
            check_bytes(len(data), *image.size)
            _check_single_page(path, image)
            check_pixel_type(path, image)
            # Pillow turns the pixels of a TIFF and leaves bands out that it knows no
            # mode for.
            _check_tags(path, tags_of(image))
            values = as_array(image, indexed=indexed)
            tags = tags_of(image)  # a PNG's may stand behind its pixels
            _check_tags(path, tags)
            return Pixels(values, tags)
    except (RefusedError, MemoryError):
        raise
    except TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # decoders fail on foreign bytes in many ways
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise broken(path, error) from error
        found = tiff_pixels(path, data, max_pixels, error)
        _check_tags(path, found.tags)
        return found


def _check_tags(path: Path | Packed, tags: Tags) -> None:
    try:
        check_upright(path, tags)
        if 1 < tags.bands <= 4:  # more are refused by their number
            colour_bands(path, tags)
    except ValueError as error:
        raise RefusedError(str(error)) from error


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
    _refuse_pages(path, pages)


def _is_page(frame: object) -> bool:
    """Not an overview or a mask."""
    return not (isinstance(frame, tifffile.TiffPage) and frame.subfiletype & 5)


def _refuse_pages(path: Path | Packed, pages: int) -> None:
    if pages > 1:
        raise RefusedError(
            f"{path}: got a TIFF with {pages} pages, expected one: write the bands as "
            "channels of one page"
        )


def check_pixel_type(path: Path | Packed, image: ImageFile.ImageFile) -> None:
    """Refuses what Pillow would silently cut to the high byte, and print colours."""
    deep = any(";16" in str(tile.args) for tile in image.tile)
    if deep and image.mode in ("RGB", "RGBA", "LA"):
        raise RefusedError(f"{path}: got 16 bits a channel, expected 8: {SCALE}")
    if image.mode in ("CMYK", "LAB"):
        raise RefusedError(
            f"{path}: got {image.mode} colours, expected RGB or grey: convert it"
        )


def as_array(image: Image.Image, *, indexed: bool) -> np.ndarray:
    """Pixels as Pillow has them, colours of a palette and of JPEG as RGB."""
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * (1 if indexed else 255)
    if image.mode == "YCbCr" or (image.mode == "P" and not indexed):
        return np.asarray(image.convert("RGB"))
    return np.asarray(image)


def tiff_pixels(
    path: Path | Packed, data: bytes, max_pixels: int, first_error: Exception
) -> Pixels:
    """Second decoder, for TIFFs that Pillow does not know (float, many bands).

    Raises:
      ValueError: it is broken or too large, or has pages.
    """
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            frames = islice(file.pages, MAX_FRAMES)
            _refuse_pages(path, sum(_is_page(frame) for frame in frames))
            page = file.pages.first
            check_size(page.imagewidth, page.imagelength, max_pixels)
            if page.nbytes > max_pixels * MAX_PIXEL_BYTES:
                raise TooLargeError(f"got {page.nbytes:,} bytes of pixels: too many")
            check_segments(page, data)
            tags = tags_of_page(page)
            pixels, axes = _decoded(page, data), page.axes
    except (MemoryError, RefusedError):
        raise
    except TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:
        hint = error if "rasterio" in str(error) else first_error
        raise broken(path, hint) from error
    if pixels.ndim not in (2, 3):
        raise broken(path, ValueError(f"it has {pixels.ndim} axes"))
    if axes == "SYX":
        pixels = np.moveaxis(pixels, 0, 2)
    return Pixels(pixels, tags)


def _decoded(page: tifffile.TiffPage, data: bytes) -> np.ndarray:
    """A page's pixels; those of GDAL's own compressions (LERC) by GDAL, if installed.

    Raises:
      Exception: neither can read it.
    """
    try:
        return page.asarray()
    except (ValueError, ImportError) as error:
        try:
            from rasterio.io import MemoryFile
        except ImportError:
            raise ValueError(
                f"{error}; rasterio may read it: {install_command('geo')}"
            ) from error
        with MemoryFile(data) as memory, memory.open() as dataset:
            bands = dataset.read()
    if len(bands) == 1:
        return bands[0]
    return bands if page.axes == "SYX" else np.moveaxis(bands, 0, 2)


def broken(path: Path | Packed, error: Exception) -> ValueError:
    """What a decoder made of a file, in our words."""
    reason = cut(str(error), 300)
    return ValueError(
        f"{path}: cannot be decoded ({reason}): expected a whole PNG, JPEG or TIFF; "
        'copy or convert it again, or set data.on_corrupt="skip"'
    )

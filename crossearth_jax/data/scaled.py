"""Images of any bits and bands to three bands of 8 bits, as the run states it.

The bands, their scaling and what has no data are those of `crossearth predict`, so that
a model sees the same pixels of a scene in training, in scores and on the map.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Num, Shaped, UInt8

from crossearth_jax.data.decode import (
    FORMATS,
    Mask,
    as_array,
    broken,
    check_pixel_type,
    pixels_of,
    read_image_and_mask,
    tiff_pixels,
)
from crossearth_jax.data.header import read_header
from crossearth_jax.data.image_budget import check_bytes, check_structure
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pixel_limit import MAX_PIXELS, TooLargeError, open_image
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.data.tags import (
    WRITE_THREE,
    Tags,
    check_upright,
    colour_bands,
    warn_of_alpha,
)
from crossearth_jax.data.timed import TIMEOUT_S, read_in_time
from crossearth_jax.pixels.imagenet import IMAGENET_GREY
from crossearth_jax.pixels.scaling import Pair, scaled_bands

TIFF = (b"II", b"MM")  # first bytes
# How a run is told; `predict` has --scale and --bands.
STATE_SCALE = "say which values become 0 and 255, such as --config.data.scale=0,4000"
STATE_BANDS = (
    "name the three that the model should see, such as --config.data.bands=3,2,1"
)


class UnclearError(ValueError):
    """An image that `data.bands` or `data.scale` would make readable."""


@dataclass(frozen=True)
class Choice:
    """What is taken of an image.

    Attributes:
      bands: one or three, counted from 0.
      scale: of each; None leaves 8 bits as they are.
    """

    bands: tuple[int, ...]
    scale: tuple[Pair, ...] | None


def choose(path: Path | Packed, tags: Tags, raw: RawImages) -> Choice | None:
    """What is taken of an image; None where it is an ordinary one of 8 bits.

    Args:
      path: of the file, for messages.
      tags: what it says.
      raw: what the run states.

    Raises:
      UnclearError: it is not clear what to take, or a band is not there.
    """
    eight_bits = tags.kind == "uint8"
    how = WRITE_THREE if raw.bands else STATE_BANDS
    raw = raw.of_type(eight_bits)
    if not eight_bits and not raw.scale:
        also = "" if raw.bands or _is_marked(path, tags) else f"; and {STATE_BANDS}"
        raise UnclearError(
            f"{path}: got {tags.kind} values in {max(1, tags.bands)} band(s), expected "
            f"8 bits, or data.scale: {STATE_SCALE}{also}"
        )
    if tags.palette or not raw.stated:
        if tags.bands > 1:
            _marked(path, tags, how)
        return None
    count = max(1, tags.bands)
    if any(band > count for band in raw.bands):
        raise UnclearError(
            f"{path}: got data.bands={','.join(map(str, raw.bands))} for a file of "
            f"{count} band(s), expected numbers from 1 to {count}"
        )
    bands = tuple(b - 1 for b in raw.bands) or _marked(path, tags)
    try:
        return Choice(bands, raw.pairs(len(bands)))
    except ValueError as error:
        raise UnclearError(f"{path}: {error}: correct data.scale") from error


def _is_marked(path: Path | Packed, tags: Tags) -> bool:
    try:
        _marked(path, tags)
    except UnclearError:
        return False
    return True


def _marked(path: Path | Packed, tags: Tags, how: str = STATE_BANDS) -> tuple[int, ...]:
    try:
        return colour_bands(path, tags, how)
    except ValueError as error:
        raise UnclearError(str(error)) from error


def read_scaled(
    path: Path | Packed,
    raw: RawImages,
    *,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> tuple[UInt8[np.ndarray, "H W 3"], Mask | None]:
    """Reads an image as the run states it.

    Args:
      path: PNG, JPEG or TIFF of integers or floating-point numbers of any size.
      raw: bands and scaling; an ordinary 8-bit image needs none.
      timeout_s: for reading the file.
      max_pixels: a larger image is refused before it is decoded.

    Returns:
      The bands on the scale 0-255, a grey one three times; and where there is no data,
      None for nowhere: where alpha is 0, and of images that are chosen or scaled also
      where all chosen bands have the file's nodata value or one is not finite. There
      the pixels are those of the mean colour.

    Raises:
      ValueError: it cannot be read, or not as the run states it.
    """
    limits = {"timeout_s": timeout_s, "max_pixels": max_pixels}
    data = read_in_time(path, timeout_s, max_pixels)
    if not raw.stated or not data:
        return read_image_and_mask(path, data=data, **limits)
    tags = _tags(path, data, max_pixels)
    choice = choose(path, tags, raw)
    if choice is None:
        return read_image_and_mask(path, data=data, **limits)
    values = _native(path, data, tags, max_pixels)
    chosen = values[:, :, list(choice.bands)]
    hidden = _without_data(path, values, chosen, choice, tags)
    image = chosen if choice.scale is None else scaled_bands(chosen, choice.scale)
    image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    if not hidden.any():
        return image, None
    image[hidden] = IMAGENET_GREY
    return image, hidden


def read_bands(
    path: Path | Packed, bands: tuple[int, ...], data: bytes
) -> UInt8[np.ndarray, "H W C"]:
    """Some bands of an 8-bit image, whatever they are marked as.

    Args:
      path: names the file in errors.
      bands: which, counted from 1.
      data: its content.

    Raises:
      ValueError: it cannot be read, lacks a band, or has more than 8 bits.
    """
    tags = _tags(path, data, MAX_PIXELS)
    values = _native(path, data, tags, MAX_PIXELS)
    if values.dtype != np.uint8 or max(bands) > values.shape[2]:
        raise ValueError(
            f"{path}: got {values.shape[2]} band(s) of {values.dtype}, expected at "
            f"least {max(bands)} of uint8: is this the file that was published?"
        )
    return np.ascontiguousarray(values[:, :, [band - 1 for band in bands]])


def _tags(path: Path | Packed, data: bytes, max_pixels: int) -> Tags:
    try:
        check_structure(data)
        size, tags = read_header(path, BytesIO(data), max_pixels)
        check_bytes(len(data), *size)
    except TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # decoders fail on foreign bytes in many ways
        raise broken(path, error) from error
    check_upright(path, tags)
    return tags


def _native(
    path: Path | Packed, data: bytes, tags: Tags, max_pixels: int
) -> Num[np.ndarray, "H W C"]:
    """All bands of a file, in its own type."""
    if tags.kind == "uint8" and (tags.colour or tags.bands == 1):
        values = pixels_of(path, data, max_pixels, indexed=False).values
        if values.ndim == 2 or values.shape[2] == tags.bands:
            return _checked(path, values, tags)
    if data.startswith(TIFF):  # Pillow leaves bands out
        unknown = ValueError("its compression or its pixels are unknown here")
        values = tiff_pixels(path, data, max_pixels, unknown).values
    else:
        values = _png(path, data, tags, max_pixels)
    return _checked(path, values, tags)


def _png(
    path: Path | Packed, data: bytes, tags: Tags, max_pixels: int
) -> Num[np.ndarray, "H W C"] | Num[np.ndarray, "H W"]:
    if tags.kind == "uint8" or tags.bands == 1:
        try:
            with open_image(
                BytesIO(data), formats=FORMATS, max_pixels=max_pixels
            ) as image:
                check_pixel_type(path, image)
                return as_array(image, indexed=False)
        except OSError as error:
            raise broken(path, error) from error
    # Pillow would cut 16-bit colours to their high byte.
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3:
        raise broken(path, ValueError("it is damaged"))
    order = (2, 1, 0, 3) if tags.bands > 2 else (0, 3)  # BGRA, also of grey and alpha
    return found[:, :, list(order[: tags.bands])]


def _checked(
    path: Path | Packed, values: Shaped[np.ndarray, "..."], tags: Tags
) -> Num[np.ndarray, "H W C"]:
    """Real numbers in the machine's byte order, as many bands as the header said."""
    values = values[:, :, None] if values.ndim == 2 else values
    if values.dtype.kind not in "uif":
        raise ValueError(
            f"{path}: got {values.dtype} values, expected real numbers: write the "
            "amplitude first"
        )
    if values.shape[2] != max(1, tags.bands):
        raise broken(path, ValueError(f"it has {values.shape[2]} bands"))
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _without_data(
    path: Path | Packed,
    values: Num[np.ndarray, "H W C"],
    chosen: Num[np.ndarray, "H W c"],
    choice: Choice,
    tags: Tags,
) -> Bool[np.ndarray, "H W"]:
    """As `predict` sees it, see `predict.values.Values`."""
    hidden = np.zeros(chosen.shape[:2], bool)
    alpha = tags.alpha()
    if alpha is not None and alpha not in choice.bands:
        transparent = values[:, :, alpha] == 0
        warn_of_alpha(path, alpha, values[:, :, alpha], transparent)
        hidden |= transparent
    if isinstance(tags.nodata, int | float):
        hidden |= (chosen == tags.nodata).all(2)
    elif tags.nodata is not None and len(tags.nodata) <= values.shape[2]:
        hidden |= (values[:, :, : len(tags.nodata)] == tags.nodata).all(2)
    if chosen.dtype.kind == "f":
        hidden |= ~np.isfinite(chosen).all(2)
    return hidden

"""Pictures inside a page: photographs, and class maps as one layer per class.

A layer can be hidden by its class's box alone, without a script.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from crossearth_jax.pixels.labels import IGNORE, IGNORED, Colour
from crossearth_jax.report.pictures import RIGHT, WRONG

LONGEST = 512  # pixels of an image in the page


def photo(image: UInt8[np.ndarray, "H W 3"], longest: int = LONGEST) -> str:
    """An image as a data URI, at most so many pixels a side."""
    picture = Image.fromarray(image).resize(
        _fitting(image.shape[:2], longest), Image.Resampling.LANCZOS
    )
    return _data_uri(picture, "WEBP", quality=82)


def small_ids(ids: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    """Class ids at the size of the page, none mixed."""
    size = _fitting(ids.shape)
    return np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))


def class_layers(
    ids: UInt8[np.ndarray, "H W"], palette: Sequence[Colour]
) -> list[tuple[int, str]]:
    """(class, data URI) of every class there is, transparent elsewhere."""
    ids = small_ids(ids)
    return [
        (k, layer(ids == k, colour)) for k, colour in enumerate(palette) if k in ids
    ]


def error_layers(
    truth: UInt8[np.ndarray, "H W"], prediction: UInt8[np.ndarray, "H W"]
) -> list[str]:
    """Data URIs of what is right, wrong and not annotated."""
    truth, prediction = small_ids(truth), small_ids(prediction)
    known, same = truth != IGNORE, truth == prediction
    parts = (known & same, RIGHT), (known & ~same, WRONG), (~known, IGNORED)
    return [layer(mask, colour) for mask, colour in parts if mask.any()]


def layer(mask: Bool[np.ndarray, "h w"], colour: Colour) -> str:
    """One colour where the mask is true; two entries of a palette, one bit a pixel."""
    picture = Image.fromarray(mask.astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, *colour])
    return _data_uri(picture, "PNG", optimize=True, transparency=0, bits=1)


def _fitting(size: tuple[int, int], longest: int = LONGEST) -> tuple[int, int]:
    """Width and height for Pillow, never enlarged."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[1] * scale)), max(1, round(size[0] * scale))


def _data_uri(picture: Image.Image, kind: str, **options: object) -> str:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    text = base64.b64encode(out.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{text}"

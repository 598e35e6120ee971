"""What an image file says about its pixels beside their values.

Which way is up, which bands are colours and which one is alpha, and which value stands
for no data. Read from the headers of PNG, JPEG and TIFF; no pixel is decoded.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from absl import logging
from jaxtyping import Num
from PIL import Image, TiffImagePlugin

from crossearth_jax.data.packed import Packed

# TIFF tags; EXIF has the first one too.
ORIENTATION, PHOTOMETRIC, BANDS = 274, 262, 277
EXTRA_SAMPLES, GDAL_NODATA = 338, 42113
BITS, SAMPLE_FORMAT = 258, 339
NUMBERS = {1: "uint", 2: "int", 3: "float", 4: "uint"}  # values of SAMPLE_FORMAT
ALPHA = (1, 2)  # values of EXTRA_SAMPLES
FEW = 16  # values of an alpha band that only cuts out, with soft edges
COLOUR = (2, 6)  # values of PHOTOMETRIC: RGB, YCbCr
PALETTE = 3  # likewise
# What to do with bands that nothing tells apart.
WRITE_THREE = (
    "write the three that the model should see, e.g. "
    "`gdal_translate -b 3 -b 2 -b 1 IN OUT`"
)
DEEP_MODES = {"I": "int32", "F": "float32"}  # of Pillow
EXIF_IN_PNG = {"exif", "Raw profile type exif"}


@dataclass(frozen=True)
class Tags:
    """What a file says.

    Attributes:
      orientation: 1 for upright, up to 8.
      bands: how many, alpha included; 0 if the pixels alone tell.
      colour: whether the first three are red, green and blue (in any order of
        wavelengths: what the file calls so).
      extra: meanings of the last bands, as EXTRA_SAMPLES has them.
      nodata: the value (or colour) of pixels without data.
      kind: type of a value, such as "uint16"; "uint8" also for fewer bits.
      palette: whether values are indices of colours.
    """

    orientation: int = 1
    bands: int = 0
    colour: bool = False
    extra: tuple[int, ...] = ()
    nodata: float | tuple[int, ...] | None = None
    kind: str = "uint8"
    palette: bool = False

    def alpha(self) -> int | None:
        """Number of the alpha band, counted from 0."""
        first = self.bands - len(self.extra)
        found = [first + i for i, code in enumerate(self.extra) if code in ALPHA]
        return found[0] if found else None


def warn_of_alpha(
    path: object, band: int, values: Num[np.ndarray, "H W"], hidden: np.ndarray
) -> None:
    """Once: GDAL marks a fourth band as alpha by default, also if it is near infrared.

    Args:
      path: of the image.
      band: that is marked, counted from 0.
      values: of it.
      hidden: where they are 0.
    """
    if hidden.any() and len(np.unique(values[:512, :512])) > FEW:
        logging.log_first_n(
            logging.WARNING,
            "%s: band %d is marked as alpha, so there is no data where it is 0; if it "
            "is a colour such as near infrared, mark it as one: `gdal_edit.py "
            "-colorinterp_%d undefined FILE` (reported once)",
            1,
            path,
            band + 1,
            band + 1,
        )


def tags_of(image: Image.Image) -> Tags:
    """Of a file that Pillow has opened."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _of_tiff(image.tag_v2)
    bands, alpha = len(image.getbands()), image.mode in ("LA", "RGBA")
    return Tags(
        orientation=_exif_orientation(image),
        bands=bands,
        colour=bands - alpha == 3,
        extra=(2,) if alpha else (),
        nodata=_transparent_colour(image),
        kind=_kind_of_mode(image),
        palette=image.mode in ("P", "PA"),
    )


def _kind_of_mode(image: Image.Image) -> str:
    """Pillow opens 16-bit colours as if they had 8; its tiles tell."""
    tiles = getattr(image, "tile", ())
    if image.mode.startswith("I;16") or any(";16" in str(t.args) for t in tiles):
        return "uint16"
    return DEEP_MODES.get(image.mode, "uint8")


def tags_of_page(page: tifffile.TiffPage) -> Tags:
    """Of the first page of a TIFF that Pillow does not know."""
    return _of_tiff({tag.code: tag.value for tag in page.tags.values()})


def _of_tiff(tags: Mapping[int, Any]) -> Tags:
    extra = tags.get(EXTRA_SAMPLES, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    return Tags(
        orientation=int(tags.get(ORIENTATION, 1)),
        bands=int(tags.get(BANDS, 1)),
        colour=int(tags.get(PHOTOMETRIC, 1)) in COLOUR,
        extra=tuple(map(int, extra)),
        nodata=_number(tags.get(GDAL_NODATA)),
        kind=_kind_of_samples(tags.get(BITS, 1), tags.get(SAMPLE_FORMAT, 1)),
        palette=int(tags.get(PHOTOMETRIC, 1)) == PALETTE,
    )


def _kind_of_samples(bits: Any, form: Any) -> str:
    """The type that holds all bands of a TIFF."""
    most = max(map(int, bits if isinstance(bits, tuple) else (bits,)), default=1)
    forms = set(map(int, form if isinstance(form, tuple) else (form,)))
    number = NUMBERS.get(forms.pop(), "complex") if len(forms) == 1 else "mixed"
    size = next((size for size in (8, 16, 32, 64) if most <= size), 128)
    return f"{number}{size}"


def _number(text: Any) -> float | None:
    """GDAL writes a number as text, with a zero byte behind it."""
    with suppress(ValueError, TypeError):
        return float(str(text).strip("\0 "))
    return None


def _exif_orientation(image: Image.Image) -> int:
    # Pillow would decode a whole PNG to look for EXIF data behind its pixels.
    if image.format == "PNG" and not EXIF_IN_PNG & image.info.keys():
        return 1
    return int(image.getexif().get(ORIENTATION, 1))


def _transparent_colour(image: Image.Image) -> float | tuple[int, ...] | None:
    """What GDAL writes as nodata of a PNG; transparent palette entries are a style."""
    value = image.info.get("transparency")
    return value if image.mode != "P" and isinstance(value, int | tuple) else None


def check_upright(path: Path | Packed, tags: Tags) -> None:
    """Raises for pixels that a viewer would turn.

    Labelling tools show such an image turned, GIS software as it is stored. Which of
    them a label was drawn on cannot be known from the files.

    Raises:
      ValueError: names the tag and both ways out.
    """
    if tags.orientation in (0, 1):  # 0 is written by tools that mean nothing by it
        return
    raise ValueError(
        f"{path}: got the orientation tag (EXIF and TIFF tag {ORIENTATION}) "
        f"{tags.orientation}, expected 1: if the label fits what a viewer shows, turn "
        "the pixels with `mogrify -auto-orient FILE`; if it fits the pixels as stored, "
        "drop the tag with `exiftool -Orientation= FILE`"
    )


def colour_bands(
    path: Path | Packed, tags: Tags, how: str = WRITE_THREE
) -> tuple[int, ...]:
    """Numbers of the one or three bands to read, counted from 0; as `predict` chooses.

    Args:
      path: of the file, for the message.
      tags: what it says.
      how: what to do where that is not enough.

    Raises:
      ValueError: it is not clear which three to take.
    """
    if tags.colour:
        return 0, 1, 2
    bands = tuple(i for i in range(tags.bands) if i != tags.alpha())
    if len(bands) in (1, 3):
        return bands
    raise ValueError(
        f"{path}: got {len(bands)} bands of which none is marked red, green, blue or "
        f"alpha, expected 1 or 3: {how}"
    )

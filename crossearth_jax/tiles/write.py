"""Tiles as GeoTIFFs: written whole, on the grid of their scene.

GDAL looks a coordinate system up in its database for every file that it writes, which
takes longer than the pixels. Here it writes the tags of a coordinate system once.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from jaxtyping import Num, UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.system.whole_file import whole_file

# Numbers of tags, and of the types of their values.
GEO_KEYS, GEO_DOUBLES, GEO_TEXT = 34735, 34736, 34737
MATRIX, NODATA = 34264, 42113
PIXEL_SIZE, TIE_POINT = 33550, 33922
SHORT, DOUBLE, TEXT = 3, 12, 2

ExtraTag = tuple[int, int, int, Any, bool]  # as tifffile takes it


@dataclass(frozen=True)
class CrsTags:
    """The tags of a coordinate system.

    Attributes:
      tags: as tifffile takes them.
    """

    tags: tuple[ExtraTag, ...]

    @classmethod
    def of(cls, crs: Any) -> "CrsTags":
        """Lets GDAL write them into a file of one pixel.

        Args:
          crs: of rasterio.
        """
        io, rasterio = geo.needed("rasterio.io"), geo.needed("rasterio")
        about = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "crs": crs}
        grid = rasterio.Affine(2, 0, 2, 0, -2, 2)
        with io.MemoryFile() as memory:
            with memory.open(dtype="uint8", transform=grid, **about) as file:
                file.write(np.zeros((1, 1, 1), np.uint8))
            content = bytes(memory.getbuffer())
        with tifffile.TiffFile(BytesIO(content)) as file:
            tags = file.pages.first.tags
            kinds = ((GEO_KEYS, SHORT), (GEO_DOUBLES, DOUBLE), (GEO_TEXT, TEXT))
            found = [(c, kind, tags[c].value) for c, kind in kinds if c in tags]
        return cls(tuple((c, kind, len(v), v, True) for c, kind, v in found))


@dataclass(frozen=True)
class Georeference:
    """Where a tile lies.

    Attributes:
      crs: tags of the coordinate system.
      transform: pixel to map coordinates.
    """

    crs: CrsTags
    transform: Any

    def tags(self) -> list[ExtraTag]:
        """As tifffile takes them."""
        a, b, c, d, e, f = self.transform[:6]
        if b == d == 0 and a > 0 > e:
            place = [
                (PIXEL_SIZE, DOUBLE, 3, (a, -e, 0.0), True),
                (TIE_POINT, DOUBLE, 6, (0.0, 0.0, 0.0, c, f, 0.0), True),
            ]
        else:
            matrix = (a, b, 0.0, c, d, e, 0.0, f, *(0.0,) * 7, 1.0)
            place = [(MATRIX, DOUBLE, 16, matrix, True)]
        return [*place, *self.crs.tags]


def write_image(
    path: Path, pixels: Num[np.ndarray, "c h w"], place: Georeference | None
) -> None:
    """Writes an image, uncompressed: training reads it hundreds of times.

    Args:
      path: of the file.
      pixels: one band or three.
      place: where it lies, if that is known.

    Raises:
      OSError: it cannot be written.
    """
    tags = place.tags() if place else []
    if len(pixels) == 1:
        _write(path, pixels[0], tags)
    else:
        _write(path, _interleaved(pixels), tags, photometric="rgb")


def _interleaved(pixels: Num[np.ndarray, "3 h w"]) -> Num[np.ndarray, "h w 3"]:
    """Pixel by pixel; OpenCV takes a 20th of NumPy's time, but knows few types."""
    if pixels.dtype == np.uint8:
        return cv2.merge(list(pixels))
    return np.ascontiguousarray(np.moveaxis(pixels, 0, 2))


def write_label(
    path: Path, ids: UInt8[np.ndarray, "h w"], place: Georeference | None
) -> None:
    """Writes class ids; 255 is marked as no data.

    Args:
      path: of the file.
      ids: class ids.
      place: where it lies, if that is known.

    Raises:
      OSError: it cannot be written.
    """
    nodata = (NODATA, TEXT, 0, str(IGNORE), True)
    small = {"compression": "zlib", "compressionargs": {"level": 1}}
    tags = place.tags() if place else []
    _write(path, np.ascontiguousarray(ids), [*tags, nodata], **small)


def _write(
    path: Path,
    values: np.ndarray,
    tags: list[ExtraTag],
    photometric: str = "minisblack",
    **compression: Any,
) -> None:
    with whole_file(path) as partial, geo.written(path):
        tifffile.imwrite(
            partial,
            values,
            photometric=photometric,
            rowsperstrip=len(values),
            extratags=tags,
            metadata=None,
            software=False,
            **compression,
        )

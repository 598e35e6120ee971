"""Tiles as GeoTIFFs: written whole, on the grid of their scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num, UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.system.whole_file import whole_file


@dataclass(frozen=True)
class Georeference:
    """Where a tile lies.

    Attributes:
      crs: of rasterio.
      transform: pixel to map coordinates.
    """

    crs: Any
    transform: Any


def write_image(
    path: Path, pixels: Num[np.ndarray, "c h w"], place: Georeference
) -> None:
    """Writes an image, uncompressed: training reads it hundreds of times.

    Raises:
      OSError: it cannot be written.
    """
    colours = {"photometric": "rgb"} if len(pixels) == 3 else {}
    _write(path, pixels, place, **colours)


def write_label(path: Path, ids: UInt8[np.ndarray, "h w"], place: Georeference) -> None:
    """Writes class ids; 255 is marked as no data.

    Raises:
      OSError: it cannot be written.
    """
    small = {"compress": "deflate", "zlevel": 1}
    _write(path, ids[None], place, nodata=IGNORE, **small)


def _write(path: Path, values: np.ndarray, place: Georeference, **profile: Any) -> None:
    rasterio = geo.needed("rasterio")
    count, height, width = values.shape
    profile |= {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": values.dtype,
        "crs": place.crs,
        "transform": place.transform,
        "blockysize": height,
    }
    with whole_file(path) as partial, geo.written(path):
        with rasterio.open(partial, "w", **profile) as file:
            file.write(values)

"""Pixels of a tile of Web Mercator, read from as many rasters as lie there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Num

from crossearth_jax.predict import geo
from crossearth_jax.predict.values import DAMAGED
from crossearth_jax.system import extras
from crossearth_jax.view.placing import TILE, WORLD, Box, Piece, Place, overlap

Resampling = Literal["nearest", "bilinear"]
WARPED = {"tolerance": 0.125}  # reprojected also where only the axes differ
MEMORY = {"GDAL_CACHEMAX": 128_000_000}  # bytes of decoded blocks


def needed(name: str) -> Any:
    """Imports a module of the extra `view`.

    Raises:
      ImportError: it is not installed; tells how to get it.
    """
    return extras.needed(name, "crossearth view", "view")


@dataclass(frozen=True)
class Raster:
    """A raster of a layer.

    Attributes:
      name: for messages.
      place: where it lies.
      bands: that are read, counted from 1.
      method: how pixels of other sizes are made.
    """

    name: str
    place: Place
    bands: tuple[int, ...] = (1,)
    method: Resampling = "nearest"


def tile_box(z: int, x: int, y: int) -> Box:
    """A tile's box in metres; row 0 is in the north."""
    side = 2 * WORLD / 2**z
    west, north = -WORLD + x * side, WORLD - y * side
    return west, north - side, west + side, north


def tiles_over(boxes: Sequence[Box], zoom: int) -> set[tuple[int, int]]:
    """Columns and rows of the tiles that boxes within the world touch."""
    side, last = 2 * WORLD / 2**zoom, 2**zoom - 1
    found = set()
    for west, south, east, north in boxes:
        edges = west + WORLD, WORLD - north, east + WORLD, WORLD - south
        left, top, right, bottom = (edge / side for edge in edges)
        columns = range(int(left), min(last, _before(right)) + 1)
        rows = range(max(0, int(top)), min(last, _before(bottom)) + 1)
        found.update((x, y) for x in columns for y in rows)
    return found


def _before(edge: float) -> int:
    """The last tile before an edge, which may lie between two."""
    return int(edge) - (edge == int(edge))


def read_tile(
    rasters: Sequence[Raster], box: Box
) -> tuple[Num[np.ndarray, "b 512 512"], Bool[np.ndarray, "512 512"]] | None:
    """Values of a tile, and where there are any; later rasters lie over earlier ones.

    Args:
      rasters: with as many bands each.
      box: of the tile.

    Returns:
      None where no raster has data.

    Raises:
      OSError: a file is damaged.
    """
    values = valid = None
    for raster in rasters:
        for piece in raster.place.pieces:
            if not overlap(piece.box, box):
                continue
            found, known = _read(raster, piece, box)
            if values is None or valid is None:
                values, valid = found, known
            else:
                values = np.where(known, found, values)
                valid = valid | known
    return (
        None
        if values is None or valid is None or not valid.any()
        else (
            values,
            valid,
        )
    )


def _read(raster: Raster, piece: Piece, box: Box) -> tuple[np.ndarray, np.ndarray]:
    rasterio, reader = geo.needed("rasterio"), needed("rio_tiler.reader")
    mercator = rasterio.CRS.from_epsg(3857)
    with (
        geo.quiet(),
        rasterio.Env(**MEMORY),
        geo.explained(raster.name, DAMAGED),
        rasterio.open(piece.address, **_level(raster, piece, box)) as file,
    ):
        step = file.transform
        is_upright = file.crs == mercator and step.e < 0 == step.b == step.d
        image = reader.part(
            file,
            box,
            height=TILE,
            width=TILE,
            dst_crs=mercator,
            indexes=raster.bands,
            vrt_options=None if is_upright else WARPED,
            resampling_method=raster.method,
            reproject_method=raster.method,
        )
    known = image.mask > 0
    if image.array.dtype.kind == "f":
        known &= np.isfinite(image.array.data).all(0)
    return image.array.data, known


def _level(raster: Raster, piece: Piece, box: Box) -> dict[str, int]:
    """The overview for a tile, where a raster across the antimeridian hides its own.

    rio-tiler takes the pixel size of a reprojected raster from its whole extent, which
    there is the world's.
    """
    if not raster.place.crosses:
        return {}
    wanted = (box[2] - box[0]) / TILE / raster.place.pixel
    with geo.needed("rasterio").open(piece.address) as file:
        fine = [n for n, step in enumerate(file.overviews(1)) if step <= wanted]
    return {"overview_level": fine[-1]} if fine else {}

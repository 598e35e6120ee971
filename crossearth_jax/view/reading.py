"""Pixels of a tile of Web Mercator, read from as many rasters as lie there."""

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Num

from crossearth_jax.predict import geo
from crossearth_jax.predict.values import DAMAGED
from crossearth_jax.system import extras
from crossearth_jax.view.placing import TILE, WORLD, Box, Place, overlap

Resampling = Literal["nearest", "bilinear"]
MEGABYTES = "128"  # of decoded blocks, of all threads together


def needed(name: str) -> Any:
    """Imports a module of the extra `view`.

    Raises:
      ImportError: it is not installed; tells how to get it.
    """
    return extras.needed(name, "crossearth view", "view")


def set_up() -> None:
    """Bounds what GDAL keeps, else a share of the machine; before it is first used.

    And no warning of rio-tiler's that it cuts off the poles, for every tile again.
    """
    os.environ.setdefault("GDAL_CACHEMAX", MEGABYTES)
    warnings.filterwarnings("ignore", module="rio_tiler")


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
    spans = [_spans(box, zoom) for box in boxes]
    return {(x, y) for columns, rows in spans for x in columns for y in rows}


def most_tiles(boxes: Sequence[Box], zoom: int) -> int:
    """No more tiles than these boxes touch, without listing them."""
    spans = (_spans(box, zoom) for box in boxes)
    return sum(len(columns) * len(rows) for columns, rows in spans)


def _spans(box: Box, zoom: int) -> tuple[range, range]:
    side, last = 2 * WORLD / 2**zoom, 2**zoom - 1
    west, south, east, north = box
    edges = west + WORLD, WORLD - north, east + WORLD, WORLD - south
    left, top, right, bottom = (edge / side for edge in edges)
    columns = range(max(0, int(left)), min(last, _before(right)) + 1)
    return columns, range(max(0, int(top)), min(last, _before(bottom)) + 1)


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
    values, valid = None, np.zeros((TILE, TILE), bool)
    for raster in rasters:
        for piece in raster.place.pieces:
            if not overlap(piece.box, box):
                continue
            rows, columns = _touched(piece.box, box)
            part = _part(box, rows, columns)
            size = rows.stop - rows.start, columns.stop - columns.start
            found, known = _read(raster, piece.address, part, size)
            if values is None:
                values = np.zeros((len(found), TILE, TILE), found.dtype)
            values = values.astype(np.promote_types(values.dtype, found.dtype))
            values[:, rows, columns][:, known] = found[:, known]
            valid[rows, columns] |= known
    return None if values is None or not valid.any() else (values, valid)


def _touched(inner: Box, box: Box) -> tuple[slice, slice]:
    """Rows and columns of a tile that a box touches."""
    side = (box[2] - box[0]) / TILE
    west, north = inner[0] - box[0], box[3] - inner[3]
    east, south = inner[2] - box[0], box[3] - inner[1]
    first = (min(max(0, math.floor(edge / side)), TILE - 1) for edge in (north, west))
    last = (min(TILE, math.ceil(edge / side)) for edge in (south, east))
    rows, columns = (slice(a, max(b, a + 1)) for a, b in zip(first, last, strict=True))
    return rows, columns


def _part(box: Box, rows: slice, columns: slice) -> Box:
    """The box of some rows and columns of a tile."""
    west, _, _, north = box
    side = (box[2] - west) / TILE
    return (
        west + columns.start * side,
        north - rows.stop * side,
        west + columns.stop * side,
        north - rows.start * side,
    )


def _read(
    raster: Raster, address: str, box: Box, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Values [b, h, w] of a box, and where there are any."""
    rasterio, reader = geo.needed("rasterio"), needed("rio_tiler.reader")
    mercator = rasterio.CRS.from_epsg(3857)
    height, width = size
    level = _level(raster, address, (box[2] - box[0]) / width)
    with (
        geo.quiet(),
        geo.explained(raster.name, DAMAGED),
        rasterio.open(address, **level) as file,
        _upright(file, mercator) as source,
    ):
        image = reader.part(
            source,
            box,
            height=height,
            width=width,
            dst_crs=mercator,
            indexes=raster.bands,
            resampling_method=raster.method,
            reproject_method=raster.method,
        )
    known = image.mask > 0
    if image.array.dtype.kind == "f":
        known &= np.isfinite(image.array.data).all(0)
    return image.array.data, known


@contextmanager
def _upright(file: Any, mercator: Any) -> Iterator[Any]:
    """A raster in Web Mercator whose rows run east and downwards, or any other one.

    rio-tiler reprojects only what is in another system.
    """
    step = file.transform
    if file.crs != mercator or step.e < 0 == step.b == step.d:
        yield file
        return
    clear = file.nodata is None and "alpha" not in {c.name for c in file.colorinterp}
    vrt = geo.needed("rasterio.vrt").WarpedVRT
    with vrt(file, crs=mercator, add_alpha=clear) as warped:
        yield warped


def _level(raster: Raster, address: str, wanted: float) -> dict[str, int]:
    """The overview for pixels of a size, where a raster hides its own.

    rio-tiler takes the pixel size of a reprojected raster from its whole extent. Across
    the antimeridian that is the world's.
    """
    if not raster.place.crosses:
        return {}
    ratio = wanted / raster.place.pixel
    with geo.needed("rasterio").open(address) as file:
        fine = [n for n, step in enumerate(file.overviews(1)) if step <= ratio]
    return {"overview_level": fine[-1]} if fine else {}

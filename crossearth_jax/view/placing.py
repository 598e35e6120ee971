"""Where rasters lie in Web Mercator, the only projection that the page draws.

What has no longitudes (no coordinate system, a local one, control points alone) lies
at 0° N 0° E, where a pixel of it is a pixel of the tiles of one zoom.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossearth_jax.predict import geo, ground

WORLD = 20_037_508.342789244  # half the width of Web Mercator, metres
TILE = 512  # pixels a side, as many as a map's blocks have
MOST_ZOOM = 22
PIXEL_ZOOM = 17  # at which rasters without longitudes have their own pixels
LATITUDE = 85.0511  # where Web Mercator ends
NEARLY = 0.05  # of a zoom, by which tiles may be coarser than pixels

Box = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True)
class Piece:
    """A raster, or what of it lies on one side of the antimeridian.

    Attributes:
      address: what rasterio opens.
      box: metres of Web Mercator, within the world.
    """

    address: str
    box: Box


@dataclass(frozen=True)
class Place:
    """Where a raster lies.

    Attributes:
      pieces: one, or two across the antimeridian.
      box: of all, metres; its east is beyond the world where it crosses.
      zoom: at which tiles are as fine as the raster.
      pixel: side of a pixel in Web Mercator there, metres.
      on_earth: False where the box is made of pixels.
    """

    pieces: tuple[Piece, ...]
    box: Box
    zoom: int
    pixel: float
    on_earth: bool

    @property
    def crosses(self) -> bool:
        """Whether it lies on both sides of the antimeridian."""
        return self.box[2] > WORLD


def is_on_earth(dataset: Any) -> bool:
    """Whether an open raster has longitudes and latitudes."""
    if dataset.crs is None:
        return False
    x, y = ground.centre(dataset)
    return ground.degrees(dataset.crs, [x], [y]) is not None


def place_on_earth(dataset: Any, path: Path) -> Place:
    """Places an open raster that has longitudes.

    Raises:
      ValueError: it lies too near to a pole.
    """
    west, south, east, north = _degrees_of(dataset, path)
    south, north = max(south, -LATITUDE), min(north, LATITUDE)
    if south >= north:
        raise ValueError(
            f"{path}: got a raster beyond {LATITUDE:.0f}° of latitude, where Web "
            "Mercator ends, expected one nearer to the equator: look at it in QGIS"
        )
    pixel = _pixel(dataset)
    exact = math.log2(2 * WORLD / (TILE * pixel))
    zoom = min(max(math.ceil(exact - NEARLY), 0), MOST_ZOOM)
    low, high = to_mercator(west, south), to_mercator(east, north)
    box = (*low, *high)
    return Place(tuple(_pieces(dataset, path, box)), box, zoom, pixel, True)


def place_in_pixels(dataset: Any, path: Path, left: int = 0) -> Place:
    """Places an open raster by its pixels.

    Args:
      dataset: of rasterio.
      path: of it.
      left: pixels to its left.
    """
    affine = geo.needed("rasterio").Affine
    side = 2 * WORLD / (TILE * 2**PIXEL_ZOOM)
    transform = affine(side, 0, left * side, 0, -side, 0)
    address = _moved(path, "EPSG:3857", transform)
    east, south = (left + dataset.width) * side, -dataset.height * side
    box = (left * side, south, east, 0.0)
    return Place((Piece(address, box),), box, PIXEL_ZOOM, side, False)


def shared(place: Place, path: Path) -> Place:
    """Another raster of the same pixels at the place of one without longitudes."""
    affine = geo.needed("rasterio").Affine
    side, left = place.pixel, place.box[0]
    address = _moved(path, "EPSG:3857", affine(side, 0, left, 0, -side, 0))
    pieces = (Piece(address, place.box),)
    return Place(pieces, place.box, place.zoom, side, False)


def to_mercator(longitude: float, latitude: float) -> tuple[float, float]:
    """Metres of degrees."""
    angle = math.radians(max(-LATITUDE, min(latitude, LATITUDE)))
    return longitude * WORLD / 180, math.asinh(math.tan(angle)) * WORLD / math.pi


def to_degrees(x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of metres."""
    return x * 180 / WORLD, math.degrees(math.atan(math.sinh(y * math.pi / WORLD)))


def bounds_of(box: Box) -> Box:
    """A box in degrees; its east may be beyond 180."""
    return (*to_degrees(*box[:2]), *to_degrees(*box[2:]))


def overlap(first: Box, second: Box) -> bool:
    """Whether two boxes have an area in common."""
    west, south = max(first[0], second[0]), max(first[1], second[1])
    return west < min(first[2], second[2]) and south < min(first[3], second[3])


def outline_of(dataset: Any) -> Box:
    """Least and greatest coordinates of an open raster in its own system."""
    corners = [(0, 0), (dataset.width, 0), (0, dataset.height)]
    corners.append((dataset.width, dataset.height))
    moved = (ground.moved(dataset.transform, *corner) for corner in corners)
    xs, ys = zip(*moved, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _degrees_of(dataset: Any, path: Path) -> Box:
    """Bounds with west in [-180, 180) and east above it."""
    crs, outline = dataset.crs, outline_of(dataset)
    with geo.explained(path, "has no place on the earth, its georeference is wrong"):
        west, south, east, north = geo.needed("rasterio.warp").transform_bounds(
            crs, ground.LONGITUDE_LATITUDE, *outline
        )
    if not all(map(math.isfinite, (west, south, east, north))):
        raise ValueError(
            f"{path}: got corners outside of its coordinate system, expected them "
            "within: correct its georeference, or cut the file"
        )
    if east < west:
        east += 360
    turns = math.floor((west + 180) / 360)
    west, east = west - 360 * turns, east - 360 * turns
    return west, south, min(east, west + 360), north


def _pixel(dataset: Any) -> float:
    """Shorter side of the middle pixel in Web Mercator, metres."""
    column, row = dataset.width / 2, dataset.height / 2
    points = [(column, row), (column + 1, row), (column, row + 1)]
    moved = [ground.moved(dataset.transform, *point) for point in points]
    found = ground.degrees(dataset.crs, *map(list, zip(*moved, strict=True)))
    if found is None:
        return 1.0
    placed = [to_mercator(*point) for point in zip(*found, strict=True)]
    sides = []
    for x, y in placed[1:]:
        across = (x - placed[0][0] + WORLD) % (2 * WORLD) - WORLD
        sides.append(math.hypot(across, y - placed[0][1]))
    return min(sides) or 1.0


def _pieces(dataset: Any, path: Path, box: Box) -> list[Piece]:
    """The raster on this side of the antimeridian, and on the other."""
    west, south, east, north = box
    here = Piece(str(path), (west, south, min(east, WORLD), north))
    address, crs = str(path), dataset.crs
    if crs.is_geographic:
        # Longitudes from 0 to 360, or beyond 180, are read at what they mean.
        turn = 2 * math.pi / crs.units_factor[1]
        least = ground.moved(dataset.transform, 0, 0)[0]
        shift = round((west / WORLD * turn / 2 - least) / turn) * turn
        here = Piece(_turned(dataset, path, shift), here.box)
        address = _turned(dataset, path, shift - turn) if east > WORLD else address
    if east <= WORLD:
        return [here]
    return [here, Piece(address, (-WORLD, south, east - 2 * WORLD, north))]


def _turned(dataset: Any, path: Path, shift: float) -> str:
    if abs(shift) < 1e-9:
        return str(path)
    affine = geo.needed("rasterio").Affine
    a, b, c, d, e, f = dataset.transform[:6]
    return _moved(path, dataset.crs, affine(a, b, c + shift, d, e, f))


def _moved(path: Path, crs: Any, transform: Any) -> str:
    """A virtual raster over a file that lies elsewhere; GDAL opens its text."""
    rasterio = geo.needed("rasterio")
    with geo.quiet(), rasterio.MemoryFile(ext=".vrt") as memory:
        geo.needed("rasterio.shutil").copy(
            str(path.absolute()), memory.name, driver="VRT"
        )
        with rasterio.open(memory.name, "r+") as file:
            file.crs, file.transform = crs, transform
        text = memory.read().decode()
    return re.sub("<GCPList.*?</GCPList>", "", text, flags=re.DOTALL)

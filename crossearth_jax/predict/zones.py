"""Areas of the classes in polygons of the user's, whatever coordinates they are in.

Each polygon is laid over a map in the map's own pixels, so rotated maps and those
that stand upside down count too, and pixels that it cuts count by their share. Maps
and polygons are read a piece at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo, ground
from crossearth_jax.system import extras

CHUNK = 2_000  # polygons in memory
CELLS = 4_000_000  # pixels in memory
PIECES = 100  # into which an edge as long as the map is cut before it is projected
MARGIN = 0.01  # of the map's extent, for edges that are bent in other coordinates
PIXELS = "EPSG:3857"  # any system, since exactextract wants one: numbers are pixels
POLYGONAL = ("Polygon", "MultiPolygon")


@dataclass(frozen=True)
class Zones:
    """A file of polygons.

    Attributes:
      path: of the file.
      layer: in it.
      crs: as text.
      ids: of its features, sorted.
    """

    path: Path
    layer: str
    crs: str
    ids: Int64[np.ndarray, "Z"]

    def chunks(
        self, columns: Sequence[str] | None = None, bbox: Any = None
    ) -> Iterator[Any]:
        """Data frames with the features' ids as index.

        Args:
          columns: of attributes; None takes all.
          bbox: least and greatest x and y of the features' surroundings.
        """
        read, start = geo.needed("pyogrio").read_dataframe, 0
        while True:
            frame = read(
                self.path,
                layer=self.layer,
                columns=columns,
                bbox=bbox,
                skip_features=start,
                max_features=CHUNK,
                fid_as_index=True,
            )
            if len(frame) or not start:
                yield frame
            if len(frame) < CHUNK:
                return
            start += CHUNK


def open_zones(place: str) -> Zones:
    """Checks a file of polygons.

    Args:
      place: path of anything that GDAL reads, with `|layername=NAME` (as QGIS writes
        it) where it has several layers.

    Raises:
      ValueError: it is no such file, or has no polygons or no coordinate system.
    """
    pyogrio = geo.needed("pyogrio")
    name, _, layer = place.partition("|layername=")
    path = Path(name)
    if not path.exists():
        raise ValueError(f"got --zones {name}, which is not there, expected polygons")
    try:
        layers = pyogrio.list_layers(path)[:, 0].tolist()
        if layer not in layers and (layer or len(layers) != 1):
            raise ValueError(
                f"got --zones {place} with the layers {', '.join(layers)}, expected "
                f"one of them: --zones '{name}|layername={layers[0]}'"
            )
        layer = layer or layers[0]
        info = pyogrio.read_info(path, layer=layer)
        kind, crs = str(info["geometry_type"]), info["crs"]
        _check_kind(place, {kind.split()[0]} - {"Unknown", "GeometryCollection"})
        if crs is None:
            raise ValueError(
                f"got --zones {place} without a coordinate system, expected one: "
                "`ogr2ogr -a_srs EPSG:… new.gpkg FILE` gives it"
            )
        found = pyogrio.raw.read(
            path, layer=layer, columns=[], read_geometry=False, return_fids=True
        )
    except (RuntimeError, IndexError) as error:  # pyogrio's errors
        raise ValueError(
            f"got --zones {place}, which cannot be read ({error}), expected polygons, "
            "such as a GeoPackage"
        ) from error
    return Zones(path, layer, crs, np.sort(np.asarray(found[1], np.int64)))


def _check_kind(place: str | Path, kinds: set[str]) -> None:
    others = sorted(kind for kind in kinds if not kind.endswith("Polygon"))
    if others:
        shown = "no geometry" if others[0] == "None" else f"{others[0]}s"
        raise ValueError(f"got --zones {place} with {shown}, expected polygons")


def areas_in(
    label: Path, zones: Zones, classes: int
) -> Float64[np.ndarray, "Z classes+1"]:
    """Square metres of each class, and without data, in each zone.

    Args:
      label: a class map.
      zones: in any coordinate system.
      classes: their number.

    Raises:
      ValueError: the map has no coordinate system, or a zone is no polygon.
      OSError: the map is damaged.
    """
    found = np.zeros((len(zones.ids), classes + 1))
    with geo.quiet(), geo.needed("rasterio").open(label) as raster:
        check_placed(raster)
        bbox = _bounds(raster, zones.crs)
        for frame in zones.chunks(columns=[], bbox=bbox):
            shapes = _in_pixels(frame, raster, zones, bbox)
            keep = np.flatnonzero(shapes.notna() & ~shapes.is_empty)
            if len(keep):
                rows = np.searchsorted(zones.ids, frame.index.to_numpy()[keep])
                found[rows] += _areas(raster, shapes.iloc[keep], classes)
    return found


def check_placed(raster: Any) -> None:
    """Raises where zones cannot be laid over a raster.

    Raises:
      ValueError: it has no coordinate system.
    """
    if raster.crs is None:
        raise ValueError(
            f"{raster.name}: got --zones for a raster without coordinate system, "
            "expected one: georeference the file first, such as with gdalwarp"
        )


def _bounds(raster: Any, crs: str) -> tuple[float, float, float, float] | None:
    """Of a map in the zones' coordinates, with a margin; None if it has none there."""
    warp = geo.needed("rasterio.warp")
    try:
        found = warp.transform_bounds(raster.crs, crs, *_outline(raster))
    except (geo.needed("rasterio.errors").RasterioError, geo.gdal_error()):
        return None
    left, bottom, right, top = found
    if not np.isfinite(found).all() or left >= right:  # across the antimeridian
        return None
    x, y = MARGIN * (right - left), MARGIN * (top - bottom)
    return left - x, bottom - y, right + x, top + y


def _outline(raster: Any) -> tuple[float, float, float, float]:
    """Least and greatest coordinates, of rotated rasters too."""
    corners = [(0, 0), (raster.width, 0), (0, raster.height)]
    corners.append((raster.width, raster.height))
    moved = (ground.moved(raster.transform, *corner) for corner in corners)
    xs, ys = zip(*moved, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _in_pixels(frame: Any, raster: Any, zones: Zones, bbox: Any) -> Any:
    """Zones as columns and negative rows of a map, cut off far outside of it."""
    shapely = geo.needed("shapely")
    geometry = frame.geometry
    _check_kind(zones.path, set(geometry.geom_type.dropna()) - {"GeometryCollection"})
    shapes = geometry.to_numpy().copy()
    wrong = ~(shapely.is_valid(shapes) | shapely.is_missing(shapes))
    shapes[wrong] = shapely.make_valid(shapes[wrong])
    crs = raster.crs.to_wkt()
    if bbox is not None:  # what lies far outside may have no place in the map's system
        shapes = shapely.clip_by_rect(shapes, *bbox)
        if geometry.crs != crs:
            longest = max(bbox[2] - bbox[0], bbox[3] - bbox[1]) / PIECES
            shapes = shapely.segmentize(shapes, longest)
    placed = geometry.__class__(shapes, crs=geometry.crs).to_crs(crs).to_numpy()
    inverse = ~raster.transform

    def to_pixels(points: np.ndarray) -> np.ndarray:
        columns, rows = ground.moved(inverse, *points.T)
        return np.stack([columns, -rows], 1)

    shapes = [_polygons(shape) for shape in shapely.transform(placed, to_pixels)]
    return geometry.__class__(shapes, crs=PIXELS)


def _polygons(shape: Any) -> Any:
    """Without the lines and points that cutting and mending leave."""
    shapely = geo.needed("shapely")
    if shape is None or shape.geom_type in POLYGONAL:
        return shape
    parts = [p for p in shapely.get_parts(shape) if p.geom_type in POLYGONAL]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _areas(
    raster: Any, shapes: Any, classes: int
) -> Float64[np.ndarray, "z classes+1"]:
    extract = extras.needed("exactextract", "--zones", "zones").exact_extract
    geopandas = geo.needed("geopandas")
    ids, weights = _sources(raster)
    frame = geopandas.GeoDataFrame(geometry=shapes.reset_index(drop=True))
    how = {"output": "pandas", "max_cells_in_memory": CELLS}
    with geo.explained(raster.name, "cannot be read, the file may be damaged"):
        shares = extract(
            ids, frame, ["unique", "weighted_frac"], weights=weights, **how
        )
        totals = extract(weights, frame, ["sum"], **how)["sum"].to_numpy()
    found = np.zeros((len(frame), classes + 1))
    pairs = zip(shares["unique"], shares["weighted_frac"], strict=True)
    for row, (values, parts) in enumerate(pairs):
        column = np.where(np.asarray(values) == IGNORE, classes, values).astype(int)
        found[row, column] = np.asarray(parts) * totals[row]
    return found


def _sources(raster: Any) -> tuple[Any, Any]:
    """A map's class ids and the area of each pixel, as exactextract reads rasters."""
    window = geo.needed("rasterio.windows").Window
    base = extras.needed("exactextract.raster", "--zones", "zones").RasterSource
    by_row = ground.pixel_areas(raster)
    system = geo.needed("pyproj").CRS.from_user_input(PIXELS).to_wkt()

    class Pixels(base):
        def res(self) -> tuple[float, float]:
            return 1.0, 1.0

        def extent(self) -> tuple[float, float, float, float]:
            return 0.0, -float(raster.height), float(raster.width), 0.0

        def nodata_value(self) -> None:
            return None  # pixels without data are counted, as such

        def srs_wkt(self) -> str:
            return system

    class Ids(Pixels):
        def read_window(self, x: int, y: int, columns: int, rows: int) -> np.ndarray:
            return raster.read(1, window=window(x, y, columns, rows), masked=False)

    class Areas(Pixels):
        def read_window(self, x: int, y: int, columns: int, rows: int) -> np.ndarray:
            return np.repeat(by_row[y : y + rows, None], columns, 1)

    return Ids(), Areas()

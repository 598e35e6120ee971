"""Class maps to polygons: GeoPackage or GeoJSON, a feature per connected area.

Read a strip at a time, so that only the polygons themselves are in memory, and of
these no more than a chunk.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo, ground
from crossearth_jax.predict.antimeridian import cut_at_180
from crossearth_jax.predict.map_tags import FINGERPRINT, UNIT
from crossearth_jax.predict.map_tags import POLYGONS as LAYER
from crossearth_jax.predict.polygon_means import polygon_means
from crossearth_jax.system.escape import terminal

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
CHUNK = 20_000  # polygons in memory
STRIP = 1024  # rows sieved at a time


@dataclass(frozen=True)
class Place:
    """Where a class map lies.

    Attributes:
      crs: None if polygons are in pixels, or in what the transform makes of them.
      pixel: area of a pixel in units of the transform.
      middle: longitude of the centre; None without one.
    """

    crs: Any
    pixel: float
    middle: float | None


def place_of(raster: Any) -> Place:
    """The place of an open raster."""
    pixel = abs(raster.transform.determinant)
    if raster.crs is None:
        return Place(None, pixel, None)
    x, y = ground.centre(raster)
    there = ground.degrees(raster.crs, [x], [y])
    return Place(raster.crs, pixel, None if there is None else there[0][0])


def check_place(raster: Any, target: Path) -> None:
    """Raises before any work if the polygons of a raster cannot be GeoJSON.

    Raises:
      ValueError: GeoJSON is asked for, which has longitudes and latitudes alone.
    """
    if DRIVERS[target.suffix] == "GeoJSON" and place_of(raster).middle is None:
        system = "no coordinate system" if raster.crs is None else "a local system"
        raise ValueError(
            f"{raster.name}: got --vector {target.suffix[1:]} for a raster with "
            f"{system}, expected one with longitude and latitude, which GeoJSON is in: "
            "pass --vector gpkg, or georeference the file first"
        )


def layers_of(path: Path) -> list[str]:
    """Names of the layers of a GeoPackage; none if it is none."""
    try:
        return geo.needed("pyogrio").list_layers(path)[:, 0].tolist()
    except RuntimeError:  # pyogrio's errors
        return []


def write_polygons(
    label: Path,
    target: Path,
    classes: ClassSet,
    *,
    specks: int,
    scratch: Path,
    mark: str = "",
    beside: Path | None = None,
    trust: Path | None = None,
) -> int:
    """Writes one feature per connected area of a class.

    Columns: `class_id`, `class`, `area_m2`, or `area_px` where the map has no
    coordinate system, and of `trust` its mean. The area is planar in a projected
    coordinate system, and geodesic in a geographic one and in Web Mercator.

    Args:
      label: class map; 255 becomes no polygon.
      target: .gpkg or .geojson; GeoJSON is in longitude and latitude.
      classes: names.
      specks: areas of fewer pixels are given to their largest neighbour.
      scratch: folder for what is needed in between.
      mark: what the polygons are made of, kept in the file.
      beside: a GeoPackage whose other layers are kept.
      trust: raster of the chance that a pixel's class is right, in 250ths.

    Returns:
      The number of features.

    Raises:
      OSError: the file cannot be written, or `beside` cannot be read.
    """
    rasterio = geo.needed("rasterio")
    if beside is not None and beside.suffix == ".gpkg" and beside.exists():
        if [name for name in layers_of(beside) if name != LAYER]:
            shutil.copyfile(beside, target)
    with geo.quiet(), geo.written(target), rasterio.open(label) as file:
        place = place_of(file)
        if specks > 1:
            sieved = scratch / "sieved.tif"
            _sieve(file, sieved, specks)
            with rasterio.open(sieved) as clean:
                return _write(_shapes(clean), target, classes, place, mark, trust)
        return _write(_shapes(file), target, classes, place, mark, trust)


def _sieve(file: Any, target: Path, specks: int) -> None:
    """Removes specks strip by strip.

    A strip is read with a margin that a speck cannot cross, so what is a speck does
    not depend on the strips.
    """
    rasterio = geo.needed("rasterio")
    features = geo.needed("rasterio.features")
    window = geo.needed("rasterio.windows").Window
    profile = {
        "driver": "GTiff",
        "width": file.width,
        "height": file.height,
        "count": 1,
        "dtype": "uint8",
        "nodata": IGNORE,
        "crs": file.crs,
        "transform": file.transform,
        "compress": "lzw",
        "blockysize": 16,
        "bigtiff": "if_safer",
    }
    with rasterio.open(target, "w", **profile) as clean:
        for start in range(0, file.height, STRIP):
            stop = min(start + STRIP, file.height)
            first, last = max(0, start - specks), min(file.height, stop + specks)
            rows = file.read(1, window=window(0, first, file.width, last - first))
            size = min(specks, rows.size - 1)  # GDAL takes no more
            sieved = rows
            if size > 1:
                sieved = features.sieve(rows, size, mask=rows != IGNORE)
                sieved[rows == IGNORE] = IGNORE
            core = sieved[start - first : stop - first]
            clean.write(core, 1, window=window(0, start, file.width, stop - start))


def _shapes(file: Any) -> Iterator[tuple[dict, int]]:
    """Polygons in map coordinates, and their classes."""
    rasterio = geo.needed("rasterio")
    features = geo.needed("rasterio.features")
    band = rasterio.band(file, 1)
    for shape, value in features.shapes(band, transform=file.transform):
        if int(value) != IGNORE:
            yield shape, int(value)


def _write(
    shapes: Iterable[tuple[dict, int]],
    target: Path,
    classes: ClassSet,
    place: Place,
    mark: str,
    trust: Path | None,
) -> int:
    shapes, count = iter(shapes), 0
    while (chunk := list(islice(shapes, CHUNK))) or count == 0:
        frame = _frame(chunk, classes, place, trust)
        if DRIVERS[target.suffix] == "GeoJSON" and place.middle is not None:
            frame = frame.to_crs("EPSG:4326")  # RFC 7946
            frame = frame.set_geometry(cut_at_180(frame.geometry, place.middle))
        _append(frame, target, count == 0, mark)
        count += len(chunk)
        if len(chunk) < CHUNK:
            break
    return count


def _append(frame: Any, target: Path, is_new: bool, mark: str) -> None:
    driver, mode = DRIVERS[target.suffix], "w" if is_new else "a"
    about: dict[str, Any] = {}
    if is_new and driver == "GPKG":
        about = {"layer_metadata": {FINGERPRINT: mark}}
    elif is_new:
        about = {"DESCRIPTION": f"{FINGERPRINT}={mark}"}
    options = {"driver": driver, "layer": LAYER, "engine": "pyogrio", "mode": mode}
    try:
        frame.to_file(target, **options, **about)
    except RuntimeError as error:  # pyogrio's errors
        raise OSError(f"{target}: cannot be written ({error})") from error


def _frame(
    chunk: Sequence[tuple[dict, int]],
    classes: ClassSet,
    place: Place,
    trust: Path | None,
) -> Any:
    geopandas = geo.needed("geopandas")
    shape = geo.needed("shapely.geometry").shape
    crs = _crs_text(place.crs)
    geometry = geopandas.GeoSeries([shape(s) for s, _ in chunk], crs=crs)
    ids = np.array([value for _, value in chunk], np.int32)
    shown = [terminal(name) for name in classes.names]
    names = [shown[k] for k in ids.tolist()]
    name = "area_px" if crs is None else "area_m2"
    columns = {"class_id": ids, "class": names, name: _areas(geometry, place)}
    if trust is not None:
        means = polygon_means(trust, list(geometry), nodata=IGNORE, unit=UNIT)
        columns["trust"] = means.round(3)
    return geopandas.GeoDataFrame(columns, geometry=geometry)


def _areas(geometry: Any, place: Place) -> np.ndarray:
    """Square metres, or pixels without a coordinate system."""
    crs = place.crs
    if crs is None:
        return geometry.area.to_numpy() / place.pixel
    if crs.to_epsg() == ground.WEB_MERCATOR:
        geometry = geometry.to_crs("EPSG:4326")
    elif not crs.is_geographic:
        return geometry.area.to_numpy() * ground.metres_per_unit(crs) ** 2
    geod = geometry.crs.get_geod()
    return np.array([abs(geod.geometry_area_perimeter(g)[0]) for g in geometry])


def _crs_text(crs: Any) -> str | None:
    """An EPSG code where there is one: it survives all formats."""
    if crs is None:
        return None
    code = crs.to_epsg()
    return crs.to_wkt() if code is None else f"EPSG:{code}"

"""Class maps to polygons: GeoPackage or GeoJSON, a feature per connected area.

Read a strip at a time, so that only the polygons themselves are in memory, and of
these no more than a chunk.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.predict.write import UNWRITTEN, quiet
from crossearth_jax.system.escape import terminal

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
LAYER = "classes"
CHUNK = 20_000  # polygons in memory
WEB_MERCATOR = 3857  # its areas grow with the latitude: +27 % at 27.6 degrees
STRIP = 1024  # rows sieved at a time


def write_polygons(
    label: Path, target: Path, classes: ClassSet, *, specks: int, scratch: Path
) -> int:
    """Writes one feature per connected area of a class.

    Columns: `class_id`, `class`, and `area_m2`, or `area_px` where the map has no
    coordinate system. The area is planar in a projected coordinate system, and geodesic
    in a geographic one and in Web Mercator.

    Args:
      label: class map; 255 becomes no polygon.
      target: .gpkg or .geojson; GeoJSON is in longitude and latitude.
      classes: names.
      specks: areas of fewer pixels are given to their largest neighbour.
      scratch: folder for what is needed in between.

    Returns:
      The number of features.
    """
    rasterio = geo.needed("rasterio")
    with (
        quiet(),
        geo.explained(target, UNWRITTEN),
        rasterio.open(label) as file,
    ):
        if specks > 1:
            sieved = scratch / "sieved.tif"
            _sieve(file, sieved, specks)
            with rasterio.open(sieved) as clean:
                return _write(_shapes(clean), target, classes, file.crs)
        return _write(_shapes(file), target, classes, file.crs)


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
            sieved = features.sieve(rows, specks, mask=rows != IGNORE)
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
    shapes: Iterable[tuple[dict, int]], target: Path, classes: ClassSet, crs: Any
) -> int:
    shapes, count = iter(shapes), 0
    while (chunk := list(islice(shapes, CHUNK))) or count == 0:
        frame = _frame(chunk, classes, crs)
        if DRIVERS[target.suffix] == "GeoJSON" and crs is not None:
            frame = frame.to_crs("EPSG:4326")  # RFC 7946
        _append(frame, target, count == 0)
        count += len(chunk)
        if len(chunk) < CHUNK:
            break
    return count


def _append(frame: Any, target: Path, is_new: bool) -> None:
    driver, mode = DRIVERS[target.suffix], "w" if is_new else "a"
    try:
        frame.to_file(target, driver=driver, layer=LAYER, engine="pyogrio", mode=mode)
    except RuntimeError as error:  # pyogrio's errors
        raise OSError(f"{target}: {UNWRITTEN} ({error})") from error


def _frame(chunk: Sequence[tuple[dict, int]], classes: ClassSet, crs: Any) -> Any:
    geopandas = geo.needed("geopandas")
    shape = geo.needed("shapely.geometry").shape
    geometry = geopandas.GeoSeries([shape(s) for s, _ in chunk], crs=_crs_text(crs))
    ids = np.array([value for _, value in chunk], np.int32)
    shown = [terminal(name) for name in classes.names]
    names = [shown[k] for k in ids.tolist()]
    name = "area_px" if crs is None else "area_m2"
    columns = {"class_id": ids, "class": names, name: _areas(geometry, crs)}
    return geopandas.GeoDataFrame(columns, geometry=geometry)


def _areas(geometry: Any, crs: Any) -> np.ndarray:
    """Square metres, or pixels without a coordinate system."""
    if crs is None:
        return geometry.area.to_numpy()
    if crs.to_epsg() == WEB_MERCATOR:
        geometry = geometry.to_crs("EPSG:4326")
    elif not crs.is_geographic:
        return geometry.area.to_numpy() * crs.linear_units_factor[1] ** 2
    geod = geometry.crs.get_geod()
    return np.array([abs(geod.geometry_area_perimeter(g)[0]) for g in geometry])


def _crs_text(crs: Any) -> str | None:
    """An EPSG code where there is one: it survives all formats."""
    if crs is None:
        return None
    code = crs.to_epsg()
    return crs.to_wkt() if code is None else f"EPSG:{code}"

"""Where a raster lies on the earth, and how large its pixels are there."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from crossearth_jax.predict import geo

RADIUS = 6_371_008.8  # of the mean sphere, metres
ALIKE = 0.01  # a projection whose scale is off by less counts as true to scale
LONGITUDE_LATITUDE = "OGC:CRS84"
WEB_MERCATOR = 3857  # its areas grow with the latitude: +27 % at 27.6 degrees


def moved(transform: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Coordinates, or arrays of them, after an affine transform.

    (Its own operator for this is changing from `*` to `@`.)
    """
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def centre(dataset: Any) -> tuple[float, float]:
    """Map coordinates of the middle of a raster."""
    return moved(dataset.transform, dataset.width / 2, dataset.height / 2)


def degrees(
    crs: Any, xs: list[float], ys: list[float]
) -> tuple[list[float], list[float]] | None:
    """Longitudes and latitudes, or None where the coordinate system has none.

    Engineering and local systems have none, nor does a point outside of a projection.
    """
    warp = geo.needed("rasterio.warp")
    failed = geo.needed("rasterio.errors").RasterioError, geo.gdal_error()
    try:
        found = warp.transform(crs, LONGITUDE_LATITUDE, xs, ys)[:2]
    except failed:
        return None
    return found if np.isfinite(found).all() else None


def pixel_metres(dataset: Any) -> tuple[float, float]:
    """Width and height of a pixel on the ground, in metres, at the scene's centre.

    Web Mercator and other projections of the world stretch lengths: there, as in
    degrees, the distance is measured on the sphere.

    Raises:
      ValueError: the raster has no coordinate system, so its pixels have no size.
    """
    if dataset.crs is None:
        raise ValueError(
            f"{dataset.name}: got --gsd for a raster without coordinate system, "
            "expected one: leave --gsd out, or georeference the file first"
        )
    step = dataset.transform
    sides = (step.a, step.d), (step.b, step.e)
    x, y = centre(dataset)
    halves = [(s * dx / 2, s * dy / 2) for dx, dy in sides for s in (-1, 1)]
    ends = [(x + dx, y + dy) for dx, dy in halves]
    measured = degrees(dataset.crs, *map(list, zip(*ends, strict=True)))
    nominal = [math.hypot(*side) * metres_per_unit(dataset.crs) for side in sides]
    if measured is None:
        return nominal[0], nominal[1]
    (west, east, top, bottom) = zip(*measured, strict=True)
    across, down = _distance(west, east), _distance(top, bottom)
    if dataset.crs.is_geographic:
        return across, down
    pairs = zip((across, down), nominal, strict=True)
    across, down = (n if abs(m / n - 1) < ALIKE else m for m, n in pairs)
    return across, down


def metres_per_unit(crs: Any) -> float:
    """Metres of a unit of length; 1 for degrees, whose length depends on the place."""
    if crs.is_geographic:
        return 1.0
    axes = geo.needed("pyproj").CRS.from_wkt(crs.to_wkt()).axis_info
    return axes[0].unit_conversion_factor if axes else 1.0


def pixel_areas(dataset: Any) -> Float64[np.ndarray, "H"]:
    """Square metres of a pixel of each row.

    On the ellipsoid in degrees and in Web Mercator, whose pixels differ with latitude;
    planar in other systems.
    """
    crs, step = dataset.crs, dataset.transform
    pixel = abs(step.determinant)
    is_mercator = crs.to_epsg() == WEB_MERCATOR
    if not (crs.is_geographic or is_mercator):
        return np.full(dataset.height, pixel * metres_per_unit(crs) ** 2)
    y = step.d * dataset.width / 2 + step.e * (np.arange(dataset.height) + 0.5) + step.f
    geod = geo.needed("pyproj").CRS.from_wkt(crs.to_wkt()).get_geod()
    if is_mercator:
        latitude = np.arctan(np.sinh(y / geod.a))
        pixel *= np.cos(latitude) / geod.a**2
    else:
        unit = crs.units_factor[1]  # radians
        latitude, pixel = y * unit, pixel * unit**2
    # M N cos φ, the product of both radii of curvature and of the parallel's share.
    return (
        pixel
        * geod.a**2
        * (1 - geod.es)
        * np.cos(latitude)
        / (1 - geod.es * np.sin(latitude) ** 2) ** 2
    )


def _distance(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Great-circle distance of two points in degrees, by haversines."""
    (a, u), (b, v) = np.radians(here), np.radians(there)
    chord = math.sin((v - u) / 2) ** 2
    chord += math.cos(u) * math.cos(v) * math.sin((b - a) / 2) ** 2
    return 2 * RADIUS * math.asin(math.sqrt(chord))

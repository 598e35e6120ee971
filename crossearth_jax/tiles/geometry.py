"""Features of a label file as polygons in a scene's coordinate system."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.predict import geo
from crossearth_jax.system.escape import quoted
from crossearth_jax.tiles.scenes import TiledScene

# Shapely's numbers of geometry types.
POINTS, LINES, POLYGONS, COLLECTION = (0, 4), (1, 2, 5), (3, 6), 7
MARGIN = 0.1  # of a scene's side, beyond which large polygons are cut off


@dataclass(frozen=True)
class Polygons:
    """Polygons in a scene's coordinate system.

    Attributes:
      shapes: shapely geometries.
      rows: which feature each came from.
      repaired: how many features were invalid.
    """

    shapes: np.ndarray
    rows: np.ndarray
    repaired: int


def polygons_of(
    shapes: np.ndarray,
    crs: Any,
    scene: TiledScene,
    path: Path,
    *,
    buffer: float | None,
    strict: bool,
) -> Polygons:
    """Checks, repairs, cuts off and transforms features.

    Args:
      shapes: shapely geometries, perhaps None.
      crs: theirs, of pyproj.
      scene: whose coordinate system is wanted.
      path: for messages.
      buffer: metres to either side of lines.
      strict: refuse invalid geometries instead of repairing them.

    Raises:
      ValueError: features are points, lines without a width, or invalid.
    """
    shapely = geo.needed("shapely")
    shapes, rows = _parts(shapes)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    shapes, rows = shapely.force_2d(shapes[there]), rows[there]
    kinds = shapely.get_type_id(shapes)
    _check_kinds(kinds, path, buffer)
    wrong = ~shapely.is_valid(shapes)
    if wrong.any() and strict:
        first = int(np.flatnonzero(wrong)[0])
        reason = quoted(shapely.is_valid_reason(shapes[first]))
        raise ValueError(
            f"{path}: got {wrong.sum()} invalid geometries (feature {rows[first] + 1}: "
            f"{reason}), expected none with --strict: repair them, such as with QGIS's "
            "Fix geometries, or leave --strict out"
        )
    shapes[wrong] = shapely.make_valid(shapes[wrong])
    shapes = _near(shapes, crs, scene, buffer)
    shapes = _transformed(shapes, crs, scene)
    is_line = np.isin(kinds, LINES)
    if is_line.any() and buffer is not None:
        shapes[is_line] = _widened(shapes[is_line], scene, buffer)
    shapes, kept = _polygonal(shapes)
    return Polygons(shapes, rows[kept], int(wrong.sum()))


def _parts(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Collections as what they hold, and which feature each part is of."""
    shapely = geo.needed("shapely")
    rows = np.arange(len(shapes))
    if not (shapely.get_type_id(shapes) == COLLECTION).any():
        return shapes.copy(), rows
    parts = [
        (part, row)
        for shape, row in zip(shapes, rows.tolist(), strict=True)
        for part in (
            shapely.get_parts(shape)
            if shapely.get_type_id(shape) == COLLECTION
            else [shape]
        )
    ]
    return np.array([p for p, _ in parts], object), np.array([r for _, r in parts], int)


def _check_kinds(kinds: np.ndarray, path: Path, buffer: float | None) -> None:
    points, lines = np.isin(kinds, POINTS).sum(), np.isin(kinds, LINES).sum()
    if points:
        raise ValueError(
            f"{path}: got {points} points, expected polygons: a point does not say "
            "which pixels it means; draw outlines, or buffer the points to their size "
            "first, such as with QGIS's Buffer"
        )
    if lines and buffer is None:
        raise ValueError(
            f"{path}: got {lines} lines, expected polygons: pass --buffer METRES, half "
            "of the lines' width, or leave them out with --where"
        )


def _near(
    shapes: np.ndarray, crs: Any, scene: TiledScene, buffer: float | None
) -> np.ndarray:
    """Cuts off what lies far from the scene, where transformations may fail."""
    shapely = geo.needed("shapely")
    box = bounds_in(scene, crs, buffer or 0.0)
    if box is None:
        return shapes
    low_x, low_y, high_x, high_y = shapely.bounds(shapes).T
    beyond = (low_x < box[0]) | (low_y < box[1]) | (high_x > box[2]) | (high_y > box[3])
    shapes[beyond] = shapely.intersection(shapes[beyond], shapely.box(*box))
    return shapes


def bounds_in(
    scene: TiledScene, crs: Any, buffer: float = 0.0, margin: float = MARGIN
) -> tuple[float, float, float, float] | None:
    """A scene's extent and a margin in another coordinate system.

    Args:
      scene: the scene.
      crs: of pyproj.
      buffer: metres more.
      margin: share of the longer side more.

    Returns:
      West, south, east and north; None where there is no such box, as across ±180°.
    """
    warp = geo.needed("rasterio.warp")
    west, south, east, north = extent(scene)
    more = margin * max(east - west, north - south) + buffer * scene.per_metre
    wide = west - more, south - more, east + more, north + more
    failed = geo.needed("rasterio.errors").RasterioError, geo.gdal_error()
    try:
        found = warp.transform_bounds(scene.grid.crs, crs.to_wkt(), *wide)
    except failed:
        return None
    is_box = np.isfinite(found).all() and found[0] < found[2] and found[1] < found[3]
    return found if is_box else None


def extent(scene: TiledScene) -> tuple[float, float, float, float]:
    """West, south, east and north of a scene, rotated or not."""
    a, b, c, d, e, f = scene.grid.transform[:6]
    corners = [(x, y) for x in (0, scene.grid.width) for y in (0, scene.grid.height)]
    xs = [a * x + b * y + c for x, y in corners]
    ys = [d * x + e * y + f for x, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _transformed(shapes: np.ndarray, crs: Any, scene: TiledScene) -> np.ndarray:
    """Geometries in the scene's coordinate system, long edges bent as they must."""
    shapely = geo.needed("shapely")
    target = crs_of(scene.grid.crs)
    if crs.equals(target, ignore_axis_order=True):
        return shapes
    pyproj = geo.needed("pyproj")
    # An edge of s metres strays by s² / 8R from a straight one: a 1000th of a pixel.
    longest = 200 * scene.gsd**0.5
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    step = longest / 111_320 if crs.is_geographic else longest / unit
    shapes = shapely.segmentize(shapes, step)
    change = pyproj.Transformer.from_crs(crs, target, always_xy=True)

    def moved(points: np.ndarray) -> np.ndarray:
        return np.stack(change.transform(points[:, 0], points[:, 1]), 1)

    return shapely.transform(shapes, moved)


def _widened(lines: np.ndarray, scene: TiledScene, buffer: float) -> np.ndarray:
    """Lines with a width, in the scene's coordinate system.

    Degrees are not as wide as they are high, so lines are widened between scalings.
    """
    shapely = geo.needed("shapely")
    step = scene.grid.transform
    wide, high = (step.a**2 + step.d**2) ** 0.5, (step.b**2 + step.e**2) ** 0.5
    across, down = scene.pixel
    per_metre = np.array([wide / across, high / down])
    flat = shapely.transform(lines, lambda points: points / per_metre)
    flat = shapely.buffer(flat, buffer)
    return shapely.transform(flat, lambda points: points * per_metre)


def _polygonal(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Valid polygons among what repairs left, and which geometry each came from."""
    shapely = geo.needed("shapely")
    finite = np.isfinite(shapely.bounds(shapes)).all(1)
    wrong = finite & ~shapely.is_valid(shapes)
    shapes[wrong] = shapely.make_valid(shapes[wrong])
    parts, index = shapely.get_parts(shapes[finite], return_index=True)
    rows = np.flatnonzero(finite)[index]
    for _ in range(2):  # collections may hold multipolygons
        parts, index = shapely.get_parts(parts, return_index=True)
        rows = rows[index]
    good = shapely.get_type_id(parts) == POLYGONS[0]
    good &= ~shapely.is_empty(parts)
    return parts[good], rows[good]


def crs_of(crs: Any) -> Any:
    """Rasterio's coordinate system as pyproj's."""
    return geo.needed("pyproj").CRS.from_wkt(crs.to_wkt())


def crs_name(crs: Any) -> str:
    """EPSG:32645, or the name of a coordinate system without a number.

    Args:
      crs: of pyproj.
    """
    code = crs.to_authority(min_confidence=70)
    return ":".join(code) if code else crs.name


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of geometries, one behind the other."""
    return np.concatenate([np.empty(0, object), *parts])

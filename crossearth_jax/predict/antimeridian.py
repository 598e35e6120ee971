"""Polygons in degrees, cut at ±180° as GeoJSON asks (RFC 7946, 3.1.9)."""

from typing import Any

import numpy as np

from crossearth_jax.predict import geo

TURN = 360.0


def cut_at_180(geometry: Any, middle: float) -> Any:
    """Cuts what crosses the antimeridian, and moves what lies beyond it.

    Args:
      geometry: polygons in degrees; those of a scene across ±180° have longitudes of
        both signs.
      middle: longitude of the scene's centre; no polygon is further away than 180°.

    Returns:
      The polygons, or multipolygons, all within ±180°.
    """
    shapely = geo.needed("shapely")

    def near(points: np.ndarray) -> np.ndarray:
        turns = np.round((points[:, 0] - middle) / TURN)
        far = np.abs(points[:, 0] - middle) > TURN / 2 + 1e-9
        return points - np.stack([far * turns * TURN, 0 * turns], 1)

    shapes = shapely.transform(geometry.to_numpy(), near)
    west, _, east, _ = shapely.bounds(shapes).T
    for i in np.flatnonzero((west < -TURN / 2) | (east > TURN / 2)):
        shapes[i] = _within(shapes[i])
    return geometry.__class__(shapes, crs=geometry.crs)


def _within(shape: Any) -> Any:
    """One polygon's parts, each in its turn of the globe."""
    shapely = geo.needed("shapely")
    affinity = geo.needed("shapely.affinity")
    parts = []
    for turn in (-1, 0, 1):
        middle = turn * TURN
        world = shapely.box(middle - TURN / 2, -90, middle + TURN / 2, 90)
        part = affinity.translate(shapely.intersection(shape, world), -middle)
        found = shapely.get_parts(part)
        parts += [p for p in found if p.geom_type == "Polygon" and not p.is_empty]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)

"""Where a scene is labelled: what nothing covers is background there, else ignored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.tiles.geometry import (
    bounds_in,
    crs_name,
    crs_of,
    extent,
    polygons_of,
)
from crossearth_jax.tiles.layers import Layer, features_of
from crossearth_jax.tiles.scenes import TiledScene
from crossearth_jax.tiles.settings import HULL, SCENE, LabelSettings

CLIPPED = 8  # pixels around a window that clipping keeps


@dataclass(frozen=True)
class Area:
    """The labelled area of a scene.

    Attributes:
      scene: the scene.
      shape: in its coordinate system; None is all of it.
    """

    scene: TiledScene
    shape: Any

    def within(self, boxes: np.ndarray) -> Bool[np.ndarray, "n"]:
        """Which of some polygons in map coordinates touch the area."""
        shapely = geo.needed("shapely")
        if self.shape is None:
            return np.ones(len(boxes), bool)
        shapely.prepare(self.shape)
        return shapely.intersects(self.shape, boxes)

    def ignore_outside(
        self, ids: UInt8[np.ndarray, "h w"], top: int, left: int
    ) -> None:
        """Writes 255 into what lies outside; `ids` begins at a row and column."""
        if self.shape is None:
            return
        shapely = geo.needed("shapely")
        height, width = ids.shape
        frame = box_of(self.scene, top, left, height, width, CLIPPED)
        shape = shapely.intersection(self.shape, frame)
        outside = np.ones(ids.shape, np.uint8)
        if not shapely.is_empty(shape):
            transform = self.scene.transform_at(top, left)
            features = geo.needed("rasterio.features")
            features.rasterize([(shape, 0)], out=outside, transform=transform)
        ids[outside == 1] = IGNORE


def labelled_area(asked: LabelSettings, scene: TiledScene, shapes: np.ndarray) -> Area:
    """The labelled area of a scene.

    Args:
      asked: `area` is "scene", "hull" or a file.
      scene: the scene.
      shapes: its polygons, in its coordinate system.

    Raises:
      ValueError: the area's file does not reach the scene, or holds no polygon.
    """
    shapely = geo.needed("shapely")
    if asked.area == SCENE:
        return Area(scene, None)
    if asked.area == HULL:
        hull = shapely.convex_hull(shapely.GeometryCollection(shapes.tolist()))
        return Area(scene, hull)
    layer = Layer.of(Path(asked.area), None)
    found, _ = features_of(layer, bounds_in(scene, layer.crs), None, None)
    polygons = polygons_of(
        found, layer.crs, scene, layer.path, buffer=None, strict=asked.strict
    )
    shape = shapely.union_all(polygons.shapes)
    if not shapely.intersects(shape, shapely.box(*extent(scene))):
        name = crs_name(crs_of(scene.grid.crs))
        raise ValueError(
            f"{scene.source}: got --area {asked.area}, which does not reach the scene "
            f"({name}), expected the area that is labelled: correct it, or leave the "
            "scene out"
        )
    return Area(scene, shape)


def box_of(
    scene: TiledScene, top: int, left: int, height: int, width: int, margin: int = 0
) -> Any:
    """A window, and pixels around it, as a polygon in map coordinates."""
    a, b, c, d, e, f = scene.grid.transform[:6]
    y0, y1 = top - margin, top + height + margin
    x0, x1 = left - margin, left + width + margin
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    points = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    return geo.needed("shapely").Polygon(points)

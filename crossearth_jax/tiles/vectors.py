"""Label files of polygons: their classes, and class ids of any window of a scene."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.system.escape import quoted
from crossearth_jax.tiles.area import CLIPPED, box_of, labelled_area
from crossearth_jax.tiles.geometry import bounds_in, crs_name, joined, polygons_of
from crossearth_jax.tiles.layers import Box, Layer, column_values, features_of
from crossearth_jax.tiles.scene_labels import ReadIds, SceneLabels, no_overlap
from crossearth_jax.tiles.scenes import TiledScene
from crossearth_jax.tiles.settings import LabelSettings, check_class_name

MANY_POINTS = 500  # of a polygon that is clipped before it is burnt


class VectorLabels:
    """Label files of polygons.

    Args:
      layers: of the files, in order.
      asked: how they become class ids.

    Raises:
      ValueError: it is not clear what classes there are.
    """

    def __init__(self, layers: Sequence[Layer], asked: LabelSettings) -> None:
        self.layers, self.asked = layers, asked
        if asked.attribute is None and asked.burn is None:
            columns = ", ".join(map(quoted, layers[0].fields)) or "none"
            raise ValueError(
                f"{layers[0].path}: got neither --attribute nor --burn, expected one: "
                "--burn NAME gives all polygons one class, --attribute COLUMN takes it "
                f"from a column; columns are {columns}"
            )
        self.names = self._names()
        self.background = None if asked.background is None else 0
        unknown = [name for name in asked.order if name not in self.names]
        if unknown:
            raise ValueError(
                f"got --order with {quoted(unknown[0])}, expected classes of "
                f"{', '.join(map(quoted, self.names))}"
            )

    def _names(self) -> tuple[str, ...]:
        """The background, and the classes in the order of their names."""
        first = [] if self.asked.background is None else [self.asked.background]
        if self.asked.burn is not None:
            found = {self.asked.burn}
        else:
            column = str(self.asked.attribute)
            values = [column_values(x, column, self.asked.where) for x in self.layers]
            found = {value for several in values for value in several if value}
            for name in found:
                check_class_name(f"--attribute {quoted(column)}", name)
        return (*first, *sorted(found - set(first), key=_natural))

    def over(self, scene: TiledScene) -> SceneLabels:
        """The labels of one scene.

        Raises:
          ValueError: no label file reaches the scene, or geometries are unusable.
        """
        buffer = self.asked.buffer or 0.0
        boxes = [bounds_in(scene, layer.crs, buffer) for layer in self.layers]
        pairs = list(zip(self.layers, boxes, strict=True))
        near = [(layer, box) for layer, box in pairs if layer.reaches(box)]
        if not near:
            layer, here = self.layers[0], bounds_in(scene, self.layers[0].crs, margin=0)
            raise no_overlap(scene, layer.path, layer.box, here, crs_name(layer.crs))
        parts, repaired = [], 0
        for layer, box in near:
            found, ids, wrong = self._polygons(scene, layer, box)
            parts.append((found, ids))
            repaired += wrong
        shapes = joined([found for found, _ in parts])
        classes = np.concatenate([ids for _, ids in parts])
        order = np.argsort(self._heights()[classes], kind="stable")
        shapes, classes = shapes[order], classes[order]
        uncovered = IGNORE if self.asked.background is None else 0
        names = [crs_name(layer.crs) for layer, _ in near]
        return SceneLabels(
            scene,
            Burner(scene, shapes, classes, uncovered, self.asked.all_touched),
            labelled_area(self.asked, scene, shapes),
            self.asked.edge_ignore,
            tuple(dict.fromkeys(names)),
            repaired,
            int((classes == IGNORE).sum()),
        )

    def _polygons(
        self, scene: TiledScene, layer: Layer, box: Box | None
    ) -> tuple[np.ndarray, UInt8[np.ndarray, "n"], int]:
        """Of one file: polygons, their class ids, and how many were repaired."""
        asked = self.asked
        shapes, names = features_of(layer, box, asked.attribute, asked.where)
        how = {"buffer": asked.buffer, "strict": asked.strict}
        found = polygons_of(shapes, layer.crs, scene, layer.path, **how)
        if asked.burn is not None:
            names = [asked.burn] * len(shapes)
        known = {name: k for k, name in enumerate(self.names)}
        ids = np.array([known.get(name, IGNORE) for name in names], np.uint8)
        return found.shapes, ids[found.rows], found.repaired

    def _heights(self) -> np.ndarray:
        """By class id, when it is drawn: later covers earlier."""
        heights = np.zeros(IGNORE + 1, int)
        for height, name in enumerate(self.asked.order, 1):
            heights[self.names.index(name)] = height
        return heights


class Burner:
    """Polygons burnt into windows of a scene.

    Args:
      scene: whose pixels they are.
      shapes: polygons, from below to above.
      ids: of their classes; 255 is ignored.
      uncovered: id of what none of them covers.
      all_touched: see `LabelSettings`.
    """

    def __init__(
        self,
        scene: TiledScene,
        shapes: np.ndarray,
        ids: UInt8[np.ndarray, "n"],
        uncovered: int,
        all_touched: bool,
    ) -> None:
        shapely = geo.needed("shapely")
        self.scene, self.shapes, self.ids = scene, shapes, ids
        self.uncovered, self.all_touched = uncovered, all_touched
        self.tree: Any = shapely.STRtree(shapes)
        self.tree.query(shapely.box(0, 0, 1, 1))  # built before threads use it

    @contextmanager
    def opened(self) -> Iterator[ReadIds]:
        """Yields what burns windows; there is nothing to open."""
        yield self.read

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> UInt8[np.ndarray, "h w"]:
        """Class ids of a window, which may reach beyond the scene."""
        ids = np.full((height, width), self.uncovered, np.uint8)
        frame = box_of(self.scene, top, left, height, width, CLIPPED)
        found = np.sort(self.tree.query(frame))
        shapes = _clipped(self.shapes[found], frame)
        there = ~geo.needed("shapely").is_empty(shapes)
        if there.any():
            ids_of = self.ids[found[there]].tolist()
            pairs = zip(_as_rings(shapes[there]), ids_of, strict=True)
            geo.needed("rasterio.features").rasterize(
                pairs,
                out=ids,
                transform=self.scene.transform_at(top, left),
                all_touched=self.all_touched,
            )
        return ids


def _clipped(shapes: np.ndarray, frame: Any) -> np.ndarray:
    """Polygons of many points without what lies far from a frame.

    Burning takes time for each of their points, tile after tile.
    """
    shapely = geo.needed("shapely")
    many = shapely.get_num_coordinates(shapes) > MANY_POINTS
    if many.any():
        shapes = shapes.copy()
        shapes[many] = shapely.intersection(shapes[many], frame)
        lower = shapely.get_dimensions(shapes) < 2
        shapes[lower] = shapely.Polygon()
    return shapes


def _as_rings(polygons: np.ndarray) -> list[dict[str, Any]]:
    """Polygons as GeoJSON has them, all at once: shapely makes them one by one."""
    shapely = geo.needed("shapely")
    kind, points, (rings, *ends) = shapely.to_ragged_array(polygons)
    xy, first = points.tolist(), rings.tolist()
    if kind == shapely.GeometryType.POLYGON:
        (parts,) = ends
        groups = [[k] for k in range(len(parts) - 1)]
    else:
        parts, outer = ends
        groups = [list(range(a, b)) for a, b in pairwise(outer.tolist())]
    parts = parts.tolist()

    def rings_of(part: int) -> list[list[Any]]:
        ends = first[parts[part] : parts[part + 1] + 1]
        return [xy[a:b] for a, b in pairwise(ends)]

    return [
        {"type": "MultiPolygon", "coordinates": [rings_of(part) for part in group]}
        for group in groups
    ]


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers by their value, and before words."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name

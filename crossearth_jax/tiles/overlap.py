"""Tiles of different scenes that show the same ground."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from crossearth_jax.predict import geo
from crossearth_jax.predict.ground import degrees
from crossearth_jax.tiles.area import box_of
from crossearth_jax.tiles.plan import TRAIN, VAL, Tile
from crossearth_jax.tiles.scenes import TiledScene


def boxes_of(
    scene: TiledScene, corners: Sequence[tuple[int, int]], size: int
) -> np.ndarray:
    """Outlines of tiles in map coordinates.

    Args:
      scene: that they are of.
      corners: (top, left) of each.
      size: pixels of a side.
    """
    boxes = [box_of(scene, top, left, size, size) for top, left in corners]
    return np.array(boxes, object)


def without_shared_ground(
    tiles: Sequence[Tile], scenes: Sequence[TiledScene], size: int
) -> list[Tile]:
    """Tiles without those of training that touch a validation tile of another scene.

    Args:
      tiles: of all scenes.
      scenes: the scenes.
      size: of a tile.
    """
    if len(scenes) < 2:
        return list(tiles)
    shapely = geo.needed("shapely")
    found = {
        split: [tile for tile in tiles if tile.split == split] for split in (TRAIN, VAL)
    }
    boxes = {split: _on_ground(mine, scenes, size) for split, mine in found.items()}
    tree = shapely.STRtree(boxes[VAL])
    pairs = tree.query(boxes[TRAIN], predicate="intersects")
    touching = _of_others(pairs, found)
    shared = {id(found[TRAIN][i]) for i in pairs[0][touching].tolist()}
    return [tile for tile in tiles if id(tile) not in shared]


def _of_others(
    pairs: np.ndarray, found: dict[str, list[Tile]]
) -> Bool[np.ndarray, "n"]:
    """Pairs of tiles that are of two scenes; those of one keep their gap anyway."""
    train, val = (np.array([t.scene for t in found[s]], int) for s in (TRAIN, VAL))
    return train[pairs[0]] != val[pairs[1]]


def _on_ground(
    tiles: Sequence[Tile], scenes: Sequence[TiledScene], size: int
) -> np.ndarray:
    """Outlines in the one coordinate system that all scenes have, or in degrees."""
    shapely = geo.needed("shapely")
    alike = all(scene.grid.crs == scenes[0].grid.crs for scene in scenes)
    outlines = np.empty(len(tiles), object)
    for number, scene in enumerate(scenes):
        mine = [i for i, tile in enumerate(tiles) if tile.scene == number]
        boxes = boxes_of(scene, [(tiles[i].top, tiles[i].left) for i in mine], size)
        if not alike and mine:
            points = shapely.get_coordinates(boxes)
            there = degrees(scene.grid.crs, *points.T.tolist())
            if there is None:  # a local system has no place on the earth
                boxes = np.array([None] * len(mine), object)
            else:
                boxes = shapely.set_coordinates(boxes, np.array(there).T)
        outlines[mine] = boxes
    return outlines

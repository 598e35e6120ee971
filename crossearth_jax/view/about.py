"""What the page is told: one JSON text, the same from a server and in a folder."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from crossearth_jax.predict.map_tags import UNIT
from crossearth_jax.system.escape import terminal
from crossearth_jax.view.areas import AreaCount
from crossearth_jax.view.gather import Group, View
from crossearth_jax.view.layers import RAMP, Layer
from crossearth_jax.view.maps import ClassMap
from crossearth_jax.view.placing import TILE, WORLD, Box, bounds_of

EDGE = 0.001  # of a side, by which neighbours may overlap


def about(view: View, zooms: Mapping[str, int] | None = None) -> dict[str, Any]:
    """All but areas and tiles.

    Args:
      view: what is shown.
      zooms: of the finest tiles in the PMTiles of each layer; None where a server
        makes tiles.
    """
    title = terminal(", ".join(group.name for group in view.groups), 100)

    def raster(layer: Layer) -> dict[str, Any]:
        address = {"tiles": f"tiles/{layer.name}", "zoom": layer.zoom}
        if zooms is not None:
            address = {"archive": f"{layer.name}.pmtiles", "zoom": zooms[layer.name]}
        return {"name": layer.name, **_extent(layer.box), **address}

    return {
        "title": title,
        "on_earth": view.on_earth,
        "tile": TILE,
        "unit": UNIT,
        "ramp": [_hex(colour) for colour in RAMP],
        "groups": [
            {
                "name": group.name,
                "classes": [
                    {"id": c.id, "name": terminal(c.name), "colour": _hex(c.colour)}
                    for c in group.classes
                ],
                "maps": [_map(one) for one in group.maps],
                "overlap": _overlapping(group),
                "layers": {kind: raster(one) for kind, one in group.layers.items()},
            }
            for group in view.groups
        ],
        "scene": None if view.scene is None else raster(view.scene),
        "polygons": [
            {"name": terminal(one.path.name), "address": f"{one.name}.json"}
            for one in view.polygons
        ],
    }


def areas(view: View, count: AreaCount) -> dict[str, Any]:
    """Areas of the classes of each map, as far as they are counted."""
    found = [
        None if one is None else {str(k): area for k, area in one.items()}
        for one in count.found
    ]
    groups, start = [], 0
    for group in view.groups:
        groups.append(found[start : start + len(group.maps)])
        start += len(group.maps)
    return {
        "groups": groups,
        "share": math.floor(100 * count.share) / 100,
        "problem": count.problem,
    }


def _map(one: ClassMap) -> dict[str, Any]:
    box = one.place.box
    return {
        "name": terminal(one.path.name),
        "bounds": bounds_of(box),
        "size": list(reversed(one.size)),
        # Of the upper left corner and a pixel, for coordinates in pixels.
        "corner": None if one.place.on_earth else [box[0], box[3]],
        "pixel": one.place.pixel,
    }


def _extent(box: Box) -> dict[str, Any]:
    """Bounds in degrees; none across the antimeridian, where sources have none."""
    crosses = box[2] > WORLD * (1 + 1e-9)
    return {} if crosses else {"bounds": bounds_of(box)}


def _overlapping(group: Group) -> bool:
    """Whether areas of the group may count a place twice.

    Maps of one coordinate system by their outlines in it: those of neighbours on a grid
    touch, while their boxes in Web Mercator, where the grid is turned, overlap.
    """
    by_system: dict[str, list[Box]] = {}
    for one in group.maps:
        by_system.setdefault(one.extent[0], []).append(one.extent[1])
    if any(_any_overlap(np.array(boxes)) for boxes in by_system.values()):
        return True
    several = len(by_system) > 1
    boxes = [one.place.box for one in group.maps]
    return several and _any_overlap(np.array(boxes))


def _any_overlap(boxes: Float64[np.ndarray, "n 4"]) -> bool:
    """Whether any two have more than an edge in common."""
    sides = boxes[:, 2:] - boxes[:, :2]
    for i in range(1, len(boxes)):
        low = np.maximum(boxes[:i, :2], boxes[i, :2])
        high = np.minimum(boxes[:i, 2:], boxes[i, 2:])
        if ((high - low) > EDGE * np.minimum(sides[:i], sides[i])).all(1).any():
            return True
    return False


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

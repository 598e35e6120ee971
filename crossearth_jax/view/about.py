"""What the page is told: one JSON text, the same from a server and in a folder."""

import math
from collections.abc import Mapping
from typing import Any

from crossearth_jax.predict.map_tags import UNIT
from crossearth_jax.system.escape import terminal
from crossearth_jax.view.areas import AreaCount
from crossearth_jax.view.gather import Group, View
from crossearth_jax.view.layers import RAMP, Layer
from crossearth_jax.view.maps import ClassMap
from crossearth_jax.view.placing import TILE, WORLD, Box, bounds_of


def about(view: View, zooms: Mapping[str, int] | None = None) -> dict[str, Any]:
    """All but areas and tiles.

    Args:
      view: what is shown.
      zooms: of the finest tiles in the PMTiles of each layer; None where a server
        makes tiles.
    """
    first = view.groups[0]
    title = first.name if len(view.groups) == 1 else f"{len(view.groups)} sets of maps"

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
    """Whether areas of the group may count a place twice."""
    boxes = [one.place.box for one in group.maps]
    for i, (west, south, east, north) in enumerate(boxes):
        least = 2 * group.maps[i].place.pixel  # neighbours touch
        for w, s, e, n in boxes[:i]:
            across, down = min(east, e) - max(west, w), min(north, n) - max(south, s)
            if across > least and down > least:
                return True
    return False


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

"""Scenes below the maps, in the colours that the model saw where the maps say so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.pixels.scaling import Pair
from crossearth_jax.predict import geo
from crossearth_jax.predict.map_tags import BANDS, SCALING, json_in
from crossearth_jax.predict.scene import Reading, scene_of
from crossearth_jax.view.maps import ClassMap, check_overviews, open_raster
from crossearth_jax.view.placing import (
    Place,
    is_on_earth,
    overlap,
    place_on_earth,
    shared,
)
from crossearth_jax.view.reading import Raster

EightBits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Wanted:
    """How scenes are shown; None takes what the maps were made with.

    Attributes:
      bands: numbers of red, green and blue, from 1.
      scale: values that become 0 and 255.
    """

    bands: tuple[int, int, int] | None = None
    scale: Pair | None = None


def open_scene_below(
    path: Path, maps: Sequence[ClassMap], wanted: Wanted
) -> tuple[Raster, EightBits]:
    """Looks at a scene.

    Args:
      path: of it.
      maps: all that are shown.
      wanted: how.

    Returns:
      The raster, and what makes colours of its values.

    Raises:
      ValueError: it cannot be read, or lies under no map.
      OSError: it is damaged.
    """
    with geo.quiet(), open_raster(path) as file:
        check_overviews(file, path)
        place, owner = _under(file, path, maps)
        scene = scene_of(file, _reading(file, owner, wanted))
    grey, indexed = len(set(scene.bands)) == 1, scene.table is not None
    bands = scene.bands[:1] if grey else scene.bands
    method = "nearest" if indexed else "bilinear"
    return Raster(path.name, place, bands, method), scene.eight_bits


def _under(
    file: Any, path: Path, maps: Sequence[ClassMap]
) -> tuple[Place, ClassMap | None]:
    """Where a scene lies, and the map that was made of it, by its name or its size."""
    named = [m for m in maps if path.name == m.source or path.stem == m.path.stem]
    size = file.height, file.width
    if not maps[0].place.on_earth:
        fitting = [m for m in (*named, *maps) if m.size == size]
        if not fitting:
            sizes = ", ".join(f"{m.size[1]} x {m.size[0]}" for m in maps[:5])
            raise ValueError(
                f"got --scene {path} of {size[1]} x {size[0]} pixels, expected as many "
                f"as the maps have ({sizes}), which have no coordinate system: give "
                "the scene that was mapped"
            )
        return shared(fitting[0].place, path), fitting[0]
    if not is_on_earth(file):
        raise ValueError(
            f"got --scene {path} without coordinate system, expected one as the maps "
            "have: give the scene that was mapped"
        )
    place = place_on_earth(file, path)
    over = [m for m in maps if _meet(m.place, place)]
    if not over:
        raise ValueError(
            f"got --scene {path}, which lies under none of the maps, expected the "
            "scene that was mapped: give that, or leave --scene out"
        )
    likely = [m for m in named if m in over] or [m for m in over if m.size == size]
    return place, likely[0] if likely else None


def _meet(first: Place, second: Place) -> bool:
    return any(overlap(a.box, b.box) for a in first.pieces for b in second.pieces)


def _reading(file: Any, owner: ClassMap | None, wanted: Wanted) -> Reading:
    """Bands and scale as asked for, else those of the map, else the file's own."""
    tags = {} if owner is None else owner.tags
    bands, scale = wanted.bands, wanted.scale
    stated, scaling = json_in(tags, BANDS), json_in(tags, SCALING)
    if bands is None and _is_bands(stated, file.count):
        bands = tuple(stated)
        if scale is None and _is_scaling(scaling):
            scale = tuple(zip(*scaling, strict=True))
    return Reading(bands=bands, scale=scale)


def _is_bands(stated: Any, count: int) -> bool:
    sound = isinstance(stated, list) and len(stated) == 3
    return sound and all(type(n) is int and 1 <= n <= count for n in stated)


def _is_scaling(stated: Any) -> bool:
    if not (isinstance(stated, list) and len(stated) == 2):
        return False
    rows = [r for r in stated if isinstance(r, list) and len(r) == 3]
    if len(rows) != 2 or not all(type(n) in (int, float) for r in rows for n in r):
        return False
    return all(low < high for low, high in zip(*rows, strict=True))

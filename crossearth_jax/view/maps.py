"""Class maps, and the rasters that `crossearth predict` leaves beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossearth_jax.data.infer import distinct_colours
from crossearth_jax.pixels.labels import IGNORE, Colour
from crossearth_jax.predict import geo
from crossearth_jax.predict.map_tags import CLASSES, FINGERPRINT, SOURCE, json_in
from crossearth_jax.system.escape import quoted
from crossearth_jax.view.layers import SHARES, Kind
from crossearth_jax.view.placing import (
    Box,
    Place,
    is_on_earth,
    outline_of,
    place_in_pixels,
    place_on_earth,
    shared,
)
from crossearth_jax.view.reading import Raster

LARGE = 8_192**2  # pixels that a tile may read where there are no overviews
SAMPLE = 1_024  # pixels a side in which the ids of a map without names are looked for


@dataclass(frozen=True)
class ClassEntry:
    """A class of a map."""

    id: int
    name: str
    colour: Colour


@dataclass(frozen=True)
class ClassMap:
    """A class map.

    Attributes:
      path: of the file.
      rasters: the file; of a mosaic over maps, these.
      place: of all.
      size: rows and columns.
      extent: coordinate system and outline in it.
      classes: by id.
      source: name of the scene it was made of; "" where it does not say.
      tags: of the file.
      beside: confidence and trust; empty where there are none.
    """

    path: Path
    rasters: tuple[Raster, ...]
    place: Place
    size: tuple[int, int]
    extent: tuple[str, Box]
    classes: tuple[ClassEntry, ...]
    source: str
    tags: dict[str, str]
    beside: dict[Kind, tuple[Raster, ...]]


def open_raster(path: Path) -> Any:
    """Opens a raster.

    Raises:
      ValueError: it is none, or is damaged.
    """
    rasterio = geo.needed("rasterio")
    try:
        with geo.quiet():
            return rasterio.open(path)
    except (rasterio.errors.RasterioError, geo.gdal_error()) as error:
        raise ValueError(
            f"{path}: cannot be opened ({error}): expected a raster that GDAL reads"
        ) from error


def kind_of(path: Path) -> Literal["ours", "theirs", "no map"]:
    """Whether a raster of a folder is a class map, and one that `predict` made."""
    with geo.quiet(), open_raster(path) as file:
        if _problem(file) is not None:
            return "no map"
        named = file.descriptions[0]
        if named == "class" or (CLASSES in file.tags() and named not in SHARES):
            return "ours"
        return "no map" if named in SHARES else "theirs"


def open_map(path: Path, left: int = 0) -> ClassMap:
    """Looks at a class map.

    Args:
      path: one band of class ids.
      left: where it lies if it has no longitudes: pixels to its left.

    Raises:
      ValueError: it is no class map, or cannot be shown.
      OSError: it is damaged.
    """
    with geo.quiet(), open_raster(path) as file:
        if (problem := _problem(file)) is not None:
            raise ValueError(
                f"{path}: got {problem}, expected a class map: one band of class ids; "
                "pictures go behind --scene"
            )
        on_earth, tags = is_on_earth(file), file.tags()
        place = place_on_earth(file, path) if on_earth else None
        place = place or place_in_pixels(file, path, left)
        size, classes = (file.height, file.width), _classes_of(file)
        extent = str(file.crs) if on_earth else "pixels", outline_of(file)
        rasters = _rasters(file, path, place)
    return ClassMap(
        path=path,
        rasters=rasters,
        place=place,
        size=size,
        extent=extent,
        classes=classes,
        source=tags.get(SOURCE, ""),
        tags=tags,
        beside={
            kind: found
            for kind in SHARES
            if (found := _beside(path, kind, place, size))
        },
    )


def check_overviews(file: Any, path: Path) -> None:
    """Raises where each tile of the whole would read a large raster to its end.

    Raises:
      ValueError: it is large and has no overviews.
    """
    if file.width * file.height > LARGE and not file.overviews(1):
        raise ValueError(
            f"{path}: got {file.width:,} x {file.height:,} pixels without overviews, "
            f"expected some: `rio cogeo create {path.name} new.tif` makes a file with "
            "them"
        )


def _problem(file: Any) -> str | None:
    """Why a raster is no class map."""
    kind = np.dtype(file.dtypes[0]).kind if file.count else ""
    if file.count != 1:
        return f"{file.count} bands"
    return None if kind in "iu" else f"{file.dtypes[0]} numbers"


def _rasters(file: Any, path: Path, place: Place) -> tuple[Raster, ...]:
    """The file; of our mosaics the maps, whose overviews the mosaic does not have."""
    ours = file.driver == "VRT" and FINGERPRINT in file.tags() and place.on_earth
    parts = [Path(name) for name in file.files[1:] if name.endswith(".tif")]
    if not ours or not parts:
        check_overviews(file, path)
        return (Raster(path.name, place),)
    found = []
    for part in parts:
        with open_raster(part) as one:
            check_overviews(one, part)
            found.append(Raster(part.name, place_on_earth(one, part)))
    return tuple(found)


def _beside(
    path: Path, kind: Kind, place: Place, size: tuple[int, int]
) -> tuple[Raster, ...]:
    """The raster of shares beside a map; none that is of other pixels."""
    other = path.with_name(f"{path.stem}_{kind}{path.suffix}")
    if not other.is_file():
        return ()
    with geo.quiet(), open_raster(other) as file:
        if file.descriptions != (kind,) or (file.height, file.width) != size:
            return ()
        if not place.on_earth:
            return (Raster(other.name, shared(place, other)),)
        return _rasters(file, other, place_on_earth(file, other))


# ---- classes ------------------------------------------------------------------------


def _classes_of(file: Any) -> tuple[ClassEntry, ...]:
    """Names from the tags, colours from the file; both made up where there are none."""
    names = _names_in(file.tags())
    try:
        table = file.colormap(1)
    except ValueError:
        table = {}
    ids = sorted(names) or _ids_in(file, table)
    made_up = distinct_colours(len(ids))
    return tuple(
        ClassEntry(k, names.get(k, f"class {k}"), tuple(table.get(k, colour)[:3]))
        for k, colour in zip(ids, made_up, strict=True)
    )


def _names_in(tags: dict[str, str]) -> dict[int, str]:
    """Names by id, as `predict` writes them; empty if the tag holds anything else."""
    found = json_in(tags, CLASSES)
    if not isinstance(found, dict):
        return {}
    ids = [int(k) for k in found if k.isascii() and k.isdigit() and len(k) < 4]
    texts = all(isinstance(name, str) for name in found.values())
    sound = texts and len(ids) == len(found) and all(k < IGNORE for k in ids)
    return {int(k): name for k, name in found.items()} if sound else {}


def _ids_in(file: Any, table: dict[int, Any]) -> list[int]:
    """Ids of a map without names: those of a small view of it.

    Raises:
      ValueError: they are no class ids.
    """
    size = min(file.height, SAMPLE), min(file.width, SAMPLE)
    with geo.explained(file.name, "cannot be read, the file may be damaged: copy it"):
        found = file.read(1, out_shape=size, masked=True)
    ids = np.unique(found.compressed()).tolist()
    if wrong := [k for k in ids if not 0 <= k <= IGNORE]:
        raise ValueError(
            f"{file.name}: got the value {quoted(wrong[-1])}, expected class ids from "
            f"0 to {IGNORE - 1}: pictures go behind --scene"
        )
    return [k for k in ids if k < IGNORE]


def index_colours(classes: Sequence[ClassEntry]) -> tuple[Colour | None, ...]:
    """Colours by id."""
    by_id = {one.id: one.colour for one in classes}
    return tuple(by_id.get(k) for k in range(IGNORE))

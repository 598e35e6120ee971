"""Polygons over the maps, as GeoJSON in degrees."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.predict import geo, ground
from crossearth_jax.predict.antimeridian import cut_at_180
from crossearth_jax.predict.map_tags import POLYGONS
from crossearth_jax.predict.vector import DRIVERS
from crossearth_jax.system.escape import terminal
from crossearth_jax.view.maps import ClassMap
from crossearth_jax.view.placing import to_degrees

MOST = 50_000  # features that a browser draws at once
DIGITS = 7  # of a degree: a centimetre
COLUMNS = ("class_id", "class", "area_m2", "area_px", "trust")


@dataclass(frozen=True)
class Polygons:
    """A file of polygons.

    Attributes:
      name: its id, in addresses and file names.
      path: of the file.
      layer: in it.
      owner: the map that it was made of; None for any other file.
    """

    name: str
    path: Path
    layer: str
    owner: ClassMap | None


def polygons_beside(one: ClassMap) -> list[Path]:
    """The files of polygons that `predict --vector` wrote beside a map."""
    files = [one.path.with_suffix(ending) for ending in DRIVERS]
    return [path for path in files if path.is_file()]


def open_polygons(path: Path, name: str, owner: ClassMap | None) -> Polygons:
    """Looks at a file of polygons.

    Raises:
      ValueError: it cannot be read, has no coordinate system, or too many features.
    """
    pyogrio = geo.needed("pyogrio")
    try:
        layers = pyogrio.list_layers(path)[:, 0].tolist()
        layer = POLYGONS if POLYGONS in layers else layers[0]
        info = pyogrio.read_info(path, layer=layer, force_feature_count=True)
    except (RuntimeError, IndexError) as error:  # pyogrio's errors
        raise ValueError(
            f"{path}: cannot be read ({error}), expected polygons, as `predict "
            "--vector` writes them"
        ) from error
    on_earth = owner is None or owner.place.on_earth
    if on_earth and info["crs"] is None:
        raise ValueError(
            f"{path}: got polygons without a coordinate system, expected one: give the "
            "map that they were made of too, or `ogr2ogr -a_srs EPSG:… new.gpkg FILE`"
        )
    if info["features"] > MOST:
        raise ValueError(
            f"{path}: got {info['features']:,} polygons, expected at most {MOST:,}, "
            "which a browser draws: `predict --sieve` merges specks, or open them in "
            "QGIS (--no-polygons leaves them out here)"
        )
    return Polygons(name, path, layer, owner)


def geojson(polygons: Polygons) -> str:
    """The features in longitude and latitude, cut at ±180°.

    Raises:
      OSError: the file is damaged.
    """
    try:
        frame = geo.needed("pyogrio").read_dataframe(
            polygons.path, layer=polygons.layer
        )
    except RuntimeError as error:  # pyogrio's errors
        raise OSError(
            f"{polygons.path}: cannot be read ({error}), the file may be damaged"
        ) from error
    frame = frame[frame.geometry.notna()]
    geometry = _in_degrees(frame.geometry, polygons.owner)
    shapely = geo.needed("shapely")
    rounded = shapely.transform(geometry.to_numpy(), lambda p: p.round(DIGITS))
    columns = [c for c in COLUMNS if c in frame.columns]
    features = [
        f'{{"type":"Feature","properties":{json.dumps(_shown(row))},'
        f'"geometry":{shapely.to_geojson(shape)}}}'
        for row, shape in zip(frame[columns].to_dict("records"), rounded, strict=True)
    ]
    return f'{{"type":"FeatureCollection","features":[{",".join(features)}]}}'


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A feature's columns, names made harmless, what is no number left out."""
    texts = {k: terminal(v) for k, v in row.items() if isinstance(v, str)}
    numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and v == v}
    return {**texts, **numbers}


def _in_degrees(geometry: Any, owner: ClassMap | None) -> Any:
    if owner is not None and not owner.place.on_earth:
        return _from_pixels(geometry, owner)
    placed = geometry.to_crs("EPSG:4326")
    if owner is None or not owner.place.crosses:
        return placed
    middle = to_degrees((owner.place.box[0] + owner.place.box[2]) / 2, 0)[0]
    return cut_at_180(placed, middle)


def _from_pixels(geometry: Any, owner: ClassMap) -> Any:
    """Columns and rows to where the page has them."""
    place, shapely = owner.place, geo.needed("shapely")
    with geo.quiet(), geo.needed("rasterio").open(owner.path) as file:
        to_pixels = ~file.transform

    def moved(points: Any) -> Any:
        columns, rows = ground.moved(to_pixels, *points.T)
        xs = place.box[0] + columns * place.pixel
        ys = -rows * place.pixel
        return np.array([to_degrees(x, y) for x, y in zip(xs, ys, strict=True)])

    shapes = shapely.transform(geometry.to_numpy(), moved)
    return geometry.__class__(shapes, crs="EPSG:4326")

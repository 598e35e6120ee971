"""Files of vector features, as GDAL or, for GeoParquet, pyarrow reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.predict import geo
from crossearth_jax.system.escape import quoted
from crossearth_jax.tiles.parquet import check_parquet

PARQUET = (".parquet", ".geoparquet")
VECTOR = (".gpkg", ".geojson", ".json", ".geojsonl", ".shp", ".fgb", ".gml", ".kml")

Box = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True)
class Layer:
    """One layer of a file.

    Attributes:
      path: the file.
      name: of the layer; None where files have one.
      crs: of pyproj.
      box: extent of its features; None if it has none, or does not tell.
      fields: its columns.
    """

    path: Path
    name: str | None
    crs: Any
    box: Box | None
    fields: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, name: str | None) -> "Layer":
        """Looks at a file.

        Args:
          path: anything that GDAL reads as vectors, or GeoParquet.
          name: of the layer; None if there is one alone.

        Raises:
          ValueError: it cannot be read, or the layer or a coordinate system is missing.
        """
        if path.suffix.lower() in PARQUET and not _gdal_reads_parquet():
            return _of_parquet(path, name)
        name = _layer_name(path, name)
        pyogrio = geo.needed("pyogrio")
        try:
            about = pyogrio.read_info(path, layer=name, force_total_bounds=True)
        except RuntimeError as error:  # pyogrio's errors
            raise _unreadable(path, error) from error
        box = about["total_bounds"]
        if not about["features"]:
            raise ValueError(
                f"{path}: got no feature, expected polygons: export the labels again"
            )
        return cls(
            path,
            name,
            _crs(path, about["crs"]),
            None if box is None else _box(box),
            tuple(map(str, about["fields"])),
        )

    def reaches(self, box: Box | None) -> bool:
        """Whether its features may lie within a box of the same coordinate system."""
        if box is None or self.box is None:
            return True
        mine = self.box
        across = mine[0] <= box[2] and box[0] <= mine[2]
        return across and mine[1] <= box[3] and box[1] <= mine[3]


def is_vector(path: Path) -> bool:
    """Whether a file holds features and no pixels; GDAL decides for unknown endings."""
    if path.suffix.lower() in (*VECTOR, *PARQUET):
        return True
    try:
        return len(geo.needed("pyogrio").list_layers(path)) > 0
    except RuntimeError:  # pyogrio's errors
        return False


def features_of(
    layer: Layer, box: Box | None, attribute: str | None, where: str | None
) -> tuple[np.ndarray, Sequence[str]]:
    """Geometries in a box, and their classes as text, "" where there is none.

    Args:
      layer: of a file.
      box: in its coordinate system; None takes all.
      attribute: column of the classes; None reads none.
      where: condition in SQL.
    """
    columns = [] if attribute is None else [attribute]
    frame = _read(layer, columns, where, box)
    texts = [] if attribute is None else as_text(frame[attribute].tolist())
    return frame.geometry.to_numpy().astype(object), texts


def column_values(layer: Layer, attribute: str, where: str | None) -> set[str]:
    """All values of a column, as text.

    Raises:
      ValueError: there is no such column, or the condition is wrong.
    """
    if attribute not in layer.fields:
        shown = ", ".join(map(quoted, layer.fields)) or "no columns"
        raise ValueError(
            f"{layer.path}: got --attribute {quoted(attribute)}, expected one of "
            f"{shown}"
        )
    frame = _read(layer, [attribute], where, None, geometry=False)
    return set(as_text(frame[attribute].unique().tolist()))


def as_text(values: Sequence[Any]) -> list[str]:
    """Classes as text: 3.0, which is how a column with gaps holds 3, becomes "3"."""
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    if value is None or value != value or str(value) in ("NaT", "<NA>"):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _read(
    layer: Layer,
    columns: list[str],
    where: str | None,
    box: Box | None,
    *,
    geometry: bool = True,
) -> Any:
    if layer.path.suffix.lower() in PARQUET and not _gdal_reads_parquet():
        return _read_parquet(layer, columns, where, box)
    pyogrio = geo.needed("pyogrio")
    geo.needed("geopandas")
    how = {"layer": layer.name, "columns": columns, "where": where, "bbox": box}
    try:
        return pyogrio.read_dataframe(
            layer.path, read_geometry=geometry, force_2d=True, **how
        )
    except (RuntimeError, ValueError) as error:
        if where is None:
            raise _unreadable(layer.path, error) from error
        raise ValueError(
            f"{layer.path}: got --where {quoted(where)}, expected a condition in SQL "
            f"on {', '.join(map(quoted, layer.fields))}, such as \"kind = 'roof'\" "
            f"({quoted(str(error))})"
        ) from error


def _layer_name(path: Path, wanted: str | None) -> str | None:
    try:
        names = [str(name) for name in geo.needed("pyogrio").list_layers(path)[:, 0]]
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    shown = ", ".join(map(quoted, names)) or "none"
    if wanted is not None and wanted not in names:
        raise ValueError(
            f"{path}: got --layer {quoted(wanted)}, expected one of {shown}"
        )
    if wanted is None and len(names) != 1:
        raise ValueError(
            f"{path}: got {len(names)} layers, expected one: name it with --layer: "
            f"{shown}"
        )
    return wanted or names[0]


def _box(bounds: Sequence[float]) -> Box:
    west, south, east, north = map(float, bounds)
    return west, south, east, north


def _crs(path: Path, text: Any) -> Any:
    if not text:
        raise ValueError(
            f"{path}: got labels without coordinate system, expected one: set it, such "
            "as `ogr2ogr -a_srs EPSG:4326 OUT IN`"
        )
    return geo.needed("pyproj").CRS.from_user_input(text)


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: cannot be read as labels ({quoted(str(error))}): expected "
        "GeoPackage, GeoJSON, Shapefile, GeoParquet or a raster of class ids"
    )


# GeoParquet without GDAL's driver, which the wheels of pyogrio do not have


def _gdal_reads_parquet() -> bool:
    return "Parquet" in geo.needed("pyogrio").list_drivers()


def _of_parquet(path: Path, name: str | None) -> Layer:
    if name is not None:
        raise ValueError(
            f"{path}: got --layer {quoted(name)}, expected none: GeoParquet has no "
            "layers"
        )
    frame = _whole(path)
    fields = tuple(str(c) for c in frame.columns if c != frame.geometry.name)
    box = _box(frame.total_bounds) if len(frame) else None
    if box is None:
        raise ValueError(
            f"{path}: got no feature, expected polygons: export the labels again"
        )
    return Layer(path, None, _crs(path, frame.crs), box, fields)


def _read_parquet(
    layer: Layer, columns: list[str], where: str | None, box: Box | None
) -> Any:
    if where is not None:
        raise ValueError(
            f"{layer.path}: got --where for GeoParquet, expected a file that GDAL "
            "reads: convert it to a GeoPackage first"
        )
    frame = _whole(layer.path)
    if box is not None:
        frame = frame.cx[box[0] : box[2], box[1] : box[3]]
    return frame[[*columns, frame.geometry.name]]


def _whole(path: Path) -> Any:
    try:
        check_parquet(path)
        return geo.needed("geopandas").read_parquet(path)
    except ImportError:
        raise
    except Exception as error:  # pyarrow's own, for files of any other content
        raise _unreadable(path, error) from error

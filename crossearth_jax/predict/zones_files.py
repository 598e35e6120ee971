"""Areas in zones as CSV and GeoPackage: a row per zone, with its own attributes."""

import csv
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from crossearth_jax.predict import geo
from crossearth_jax.predict.vector import layers_of
from crossearth_jax.predict.zones import Zones
from crossearth_jax.system.escape import csv_cell, terminal

LAYER = "zones"
FIXED = ("zone", "mapped_m2", "nodata_m2")
RESERVED = ("fid", "geom", "geometry")  # names that a GeoPackage needs itself


def write_zones(
    table: Path,
    package: Path,
    zones: Zones,
    areas: Float64[np.ndarray, "Z K+1"],
    names: Sequence[str],
    *,
    mark: str,
    beside: Path,
) -> None:
    """Writes both files.

    Args:
      table: the CSV to write.
      package: the GeoPackage to write, in the zones' coordinate system.
      zones: where shapes and attributes are.
      areas: square metres of each class, and without data.
      names: of the K classes.
      mark: what it is made of, kept in the GeoPackage.
      beside: a GeoPackage whose other layers are kept.

    Raises:
      OSError: a file cannot be written.
    """
    if beside.exists() and [name for name in layers_of(beside) if name != LAYER]:
        shutil.copyfile(beside, package)
    shown = [terminal(name) for name in names]
    with geo.written(table), table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, frame in enumerate(_frames(zones, areas, shown)):
            words = frame.drop(columns=frame.geometry.name)
            if number == 0:
                writer.writerow(map(csv_cell, words.columns))
            writer.writerows(map(_cells, words.itertuples(index=False)))
            _append(frame, package, number == 0, mark)


def _frames(
    zones: Zones, areas: Float64[np.ndarray, "Z K+1"], names: Sequence[str]
) -> Iterator[Any]:
    for frame in zones.chunks():
        rows = np.searchsorted(zones.ids, frame.index.to_numpy())
        yield _with_areas(frame, areas[rows], names)


def _with_areas(
    frame: Any, areas: Float64[np.ndarray, "z K+1"], names: Sequence[str]
) -> Any:
    mapped = areas[:, :-1].sum(1)
    values = [frame.index.to_numpy(), mapped, areas[:, -1]]
    own = list(FIXED)
    with np.errstate(invalid="ignore", divide="ignore"):
        for k, name in enumerate(names):
            own += [f"{name}_m2", f"{name}_share"]
            values += [areas[:, k], areas[:, k] / mapped]  # nan where nothing is mapped
    shape = frame.geometry
    others = [name for name in frame.columns if name != shape.name]
    values += [frame[name].to_numpy() for name in others]
    unique = _unique([*own, *map(terminal, others)])
    geopandas = geo.needed("geopandas")
    columns = dict(zip(unique, values, strict=True))
    return geopandas.GeoDataFrame(columns, geometry=shape.to_numpy(), crs=shape.crs)


def _unique(names: Iterable[str]) -> list[str]:
    """Names that differ by more than capital letters, as a GeoPackage needs them."""
    taken: set[str] = set(RESERVED)
    found: list[str] = []
    for name in names:
        other, count = name, 1
        while other.lower() in taken:
            count += 1
            other = f"{name}_{count}"
        taken.add(other.lower())
        found.append(other)
    return found


def _cells(row: Sequence[Any]) -> list[str]:
    """Empty where there is none of a number, a text, a time; lists are text."""
    is_missing = geo.needed("pandas").isna
    return ["" if is_missing(cell) is True else csv_cell(cell) for cell in row]


def _append(frame: Any, package: Path, is_new: bool, mark: str) -> None:
    about = {"layer_metadata": {"CROSSEARTH_FINGERPRINT": mark}} if is_new else {}
    try:
        frame.to_file(
            package,
            driver="GPKG",
            layer=LAYER,
            engine="pyogrio",
            mode="w" if is_new else "a",
            promote_to_multi=True,
            **about,
        )
    except RuntimeError as error:  # pyogrio's errors
        raise OSError(f"{package}: cannot be written ({error})") from error

"""What is made of all maps together: `--mosaic` and `--zones`.

Whoever makes the last map writes it, as with blocks; two at a time write the same.
"""

import argparse
import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.commands.predict_jobs import Job
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict import geo, zones_files
from crossearth_jax.predict.mosaic import common_grid, write_mosaic
from crossearth_jax.predict.outputs import (
    FINGERPRINT,
    STYLE,
    Existing,
    read_mark,
)
from crossearth_jax.predict.scratch import move, scratch_folder
from crossearth_jax.predict.style import class_style
from crossearth_jax.predict.zones import Zones, areas_in, check_placed, open_zones
from crossearth_jax.system import extras

MOSAIC = "mosaic"


@dataclass(frozen=True)
class Together:
    """What is wanted of all maps.

    Attributes:
      mosaic: files of the mosaic by the end of the maps' names, "" the class map.
      style: of the mosaic.
      zones: the polygons.
      table: the CSV of their areas.
      package: the GeoPackage of their areas.
      overwrite: replace files of others.
    """

    mosaic: Mapping[str, Path]
    style: Path | None
    zones: Zones | None
    table: Path
    package: Path
    overwrite: bool

    @property
    def files(self) -> list[Path]:
        """All that may be written."""
        style = [] if self.style is None else [self.style]
        areas = [] if self.zones is None else [self.table, self.package]
        return [*self.mosaic.values(), *style, *areas]


def together_of(options: argparse.Namespace) -> Together:
    """What the options ask for, checked as far as it can be without maps.

    Raises:
      ValueError: the zones cannot be used, a file of that name is another's, or one
        map is to be a mosaic.
      ImportError: what zones need is not installed.
    """
    out = Path(options.out)
    is_file = out.suffix.lower() in (".tif", ".tiff")
    if options.mosaic and is_file:
        raise ValueError(
            f"got --mosaic for one map, --out {out}, expected a folder of maps"
        )
    endings = [""] if options.mosaic else []
    if options.mosaic:
        endings += ["_confidence"] if options.confidence else []
        endings += ["_probabilities"] if options.probabilities else []
    zones = None
    if options.zones is not None:
        for name in ("geopandas", "pyogrio"):
            geo.needed(name)
        extras.needed("exactextract", "--zones", "zones")
        zones = open_zones(options.zones)
    stem = out.with_name(f"{out.stem}_zones") if is_file else out / "zones"
    found = Together(
        {ending: out / f"{MOSAIC}{ending}.vrt" for ending in endings},
        out / f"{MOSAIC}{STYLE}" if options.mosaic else None,
        zones,
        stem.with_name(f"{stem.name}.csv"),
        stem.with_name(f"{stem.name}.gpkg"),
        options.overwrite,
    )
    for path in found.files:
        _check_free(path, found)
    return found


def _check_free(path: Path, together: Together) -> None:
    """Files of others are left alone; our own follow the maps."""
    zones = together.zones
    if zones is not None and path.exists() and path.samefile(zones.path):
        raise ValueError(
            f"got --zones {path}, which is also a result: choose another --out"
        )
    if path.suffix == STYLE or together.overwrite or not path.exists():
        return
    if path == together.table:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            head = next(csv.reader(file), [])
        ours = tuple(head[: len(zones_files.FIXED)]) == zones_files.FIXED
    else:
        ours = _mark(path) is not None
    if not ours:
        raise Existing(
            f"got {path}, written by another program: choose another --out, or pass "
            "--overwrite"
        )


def _mark(path: Path) -> str | None:
    if path.suffix == ".gpkg":
        try:
            about = geo.needed("pyogrio").read_info(path, layer=zones_files.LAYER)
        except RuntimeError:  # no such layer, or no GeoPackage
            return None
        return (about["layer_metadata"] or {}).get(FINGERPRINT)
    return read_mark(path)


def check_scenes(together: Together, jobs: Sequence[Job]) -> None:
    """Raises before the first map if the scenes here do not fit together.

    Scenes elsewhere are not asked for yet: their maps will tell.

    Raises:
      ValueError: names the first that does not fit.
    """
    if not together.files:
        return
    rasterio = geo.needed("rasterio")
    failed = (rasterio.errors.RasterioError, geo.gdal_error())

    def opened() -> Iterator[Any]:
        for job in jobs:
            if not isinstance(job.source, Path):
                continue
            try:
                file = rasterio.open(job.source)
            except failed:  # its turn will tell
                continue
            with file:
                if together.zones is not None:
                    check_placed(file)
                yield file

    with geo.quiet():
        scenes = opened()
        first = next(scenes, None)
        if first is None:
            return
        if together.mosaic:
            common_grid(_chained(first, scenes))
        else:
            for _ in scenes:
                pass


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def write_together(
    together: Together,
    labels: Sequence[Path],
    classes: ClassSet,
    *,
    share: tuple[int, int],
) -> list[str]:
    """Writes what is wanted of all maps, where they are all there.

    Args:
      together: what is wanted.
      labels: the class maps of all scenes: rasters, or mosaics of blocks.
      classes: names and colours.
      share: of this process; a share of a list waits for the others' maps, one process
        alone takes those that could be made.

    Returns:
      Lines that tell what was done.

    Raises:
      ValueError: the maps do not share a grid.
      OSError: a file cannot be written.
    """
    if not together.files:
        return []
    for folder in {label.parent for label in labels if label.parent.is_dir()}:
        os.listdir(folder)  # a network disk may still remember files as missing
    marks = {label: read_mark(label) for label in labels if label.exists()}
    here = [label for label in labels if marks.get(label)]
    if not here and share[1] == 1:
        return []
    if share[1] > 1 and len(here) < len(labels):
        return [
            f"{len(here)} of {len(labels)} maps are there; the last worker writes "
            f"{', '.join(map(str, together.files))}"
        ]
    mark = hashlib.sha256(repr([(str(p), marks[p]) for p in here]).encode())
    lines = []
    if together.mosaic:
        lines += _write_mosaic(together, here, classes, mark.hexdigest()[:16])
    if together.zones is not None:
        lines += _write_zones(together, together.zones, here, classes, mark)
    return lines


def _write_mosaic(
    together: Together, labels: Sequence[Path], classes: ClassSet, mark: str
) -> list[str]:
    with geo.quiet():
        grid, tiles = common_grid(_opened(labels))
    for ending, target in together.mosaic.items():
        parts = [
            (label.with_name(f"{label.stem}{ending}{label.suffix}"), tile)
            for label, tile in zip(labels, tiles, strict=True)
        ]
        with _made(target) as made:
            write_mosaic(made, target, parts, grid=grid, classes=classes, mark=mark)
    style = together.style
    if style is not None and (not style.exists() or read_mark(style)):
        with _made(style) as made:
            made.write_text(class_style(classes, f"{FINGERPRINT}={mark}"), "utf-8")
    shown = ", ".join(map(str, together.mosaic.values()))
    return [f"{shown} over {len(labels)} maps, {grid.width} x {grid.height} pixels"]


def _write_zones(
    together: Together,
    zones: Zones,
    labels: Sequence[Path],
    classes: ClassSet,
    mark: Any,
) -> list[str]:
    state = zones.path.stat()
    mark.update(repr((zones.layer, state.st_size, state.st_mtime_ns)).encode())
    mark.update(repr(bool(together.mosaic)).encode())
    text, files = mark.hexdigest()[:16], (together.table, together.package)
    shown = " and ".join(map(str, files))
    if together.table.exists() and together.package.exists():
        if _mark(together.package) == text:
            return [f"already there, {shown}"]
    maps = [together.mosaic[""]] if together.mosaic else labels
    areas = np.zeros((len(zones.ids), len(classes.names) + 1))
    for path in maps:
        areas += areas_in(path, zones, len(classes.names))
    with _made(together.package) as package:
        table = package.with_name(together.table.name)
        zones_files.write_zones(
            table,
            package,
            zones,
            areas,
            classes.names,
            mark=text,
            beside=together.package,
        )
        move(table, together.table)
    return [f"{shown}: {len(zones.ids)} zones over {len(labels)} maps"]


@contextmanager
def _made(target: Path) -> Iterator[Path]:
    """A file of that name in a scratch folder, which becomes the target at the end."""
    with scratch_folder(target) as scratch:
        made = scratch / "done" / target.name
        made.parent.mkdir()
        yield made
        move(made, target)


def _opened(paths: Sequence[Path]) -> Iterator[Any]:
    for path in paths:
        with geo.needed("rasterio").open(path) as file:
            yield file

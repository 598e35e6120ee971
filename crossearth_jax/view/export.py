"""The page as a folder that any web server can send."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossearth_jax.predict import geo
from crossearth_jax.system.progress import progress
from crossearth_jax.view import about
from crossearth_jax.view.archive import tile_count, write_archive
from crossearth_jax.view.areas import AreaCount
from crossearth_jax.view.assets import assets
from crossearth_jax.view.gather import View
from crossearth_jax.view.layers import Layer
from crossearth_jax.view.polygons import geojson

MB = 1_000_000
MOST_THREADS = 4
MOST_TILES = 1_000_000  # of a zoom, which is also what their list may take of memory


@dataclass(frozen=True)
class Plan:
    """What is going to be written.

    Attributes:
      zooms: of the finest tiles, by layer.
      tiles: how many, by layer; those without data are not written.
    """

    zooms: Mapping[str, int]
    tiles: Mapping[str, int]


def plan(view: View, most_zoom: int | None) -> Plan:
    """Counts the tiles.

    Args:
      view: what is exported.
      most_zoom: of the finest tiles; None is each layer's own.

    Raises:
      ValueError: there are more than `MOST_TILES` of a layer.
    """
    zooms = {
        name: layer.zoom if most_zoom is None else min(most_zoom, layer.zoom)
        for name, layer in view.layers.items()
    }
    layers = view.layers.items()
    for name, layer in layers:
        _check_number(layer, zooms[name])
    return Plan(zooms, {name: tile_count(one, zooms[name]) for name, one in layers})


def _check_number(layer: Layer, zoom: int) -> None:
    fits = zoom
    while fits and layer.most_tiles(fits) > MOST_TILES:
        fits -= 1
    if fits < zoom:
        raise ValueError(
            f"got {layer.most_tiles(zoom):,} tiles of {layer.name} at zoom {zoom}, "
            f"expected at most {MOST_TILES:,}: --max-zoom {fits}, or fewer maps"
        )


def check_target(target: Path) -> None:
    """Raises where a folder cannot be made.

    Raises:
      ValueError: there is something already.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ValueError(
            f"got --export {target}, which is there already, expected a new or empty "
            "folder: name another, or remove it"
        )


def export(view: View, target: Path, made: Plan, most_mb: int) -> int:
    """Writes the folder; nothing is left of one that was not finished.

    Args:
      view: what it shows.
      target: the folder.
      made: of `plan`.
      most_mb: megabytes of all tiles, after which it is given up.

    Returns:
      Bytes of the folder.

    Raises:
      ValueError: it would be larger.
      OSError: a file is damaged, or the disk is full.
    """
    count = AreaCount(view.maps)
    with _whole_folder(target) as place:
        for name, asset in assets().items():
            (place / name).write_bytes(asset.content)
        total = sum(made.tiles.values())
        with progress("tiles", total, "tiles") as advance, geo.written(target):
            done = _counter(advance, most_mb)
            for name, layer in view.layers.items():
                file, zoom = place / f"{name}.pmtiles", made.zooms[name]
                write_archive(layer, file, zoom, done, _threads())
        count.count()
        for one in view.polygons:
            (place / f"{one.name}.json").write_text(geojson(one), "utf-8")
        facts = about.about(view, made.zooms)
        _write_json(place / "about.json", facts)
        _write_json(place / "areas.json", about.areas(view, count))
        size = sum(file.stat().st_size for file in place.iterdir())
    return size


def _counter(advance: Callable[[], None], most_mb: int) -> Callable[[int], None]:
    """Moves the bar, and ends an export that grows too large."""
    total = 0

    def done(size: int) -> None:
        nonlocal total
        total += size
        if total > most_mb * MB:
            raise ValueError(
                f"got more than {most_mb:,} MB of tiles, expected less (--max-mb): "
                "raise it, or pass --max-zoom for coarser tiles"
            )
        advance()

    return done


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside the target, renamed to it at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    place.mkdir()
    try:
        yield place
        if target.exists():
            target.rmdir()  # it is empty
        place.rename(target)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _threads() -> int:
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return min(MOST_THREADS, cores)

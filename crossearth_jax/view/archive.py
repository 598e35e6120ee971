"""A layer's tiles as one PMTiles file."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from crossearth_jax.system.escape import terminal
from crossearth_jax.view.layers import Layer
from crossearth_jax.view.placing import LATITUDE, WORLD, bounds_of
from crossearth_jax.view.reading import needed

AHEAD = 64  # tiles that are made before one is written

Tile = tuple[int, int, int]  # zoom, column, row


def tile_count(layer: Layer, zoom: int) -> int:
    """Tiles from the whole world's to those of a zoom, empty ones included."""
    return sum(len(layer.tiles(z)) for z in range(zoom + 1))


def write_archive(
    layer: Layer,
    target: Path,
    zoom: int,
    done: Callable[[int], None],
    threads: int,
) -> int:
    """Writes the tiles of zoom 0 to `zoom` that hold something.

    Args:
      layer: of which.
      target: the file; it is not complete before the end.
      zoom: of the finest tiles.
      done: gets the size of each tile, 0 where it is empty.
      threads: that read.

    Returns:
      The number of tiles written.

    Raises:
      OSError: a file is damaged, or the disk is full.
    """
    tile, written = needed("pmtiles.tile"), 0
    with target.open("wb") as file:
        writer = needed("pmtiles.writer").Writer(file)
        writer.tile_f.close()
        # It would lie in /tmp, which may be smaller than where the folder goes.
        with tempfile.TemporaryFile(dir=target.parent) as writer.tile_f:
            for number, data in _made(layer, _ordered(layer, zoom), threads):
                if data is not None:
                    writer.write_tile(number, data)
                    written += 1
                done(0 if data is None else len(data))
            if not written:  # an archive needs a tile
                writer.write_tile(0, b"")
            writer.finalize(_header(layer, tile), {"name": terminal(layer.name)})
    return written


def _ordered(layer: Layer, zoom: int) -> Iterator[tuple[int, Tile]]:
    """Tiles in the order of the file, by their number in it."""
    number = needed("pmtiles.tile").zxy_to_tileid
    for z in range(zoom + 1):
        yield from sorted((number(z, x, y), (z, x, y)) for x, y in layer.tiles(z))


def _made(
    layer: Layer, tiles: Iterator[tuple[int, Tile]], threads: int
) -> Iterator[tuple[int, bytes | None]]:
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(tiles, AHEAD)):
            places = [place for _, place in chunk]
            found = pool.map(lambda place: layer.tile(*place), places)
            yield from zip((number for number, _ in chunk), found, strict=True)


def _header(layer: Layer, tile: Any) -> dict[str, Any]:
    kinds = {"png": tile.TileType.PNG, "webp": tile.TileType.WEBP}
    box = layer.box
    if box[2] > WORLD:  # across the antimeridian
        box = (-WORLD, box[1], WORLD, box[3])
    west, south, east, north = (round(1e7 * degree) for degree in bounds_of(box))
    most = round(1e7 * LATITUDE)
    return {
        "version": 3,
        "tile_type": kinds[layer.format],
        "tile_compression": tile.Compression.NONE,
        "min_lon_e7": west,
        "min_lat_e7": max(south, -most),
        "max_lon_e7": east,
        "max_lat_e7": min(north, most),
        "center_zoom": 0,
        "center_lon_e7": (west + east) // 2,
        "center_lat_e7": (south + north) // 2,
    }

"""The layers of a page and their tiles.

Classes, confidence and trust are indices, scenes are pictures.

Indices travel in PNGs with a colour table. Any viewer shows their colours, and the page
reads the numbers: it needs no second file to hide a class or to tell a value.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from crossearth_jax.pixels.labels import IGNORE, Colour
from crossearth_jax.predict.map_tags import UNIT
from crossearth_jax.view.placing import TILE, Box
from crossearth_jax.view.reading import (
    Raster,
    most_tiles,
    read_tile,
    tile_box,
    tiles_over,
)

Kind = Literal["classes", "confidence", "trust", "scene"]
SHARES: tuple[Kind, ...] = ("confidence", "trust")
QUALITY = 80  # of WebP

# From little to much: dark blue over green to yellow, and ever lighter, so that greys
# and any eye see the order.
RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


@dataclass(frozen=True)
class Layer:
    """What is drawn as one.

    Attributes:
      name: its id, in addresses and file names.
      kind: what it shows.
      rasters: later ones lie over earlier ones.
      colours: by index; of a scene none.
      eight_bits: values [r, c, 3] of a scene's file to 0-255.
    """

    name: str
    kind: Kind
    rasters: tuple[Raster, ...]
    colours: tuple[Colour | None, ...] = ()
    eight_bits: tuple[Callable[[np.ndarray], np.ndarray], ...] = ()

    @property
    def format(self) -> str:
        """Of the tiles: "png" or "webp"."""
        return "webp" if self.kind == "scene" else "png"

    @property
    def zoom(self) -> int:
        """At which tiles are as fine as the finest raster."""
        return max(raster.place.zoom for raster in self.rasters)

    @property
    def box(self) -> Box:
        """Of all rasters; its east may be beyond the world."""
        boxes = [raster.place.box for raster in self.rasters]
        west, south, east, north = zip(*boxes, strict=True)
        return min(west), min(south), max(east), max(north)

    def tiles(self, zoom: int) -> set[tuple[int, int]]:
        """Columns and rows of the tiles that may hold something."""
        return tiles_over(self._boxes, zoom)

    def most_tiles(self, zoom: int) -> int:
        """No more than these, without listing them."""
        return most_tiles(self._boxes, zoom)

    def tile(self, z: int, x: int, y: int) -> bytes | None:
        """One encoded tile; None where there is nothing.

        Raises:
          OSError: a file is damaged.
        """
        box = tile_box(z, x, y)
        if self.kind == "scene":
            return self._picture(box)
        found = read_tile(self.rasters, box)
        if found is None:
            return None
        values, valid = found
        inside = valid & (values[0] >= 0) & (values[0] < IGNORE)
        if not inside.any():
            return None
        ids = np.where(inside, values[0], IGNORE).astype(np.uint8)
        return indexed_png(ids, self._table)

    def _picture(self, box: Box) -> bytes | None:
        """Each scene has a scaling of its own, so they are mixed as colours."""
        colours = np.zeros((TILE, TILE, 3), np.uint8)
        known = np.zeros((TILE, TILE), bool)
        for raster, eight_bits in zip(self.rasters, self.eight_bits, strict=True):
            found = read_tile([raster], box)
            if found is not None:
                values, valid = found
                bands = values if len(values) == 3 else np.repeat(values, 3, 0)
                mine = eight_bits(np.moveaxis(bands, 0, 2))
                colours[valid] = mine[valid]
                known |= valid
        return picture(colours, known) if known.any() else None

    @cached_property
    def _boxes(self) -> list[Box]:
        pieces = (p for raster in self.rasters for p in raster.place.pieces)
        return [piece.box for piece in pieces]

    @cached_property
    def _table(self) -> tuple[bytes, bytes]:
        return colour_table(self.colours)


def share_colours() -> tuple[Colour, ...]:
    """Colours of shares in 250ths."""
    places = np.linspace(0, len(RAMP) - 1, UNIT + 1)
    low = places.astype(int).clip(max=len(RAMP) - 2)
    ramp, part = np.array(RAMP, float), (places - low)[:, None]
    mixed = ramp[low] * (1 - part) + ramp[low + 1] * part
    return tuple(tuple(colour) for colour in mixed.round().astype(int).tolist())


def colour_table(colours: Sequence[Colour | None]) -> tuple[bytes, bytes]:
    """RGB and alpha of 256 indices; what has no colour is transparent."""
    table, alpha = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    for index, colour in enumerate(colours[:IGNORE]):
        if colour is not None:
            table[index], alpha[index] = colour, 255
    return table.tobytes(), alpha.tobytes()


def indexed_png(ids: UInt8[np.ndarray, "h w"], table: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8-bit indices, unfiltered, as the page reads it."""
    image, out = Image.fromarray(ids, "P"), io.BytesIO()
    image.putpalette(table[0])
    image.save(out, "PNG", transparency=table[1], bits=8)
    return out.getvalue()


def picture(
    colours: UInt8[np.ndarray, "h w 3"], known: Bool[np.ndarray, "h w"]
) -> bytes:
    """A WebP that is transparent where nothing is known."""
    alpha = np.where(known, 255, 0).astype(np.uint8)
    image, out = Image.fromarray(np.dstack([colours, alpha])), io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY, method=2)
    return out.getvalue()

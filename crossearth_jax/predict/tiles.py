"""Parts of a huge scene, each mapped alone, bitwise as in one piece.

A part takes every window of the whole scene's layout that touches it, so each of its
pixels adds up the same scores in the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from crossearth_jax.predict.strip import Block
from crossearth_jax.scoring.windows import Layout


@dataclass(frozen=True)
class Tile:
    """Rows and columns of a scene."""

    top: int
    left: int
    height: int
    width: int

    @property
    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows [start, stop) and columns."""
        rows = self.top, self.top + self.height
        return rows, (self.left, self.left + self.width)


def tiles_of(height: int, width: int, side: int) -> list[Tile]:
    """Tiles from left to right and top to bottom; those at the end may be smaller."""
    return [
        Tile(top, left, min(side, height - top), min(side, width - left))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


@dataclass(frozen=True)
class Cut:
    """What must be read of a scene for one tile.

    Attributes:
      tile: the result.
      layout: windows that touch it, over the area that they cover.
      top: first row of that area in the scene.
      left: first column.
    """

    tile: Tile
    layout: Layout
    top: int
    left: int

    def inside(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Of finished rows of the area those, and the columns, of the tile."""
        first = self.tile.top - self.top
        last = first + self.tile.height
        left = self.tile.left - self.left
        columns = slice(left, left + self.tile.width)
        for block in blocks:
            begin = max(block.top, first)
            end = min(block.top + len(block.valid), last)
            if begin < end:
                rows = slice(begin - block.top, end - block.top)
                scores, valid = block.scores[rows, columns], block.valid[rows, columns]
                yield Block(begin - first, scores, valid)

    def read_rows(
        self, scene: Any, start: int, stop: int
    ) -> tuple[UInt8[np.ndarray, "r W 3"], Bool[np.ndarray, "r W"]]:
        """Rows [start, stop) of the area on the 0-255 scale, and what has data."""
        columns = self.left, self.left + self.layout.width
        return scene.read((self.top + start, self.top + stop), columns)


def cut(tile: Tile, layout: Layout) -> Cut:
    """The windows that touch a tile.

    Args:
      tile: rows and columns.
      layout: of the whole scene.
    """
    tops, height = _touching(
        layout.tops, layout.window[0], layout.height, tile.top, tile.height
    )
    lefts, width = _touching(
        layout.lefts, layout.window[1], layout.width, tile.left, tile.width
    )
    local = Layout(
        height,
        width,
        layout.window,
        tuple(top - tops[0] for top in tops),
        tuple(left - lefts[0] for left in lefts),
        layout.blend,
    )
    return Cut(tile, local, tops[0], lefts[0])


def _touching(
    origins: tuple[int, ...], length: int, size: int, first: int, count: int
) -> tuple[list[int], int]:
    """Windows of an axis that touch some of its pixels, and pixels that they cover."""
    found = [x for x in origins if x < first + count and x + length > first]
    return found, min(found[-1] + length, size) - found[0]

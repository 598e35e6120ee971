"""Areas of the classes, true to the ground.

What a map says of itself is taken where each pixel has the same area. Else its pixels
are counted, row by row, while the page is open already.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo, ground
from crossearth_jax.predict.map_tags import PIXELS, numbers_in
from crossearth_jax.predict.values import DAMAGED
from crossearth_jax.system.escape import error_line
from crossearth_jax.view.maps import ClassMap, open_raster

PIECE = 4_000_000  # pixels in memory

Areas = dict[int, float]  # by class id: square metres, or pixels without longitudes


class AreaCount:
    """The areas of several maps, counted in a thread of their own.

    Attributes:
      found: of each map; None until it is known.
      problem: why there will be no more; "" without one.
    """

    def __init__(self, maps: Sequence[ClassMap]) -> None:
        self._maps = tuple(maps)
        self.found: list[Areas | None] = [stated_areas(one) for one in maps]
        self.problem = ""
        self._left = [m for m, a in zip(maps, self.found, strict=True) if a is None]
        self._pixels = sum(one.size[0] * one.size[1] for one in self._left)
        self._counted = 0
        self._stop = threading.Event()

    @property
    def share(self) -> float:
        """Of what had to be counted, what is."""
        return self._counted / self._pixels if self._pixels else 1.0

    def start(self) -> None:
        """Counts beside other work."""
        threading.Thread(target=self._beside, name="areas", daemon=True).start()

    def stop(self) -> None:
        """Ends the counting."""
        self._stop.set()

    def count(self) -> None:
        """Counts here.

        Raises:
          OSError: a map is damaged.
        """
        for number, one in enumerate(self._maps):
            if self.found[number] is None and not self._stop.is_set():
                found = counted_areas(one, self._advance)
                self.found[number] = None if self._stop.is_set() else found

    def _beside(self) -> None:
        try:
            self.count()
        except (OSError, ValueError) as error:
            self.problem = error_line(error)

    def _advance(self, pixels: int) -> bool:
        self._counted += pixels
        return not self._stop.is_set()


def stated_areas(one: ClassMap) -> Areas | None:
    """Areas from the counts in a map's tags; None where they do not tell all."""
    counts = numbers_in(one.tags, PIXELS, int)
    names = [entry.name for entry in one.classes]
    if set(counts) != {*names, "nodata"} or len(set(names)) < len(names):
        return None
    if sum(counts.values()) != one.size[0] * one.size[1]:  # as of maps that overlap
        return None
    with geo.quiet(), open_raster(one.path) as file:
        by_row = _pixel_areas(file, one)
    if np.ptp(by_row) > 0:
        return None
    return {e.id: counts[e.name] * float(by_row[0]) for e in one.classes}


def counted_areas(one: ClassMap, goes_on: Callable[[int], bool]) -> Areas:
    """Areas from all pixels of a map.

    Args:
      one: the map.
      goes_on: gets the number of pixels of each piece; ends the counting with False.

    Raises:
      OSError: it is damaged.
    """
    total = np.zeros(IGNORE + 1)
    window = geo.needed("rasterio.windows").Window
    with geo.quiet(), open_raster(one.path) as file, geo.explained(one.path, DAMAGED):
        by_row = _pixel_areas(file, one)
        for top, left, height, width in _pieces(file):
            place = window(left, top, width, height)
            part = file.read(1, window=place, masked=True)
            total += _sums(part, by_row[top : top + height])
            if not goes_on(part.size):
                break
    known = {entry.id for entry in one.classes} | set(np.flatnonzero(total[:IGNORE]))
    return {int(k): float(total[k]) for k in sorted(known)}


def _sums(part: Any, by_row: np.ndarray) -> np.ndarray:
    """Areas of the ids 0 to 254 in some rows, at 255 of all else."""
    inside = ~np.ma.getmaskarray(part) & (part.data >= 0) & (part.data < IGNORE)
    ids = np.where(inside, part.data, IGNORE).astype(np.int64)
    if np.ptp(by_row) == 0:
        return np.bincount(ids.ravel(), minlength=IGNORE + 1) * by_row[0]
    counts = [np.bincount(row, minlength=IGNORE + 1) for row in ids]
    return by_row @ np.array(counts)


def _pixel_areas(file: Any, one: ClassMap) -> np.ndarray:
    """Of a pixel of each row; 1 without longitudes."""
    on_earth = one.place.on_earth
    return ground.pixel_areas(file) if on_earth else np.ones(file.height)


def _pieces(file: Any) -> Iterator[tuple[int, int, int, int]]:
    """First row and column, rows and columns: whole blocks, so that none is read twice.

    Blocks larger than a piece, as of files in strips, are cut all the same.
    """
    rows, columns = file.block_shapes[0]
    height = min(file.height, max(1, PIECE // columns), max(rows, PIECE // file.width))
    height = height if height < rows else height // rows * rows
    width = max(columns, PIECE // height // columns * columns)
    for top in range(0, file.height, height):
        for left in range(0, file.width, width):
            rest = min(height, file.height - top), min(width, file.width - left)
            yield top, left, *rest

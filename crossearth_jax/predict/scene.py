"""One raster as the model wants it: three bands, 0-255, and what is valid.

A scene has one scaling, so no window looks different from its neighbour.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.pixels.scaling import (
    Pair,
    pairs_of,
    scaled,
    scaled_bands,
    to_8_bits,
)
from crossearth_jax.predict import geo
from crossearth_jax.predict.as_trained import of_scene
from crossearth_jax.predict.ground import moved, pixel_metres
from crossearth_jax.predict.resample import Span, nearest, resampled, taken
from crossearth_jax.predict.scaling import choose_scaling
from crossearth_jax.predict.sources import Remote, address_of, source_of
from crossearth_jax.predict.values import Values, alpha_bands
from crossearth_jax.system.escape import cut

if TYPE_CHECKING:  # reading scenes needs no JAX
    from crossearth_jax.predict.tiles import Tile

STRIP = 128  # rows read at a time for a picture
MOST_COLUMNS = 2**24  # the Earth at 2.4 m


@dataclass(frozen=True)
class Reading:
    """How rasters are read.

    Attributes:
      bands: 1-based numbers of red, green and blue; None takes the file's own colours.
      scale: values that become 0 and 255, or such a pair for each band; None takes
        `percentiles`, but leaves 8 bits as they are.
      percentiles: of each band, over the whole scene.
      nodata: value without data, besides the file's own.
      gsd: ground sampling distance in metres that the model sees; None resamples not.
      ignore_alpha: take pixels as data whatever an alpha band holds.
      trained: what the run's images were; stands in for bands, scale and gsd that are
        None.
    """

    bands: tuple[int, int, int] | None = None
    scale: Pair | tuple[Pair, ...] | None = None
    percentiles: tuple[float, float] = (2.0, 98.0)
    nodata: float | None = None
    gsd: float | None = None
    ignore_alpha: bool = False
    trained: RawImages | None = None

    def __post_init__(self) -> None:
        pairs = () if self.scale is None else pairs_of(self.scale, 3)
        if not all(low < high for low, high in pairs):
            raise ValueError(
                f"got --scale {self.scale}, expected LOW,HIGH with LOW < HIGH"
            )
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(
                f"got --percentiles {low},{high}, expected LOW,HIGH between 0 and 100"
            )
        if self.gsd is not None and not self.gsd > 0:
            raise ValueError(f"got --gsd {self.gsd}, expected metres above 0")

    def of(self, source: Any) -> "Reading":
        """What holds for an open rasterio dataset, see `as_trained.of_scene`."""
        if self.trained is None:
            return self
        raw = of_scene(source, self.trained, stated=self.bands, gsd=self.gsd)
        red, *others = raw.bands or (None,)
        bands = None if red is None else (red, *(others or (red, red)))
        return replace(
            self,
            bands=self.bands or bands,
            scale=self.scale or raw.scale or None,
            gsd=self.gsd or raw.gsd,
            trained=None,
        )


@dataclass(frozen=True)
class Grid:
    """The pixels that the model sees: the source's, or others over the same extent."""

    height: int
    width: int
    crs: Any
    transform: Any


def grid_part(grid: Any, tile: "Tile") -> Grid:
    """A part of a grid, or of a raster; where there is no transform it gets none."""
    transform = grid.transform
    if not transform.is_identity:
        (a, b, _), (d, e, _) = transform[:3], transform[3:6]
        x, y = moved(transform, tile.left, tile.top)
        transform = geo.needed("rasterio").Affine(a, b, x, d, e, y)
    return Grid(tile.height, tile.width, grid.crs, transform)


@dataclass(frozen=True)
class Scene:
    """An open raster.

    Attributes:
      source: the rasterio dataset whose grid the map will have.
      grid: what is read: the source, or it resampled to the wanted distance.
      values: reads the source.
      scaling: value of each band that becomes 0, and 255; None leaves 8 bits as is.
      table: colours by value, where the one band is an index into them.
    """

    source: Any
    grid: Grid
    values: Values
    scaling: tuple[tuple[float, ...], tuple[float, ...]] | None
    table: UInt8[np.ndarray, "n 3"] | None

    @property
    def bands(self) -> tuple[int, int, int]:
        """1-based numbers of red, green and blue."""
        return self.values.bands

    @property
    def is_resampled(self) -> bool:
        """Whether the grid has other pixels than the source."""
        size = self.source.height, self.source.width
        return size != (self.grid.height, self.grid.width)

    def on_grid(self, tile: "Tile") -> "Tile":
        """The grid's pixels that go into those of a part of the source."""
        if not self.is_resampled:
            return tile
        rows, columns = tile.spans
        top, bottom = taken(self.grid.height, self.source.height, rows)
        left, right = taken(self.grid.width, self.source.width, columns)
        size = {"height": bottom - top, "width": right - left}
        return replace(tile, top=top, left=left, **size)

    def read_rows(
        self, start: int, stop: int
    ) -> tuple[UInt8[np.ndarray, "r W 3"], Bool[np.ndarray, "r W"]]:
        """Rows [start, stop) of the grid, see `read`."""
        return self.read((start, stop), (0, self.grid.width))

    def read(
        self, rows: Span, columns: Span
    ) -> tuple[UInt8[np.ndarray, "r c 3"], Bool[np.ndarray, "r c"]]:
        """A part of the grid on the 0-255 scale, and what has data.

        Rounded, resampled or not: that is what training sees.
        """
        if not self.is_resampled:
            pixels, valid = self.values.read_part(rows, columns)
            return self.eight_bits(pixels), valid
        size = self.source.height, self.source.width
        wanted = self.grid.height, self.grid.width
        pixels, valid = resampled(self._source_part, size, wanted, rows, columns)
        return to_8_bits(pixels), valid

    def _source_part(
        self, rows: Span, columns: Span
    ) -> tuple[np.ndarray, Bool[np.ndarray, "r c"]]:
        pixels, valid = self.values.read_part(rows, columns)
        return self.colours(pixels), valid

    def colours(
        self, pixels: np.ndarray
    ) -> UInt8[np.ndarray, "r W 3"] | Float32[np.ndarray, "r W 3"]:
        """Values [r, W, 3] of the file to the 0-255 scale."""
        if self.table is not None:
            return self.table[pixels[..., 0]]
        if self.scaling is None:
            return pixels
        colours = np.empty(pixels.shape, np.float32)
        for band in range(3):
            low, high = (limit[band] for limit in self.scaling)
            colours[..., band] = scaled(pixels[..., band], low, high)
        return colours

    def eight_bits(self, pixels: np.ndarray) -> UInt8[np.ndarray, "r W 3"]:
        """`colours`, rounded as those of training are."""
        if self.table is None and self.scaling is not None:
            return scaled_bands(pixels, list(zip(*self.scaling, strict=True)))
        return to_8_bits(self.colours(pixels))

    def thumbnail(
        self, height: int, width: int
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """The whole source, small, in the colours that the model sees."""
        rows, columns = self.source.height, self.source.width
        if self.source.overviews(self.bands[0]):
            area = 0, 0, columns, rows
            pixels, valid = self.values.read(area, (height, width))
        else:
            # GDAL would decode the tiles again and again to leave out pixels.
            down, along = nearest(rows, height), nearest(columns, width)
            parts = []
            for start in range(0, rows, STRIP):
                stop = min(start + STRIP, rows)
                mine = down[(start <= down) & (down < stop)] - start
                pixels, valid = self.values.read((0, start, columns, stop - start))
                parts.append([x[mine][:, along] for x in (pixels, valid)])
            pixels, valid = (np.concatenate(x) for x in zip(*parts, strict=True))
        return self.eight_bits(pixels), valid


@contextmanager
def open_scene(path: str | Path | Remote, reading: Reading) -> Iterator[Scene]:
    """Opens anything that GDAL reads, by its path or address.

    Raises:
      ValueError: the file cannot be read, or its bands do not fit.
    """
    rasterio = geo.needed("rasterio")
    with ExitStack() as stack:
        # A missing georeference is reported once, by whoever makes a map of it.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            address = address_of(source_of(path))
            source = stack.enter_context(rasterio.open(address))
        except (rasterio.errors.RasterioError, geo.gdal_error()) as error:
            raise ValueError(
                f"{path}: cannot be opened ({error}): expected a raster that GDAL "
                "reads, such as GeoTIFF, VRT, JPEG 2000, PNG or JPEG"
            ) from error
        yield scene_of(source, reading)


def scene_of(source: Any, reading: Reading) -> Scene:
    """Prepares an open rasterio dataset, see `open_scene`."""
    if source.width > MOST_COLUMNS:
        raise ValueError(
            f"{source.name}: got {source.width:,} columns, expected at most "
            f"{MOST_COLUMNS:,}: the file is damaged, or cut it into parts"
        )
    reading = reading.of(source)
    bands = choose_bands(source, reading.bands)
    alphas = alpha_bands(source, bands, reading.ignore_alpha)
    values = Values(source, bands, alphas, reading.nodata)
    table = _colour_table(source, bands)
    scaling = None
    if table is None:
        scaling = choose_scaling(values, reading.scale, reading.percentiles)
    return Scene(source, _grid(source, reading.gsd), values, scaling, table)


def _grid(source: Any, gsd: float | None) -> Grid:
    """Pixels of the wanted size over the extent of the source."""
    if gsd is None:
        return Grid(source.height, source.width, source.crs, source.transform)
    across, down = pixel_metres(source)
    width = max(1, round(source.width * across / gsd))
    height = max(1, round(source.height * down / gsd))
    a, b, c, d, e, f = source.transform[:6]
    x, y = source.width / width, source.height / height
    transform = geo.needed("rasterio").Affine(a * x, b * y, c, d * x, e * y, f)
    return Grid(height, width, source.crs, transform)


def choose_bands(
    dataset: Any, wanted: tuple[int, int, int] | None
) -> tuple[int, int, int]:
    """Numbers of the bands for red, green and blue, counted from 1.

    Raises:
      ValueError: a wanted band is not there, or it is not clear which three to take.
    """
    count = dataset.count
    if wanted is not None:
        if not all(1 <= band <= count for band in wanted):
            raise ValueError(
                f"{dataset.name}: got --bands {','.join(map(str, wanted))}, expected "
                f"three of 1 to {count}: the file has {count} band(s)"
            )
        return wanted
    meaning = [colour.name for colour in dataset.colorinterp]
    if {"red", "green", "blue"} <= set(meaning):
        red, green, blue = (meaning.index(c) + 1 for c in ("red", "green", "blue"))
        return red, green, blue
    colours = [i + 1 for i, name in enumerate(meaning) if name != "alpha"]
    if len(colours) == 1:
        return colours[0], colours[0], colours[0]
    if len(colours) == 3:
        return colours[0], colours[1], colours[2]
    raise ValueError(
        f"{dataset.name}: got {count} bands ({cut(', '.join(meaning), 200)}), expected "
        "1 or 3, or bands marked red, green and blue: name the three the model should "
        "see, such as --bands 3,2,1"
    )


def _colour_table(
    dataset: Any, bands: tuple[int, int, int]
) -> UInt8[np.ndarray, "n 3"] | None:
    if dataset.colorinterp[bands[0] - 1].name != "palette":
        return None
    kind = dataset.dtypes[bands[0] - 1]
    if kind not in ("uint8", "uint16"):
        raise ValueError(
            f"{dataset.name}: got a colour table for {kind} values, expected 8 or 16 "
            "bits: expand it with `gdal_translate -expand rgb IN OUT`"
        )
    values = 1 + np.iinfo(kind).max
    table = np.zeros((values, 3), np.uint8)
    for value, colour in dataset.colormap(bands[0]).items():
        table[value] = colour[:3]
    return table

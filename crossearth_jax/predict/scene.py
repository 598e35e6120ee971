"""One raster as the model wants it: three bands, 0-255, and what is valid.

A scene has one scaling, so no window looks different from its neighbour.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from crossearth_jax.predict import geo

SAMPLE = 1024  # side of the overview, or of all sampled tiles together, for percentiles
TILE = 128
STRIP = 128  # rows read at a time for a picture


@dataclass(frozen=True)
class Reading:
    """How rasters are read.

    Attributes:
      bands: 1-based numbers of red, green and blue; None takes the file's own colours.
      scale: values that become 0 and 255; None takes `percentiles`, but leaves 8 bits
        as they are.
      percentiles: of each band, over the whole scene.
      nodata: value without data; None takes the file's.
      gsd: ground sampling distance in metres that the model sees; None resamples not.
    """

    bands: tuple[int, int, int] | None = None
    scale: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (2.0, 98.0)
    nodata: float | None = None
    gsd: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale[0] < self.scale[1]:
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


@dataclass(frozen=True)
class Scene:
    """An open raster.

    Attributes:
      source: the rasterio dataset whose grid the map will have.
      grid: what is read: the source, or it resampled to the wanted distance.
      bands: 1-based numbers of red, green and blue.
      scaling: value of each band that becomes 0, and 255; None leaves 8 bits as is.
      table: colours by value, where the one band is an index into them.
      nodata: given by the user, on top of the file's own masks.
    """

    source: Any
    grid: Any
    bands: tuple[int, int, int]
    scaling: tuple[tuple[float, ...], tuple[float, ...]] | None
    table: UInt8[np.ndarray, "256 3"] | None
    nodata: float | None

    @property
    def dtype(self) -> type[np.number]:
        """Type of the rows: 8 bits that are not scaled stay as they are."""
        return np.uint8 if self.scaling is None else np.float32

    def read_rows(
        self, start: int, stop: int
    ) -> tuple[
        UInt8[np.ndarray, "r W 3"] | Float32[np.ndarray, "r W 3"],
        Bool[np.ndarray, "r W"],
    ]:
        """Rows [start, stop) of the grid on the 0-255 scale, and what has data."""
        pixels, valid = self._read((0, start, self.grid.width, stop - start))
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
            limits = (limit[band] for limit in self.scaling)
            colours[..., band] = self._scaled(pixels[..., band], *limits)
        return colours

    def _scaled(self, values: np.ndarray, low: float, high: float) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            scaled = (values.astype(np.float64) - low) / max(high - low, 1e-12) * 255
        return np.nan_to_num(scaled.clip(0, 255))

    def thumbnail(
        self, height: int, width: int
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """The whole grid, small, as the model sees it."""
        rows, columns = self.grid.height, self.grid.width
        if self.grid.overviews(self.bands[0]):
            pixels, valid = self._read((0, 0, columns, rows), (height, width))
        else:
            # GDAL would decode the tiles again and again to leave out pixels.
            down, along = _centres(rows, height), _centres(columns, width)
            parts = []
            for start in range(0, rows, STRIP):
                stop = min(start + STRIP, rows)
                mine = down[(start <= down) & (down < stop)] - start
                pixels, valid = self._read((0, start, columns, stop - start))
                parts.append([x[mine][:, along] for x in (pixels, valid)])
            pixels, valid = (np.concatenate(x) for x in zip(*parts, strict=True))
        return np.rint(self.colours(pixels)).astype(np.uint8), valid

    def _read(
        self, area: tuple[int, int, int, int], size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, Bool[np.ndarray, "r W"]]:
        return _read(self.grid, self.bands, area, self.nodata, size)


def _centres(size: int, parts: int) -> Int[np.ndarray, "n"]:
    """The pixel in the middle of each of so many equal parts of an axis."""
    return ((np.arange(parts) + 0.5) * size / parts).astype(int)


def _read(
    grid: Any,
    bands: tuple[int, int, int],
    area: tuple[int, int, int, int],
    nodata: float | None,
    size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, Bool[np.ndarray, "r W"]]:
    """Values [r, W, 3] and where any of the bands has data.

    Args:
      grid: rasterio dataset.
      bands: three numbers, perhaps equal.
      area: first column and row, columns and rows.
      nodata: a value that means no data too.
      size: rows and columns of the result if it should be smaller.
    """
    window = geo.needed("rasterio.windows").Window(*area)
    different = sorted(set(bands))  # a grey band is read once, not three times
    shape = None if size is None else (len(different), *size)
    with geo.explained(grid.name, "cannot be read, the file may be damaged: copy it"):
        values = grid.read(different, window=window, out_shape=shape)
        masks = grid.read_masks(different, window=window, out_shape=shape)
    valid = masks.any(0)
    if nodata is not None:
        valid &= (values != nodata).any(0)
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(0)
    order = [different.index(band) for band in bands]
    return np.moveaxis(values[order], 0, 2), valid


@contextmanager
def open_scene(path: str | Path, reading: Reading) -> Iterator[Scene]:
    """Opens anything that GDAL reads: GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG.

    Raises:
      ValueError: the file cannot be read, or its bands do not fit.
    """
    rasterio = geo.needed("rasterio")
    with ExitStack() as stack:
        # A missing georeference is reported once, by whoever makes a map of it.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            source = stack.enter_context(rasterio.open(path))
        except rasterio.errors.RasterioError as error:
            raise ValueError(
                f"{path}: cannot be opened ({error}): expected a raster that GDAL "
                "reads, such as GeoTIFF, VRT, JPEG 2000, PNG or JPEG"
            ) from error
        yield stack.enter_context(scene_of(source, reading))


@contextmanager
def scene_of(source: Any, reading: Reading) -> Iterator[Scene]:
    """Prepares an open rasterio dataset, see `open_scene`."""
    bands = choose_bands(source, reading.bands)
    with ExitStack() as stack:
        grid = source
        if reading.gsd is not None:
            grid = stack.enter_context(_resampled(source, reading))
        table = _colour_table(source, bands)
        scaling = None if table is not None else _scaling(grid, bands, reading)
        yield Scene(source, grid, bands, scaling, table, reading.nodata)


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
        f"{dataset.name}: got {count} bands ({', '.join(meaning)}), expected 1 or 3, "
        "or bands marked red, green and blue: name the three the model should see, "
        "such as --bands 3,2,1"
    )


def _colour_table(
    dataset: Any, bands: tuple[int, int, int]
) -> UInt8[np.ndarray, "256 3"] | None:
    if dataset.colorinterp[bands[0] - 1].name != "palette":
        return None
    table = np.zeros((256, 3), np.uint8)
    for value, colour in dataset.colormap(bands[0]).items():
        table[value] = colour[:3]
    return table


# ---- scaling ------------------------------------------------------------------------


def _scaling(
    grid: Any, bands: tuple[int, int, int], reading: Reading
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What becomes 0 and 255 in each band."""
    if reading.scale is not None:
        return (reading.scale[0],) * 3, (reading.scale[1],) * 3
    types = {np.dtype(grid.dtypes[band - 1]) for band in bands}
    if any(dtype.kind == "c" for dtype in types):
        raise ValueError(f"{grid.name}: got complex numbers, expected real ones")
    if types == {np.dtype(np.uint8)}:
        return None
    values = _sample(grid, bands, reading.nodata)
    if not len(values):
        return (0.0,) * 3, (1.0,) * 3
    low, high = np.percentile(values.astype(np.float64), reading.percentiles, axis=0)
    return tuple(low.tolist()), tuple(high.tolist())


def _sample(
    grid: Any, bands: tuple[int, int, int], nodata: float | None
) -> Float[np.ndarray, "n 3"] | np.ndarray:
    """Valid values of an overview, or of tiles spread evenly over the scene."""
    height, width = grid.height, grid.width
    fits = height <= SAMPLE and width <= SAMPLE
    if fits or grid.overviews(bands[0]):
        size = min(height, SAMPLE), min(width, SAMPLE)
        values, valid = _read(grid, bands, (0, 0, width, height), nodata, size)
        return values[valid]
    tiles = SAMPLE // TILE
    found = []
    for y in _spread(height, tiles):
        for x in _spread(width, tiles):
            area = x, y, min(TILE, width - x), min(TILE, height - y)
            values, valid = _read(grid, bands, area, nodata)
            found.append(values[valid])
    return np.concatenate(found)


def _spread(size: int, tiles: int) -> list[int]:
    """First pixels of tiles from edge to edge."""
    starts = np.linspace(0, max(0, size - TILE), tiles).round().astype(int)
    return sorted(set(starts.tolist()))


# ---- resampling ---------------------------------------------------------------------


def _resampled(source: Any, reading: Reading) -> Any:
    """A view of the same extent with pixels of the wanted size."""
    rasterio = geo.needed("rasterio")
    across, down = pixel_metres(source)
    width = max(1, round(source.width * across / reading.gsd))
    height = max(1, round(source.height * down / reading.gsd))
    a, b, c, d, e, f = source.transform[:6]
    x, y = source.width / width, source.height / height
    nodata = source.nodata if reading.nodata is None else reading.nodata
    has_alpha = any(colour.name == "alpha" for colour in source.colorinterp)
    return geo.needed("rasterio.vrt").WarpedVRT(
        source,
        crs=source.crs,
        transform=rasterio.Affine(a * x, b * y, c, d * x, e * y, f),
        width=width,
        height=height,
        resampling=rasterio.enums.Resampling.bilinear,
        nodata=nodata,
        src_nodata=nodata,
        add_alpha=nodata is None and not has_alpha,
    )


def pixel_metres(dataset: Any) -> tuple[float, float]:
    """Width and height of a pixel in metres, at the centre of the scene.

    Raises:
      ValueError: the raster has no coordinate system, so its pixels have no size.
    """
    if dataset.crs is None:
        raise ValueError(
            f"{dataset.name}: got --gsd for a raster without coordinate system, "
            "expected one: leave --gsd out, or georeference the file first"
        )
    step = dataset.transform
    across, down = math.hypot(step.a, step.d), math.hypot(step.b, step.e)
    if not dataset.crs.is_geographic:
        metres = dataset.crs.linear_units_factor[1]
        return across * metres, down * metres
    latitude = step.d * dataset.width / 2 + step.e * dataset.height / 2 + step.f
    degree = math.pi / 180 * 6_371_008.8  # metres, on the mean sphere
    return across * degree * math.cos(math.radians(latitude)), down * degree

"""Values of a raster's bands, and where they are data.

What a band is marked as decides, wherever it stands: GDAL itself takes an alpha band
only as the last of two or four.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Bool

from crossearth_jax.data.tags import FEW
from crossearth_jax.predict import geo

TILE = 128
DAMAGED = "cannot be read, the file may be damaged: copy it"


@dataclass(frozen=True)
class Values:
    """Reads three bands of an open raster.

    Attributes:
      dataset: of rasterio.
      bands: 1-based numbers of red, green and blue, perhaps equal.
      alphas: bands that are 0 where there is no data.
      nodata: a value that means no data, besides the file's own.
    """

    dataset: Any
    bands: tuple[int, int, int]
    alphas: tuple[int, ...]
    nodata: float | None

    def read(
        self, area: tuple[int, int, int, int], size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, Bool[np.ndarray, "r W"]]:
        """Values [r, W, 3] and where any of the bands has data.

        Args:
          area: first column and row, columns and rows.
          size: rows and columns of the result if it should be smaller.

        Raises:
          OSError: the file is damaged.
        """
        window = geo.needed("rasterio.windows").Window(*area)
        different = sorted(set(self.bands))  # a grey band is read once
        shape = None if size is None else (len(different), *size)
        read = {"window": window, "out_shape": shape}
        with geo.explained(self.dataset.name, DAMAGED):
            values = self.dataset.read(different, **read)
            valid = np.ones(values.shape[1:], bool)
            if all(self._has_mask(band) for band in different):
                valid &= self.dataset.read_masks(different, **read).any(0)
            for band in self.alphas:
                valid &= self.dataset.read(band, window=window, out_shape=size) > 0
        valid &= self._known(values, different)
        order = [different.index(band) for band in self.bands]
        return np.moveaxis(values[order], 0, 2), valid

    def read_part(
        self, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[np.ndarray, Bool[np.ndarray, "r c"]]:
        """Rows and columns [start, stop), see `read`."""
        (top, bottom), (left, right) = rows, columns
        return self.read((left, top, right - left, bottom - top))

    def _has_mask(self, band: int) -> bool:
        """Whether GDAL masks a band by more than an alpha band."""
        flags = {flag.name for flag in self.dataset.mask_flag_enums[band - 1]}
        return not flags & {"alpha", "all_valid"}

    def _known(self, values: np.ndarray, bands: list[int]) -> Bool[np.ndarray, "r W"]:
        """Not where all bands have a value that means no data, or one is nan."""
        own = [self.dataset.nodatavals[band - 1] for band in bands]
        valid = np.ones(values.shape[1:], bool)
        for nodata in (own, [self.nodata] * len(bands)):
            pairs = zip(values, nodata, strict=True)
            has_data = [True if n is None else v != n for v, n in pairs]
            valid &= np.any(np.broadcast_arrays(*has_data), 0)
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(0)
        return valid


def alpha_bands(
    dataset: Any, bands: tuple[int, int, int], ignore: bool
) -> tuple[int, ...]:
    """Numbers of the bands that are marked as alpha and are none of the colours."""
    if ignore:
        return ()
    meaning = [colour.name for colour in dataset.colorinterp]
    found = tuple(i + 1 for i, name in enumerate(meaning) if name == "alpha")
    alphas = tuple(band for band in found if band not in bands)
    for band in alphas:
        _warn_of_colours(dataset, band)
    return alphas


def _warn_of_colours(dataset: Any, band: int) -> None:
    """GDAL marks a fourth band as alpha by default, also if it is near infrared."""
    height, width = dataset.height, dataset.width
    window = geo.needed("rasterio.windows").Window
    area = window(max(0, width - TILE) // 2, max(0, height - TILE) // 2, TILE, TILE)
    with geo.explained(dataset.name, DAMAGED):
        sample = dataset.read(band, window=area)
    if len(np.unique(sample)) > FEW:
        logging.warning(
            "%s: band %d is marked as alpha, so there is no data where it is 0; if it "
            "is a colour such as near infrared, pass --ignore-alpha",
            dataset.name,
            band,
        )

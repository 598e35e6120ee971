"""Values of any type on the scale 0-255 that a network sees: one arithmetic for all.

Training images and scenes to map go through here, so that a value becomes the same
pixel wherever it comes from. Networks see 8 bits: that is what training travels in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Num, UInt8

Pair = tuple[float, float]
LEAST = 1e-12  # of a range, so that a constant band is no division by zero
SHORT = ("uint8", "uint16", "int16")  # types whose values a table can list


def scaled(
    values: Num[np.ndarray, "..."], low: float, high: float
) -> Float32[np.ndarray, "..."]:
    """Linear from [low, high] to [0, 255], clipped; nan becomes 0."""
    with np.errstate(invalid="ignore"):
        found = (values.astype(np.float64) - low) / max(high - low, LEAST) * 255
    return np.nan_to_num(found.clip(0, 255)).astype(np.float32)


def to_8_bits(
    colours: UInt8[np.ndarray, "..."] | Float32[np.ndarray, "..."],
) -> UInt8[np.ndarray, "..."]:
    """Rounds what is on the scale 0-255 already."""
    if colours.dtype == np.uint8:
        return colours
    return np.rint(colours).astype(np.uint8)


def scaled_bands(
    values: Num[np.ndarray, "... C"], scale: Sequence[Pair]
) -> UInt8[np.ndarray, "... C"]:
    """`scaled` and rounded, band by band; a table where the type has few values.

    Args:
      values: of C bands.
      scale: (low, high) of each.
    """
    found = np.empty(values.shape, np.uint8)
    for band, (low, high) in enumerate(scale):
        found[..., band] = _scaled_band(values[..., band], low, high)
    return found


def _scaled_band(values: np.ndarray, low: float, high: float) -> np.ndarray:
    kind = values.dtype.newbyteorder("=")
    if kind.name not in SHORT or values.size < 1 << 8 * kind.itemsize:
        return to_8_bits(scaled(values, low, high))
    places = np.dtype(f"u{kind.itemsize}")  # negative values stand behind the others
    levels = np.arange(1 << 8 * kind.itemsize).astype(places).view(kind)
    table = to_8_bits(scaled(levels, low, high))
    return table[values.astype(kind, copy=False).view(places)]


def pairs_of(scale: Sequence[Any], bands: int) -> tuple[Pair, ...]:
    """One pair for each of so many bands.

    Args:
      scale: (low, high), or several such pairs: one for all bands, or one for each.
      bands: how many.

    Raises:
      ValueError: another number of pairs.
    """
    several = isinstance(scale[0], list | tuple)
    pairs = tuple((low, high) for low, high in (scale if several else [scale]))
    if len(pairs) not in (1, bands):
        raise ValueError(
            f"got {len(pairs)} pairs of LOW,HIGH for {bands} band(s), expected one for "
            "all or one for each"
        )
    return pairs * bands if len(pairs) == 1 else pairs

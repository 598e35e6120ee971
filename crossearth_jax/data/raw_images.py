"""What a run's images were before they were three bands of 8 bits.

A run keeps it, so that training, scoring and mapping read a scene alike: `data.bands`,
`data.scale` and `data.gsd` in `config.default`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossearth_jax.pixels.scaling import Pair, pairs_of
from crossearth_jax.system.escape import quoted

MOST_8_BITS = 255


@dataclass(frozen=True)
class RawImages:
    """Images of any bits and bands, as the run states them.

    Attributes:
      bands: 1-based numbers of red, green and blue in the file, or of one grey band; ()
        takes the file's own colours.
      scale: values that become 0 and 255, one pair for all bands or one for each; ()
        leaves 8 bits as they are, which is an error for others.
      gsd: ground sampling distance, metres. Images of training are not resampled.
    """

    bands: tuple[int, ...] = ()
    scale: tuple[Pair, ...] = ()
    gsd: float | None = None

    def __post_init__(self) -> None:
        whole = all(type(band) is int and band >= 1 for band in self.bands)
        if len(self.bands) not in (0, 1, 3) or not whole:
            raise ValueError(
                f"got data.bands={quoted(self.bands)}, expected the numbers of three "
                "bands, or of a grey one, counted from 1, such as 3,2,1"
            )
        numbers = [value for pair in self.scale for value in pair]
        if not all(_is_finite(v) for v in numbers) or not all(
            low < high for low, high in self.scale
        ):
            raise ValueError(
                f"got data.scale={quoted(self.scale)}, expected LOW,HIGH with LOW < "
                "HIGH: the values that become 0 and 255, such as 0,4000"
            )
        if len(self.scale) not in (0, 1, len(self.bands) or 3):
            raise ValueError(
                f"got data.scale of {len(self.scale)} pairs for data.bands="
                f"{self.bands}, expected one pair for all bands, or one for each"
            )
        if self.gsd is not None and not (_is_finite(self.gsd) and self.gsd > 0):
            raise ValueError(
                f"got data.gsd={quoted(self.gsd)}, expected metres above 0: the size "
                "of a pixel on the ground"
            )

    @property
    def stated(self) -> bool:
        """Whether anything differs from an ordinary 8-bit image."""
        return bool(self.bands or self.scale)

    def of_type(self, eight_bits: bool) -> "RawImages":
        """What of it holds for a file.

        A scale beyond 255 is for more than 8 bits. An 8-bit image beside such images
        was made ready by somebody, and is taken as it is.
        """
        beyond = any(high > MOST_8_BITS for _, high in self.scale)
        return RawImages(gsd=self.gsd) if eight_bits and beyond else self

    def pairs(self, bands: int) -> tuple[Pair, ...] | None:
        """The scale of each of so many bands; None leaves values as they are.

        Raises:
          ValueError: it has another number of them.
        """
        return pairs_of(self.scale, bands) if self.scale else None

    def words(self) -> str:
        """Such as "bands 3,2,1, scaled 0–4000"; "" where nothing is stated."""
        found = []
        if self.bands:
            name = "band" if len(self.bands) == 1 else "bands"
            found.append(f"{name} {','.join(map(str, self.bands))}")
        if self.scale:
            found.append(f"scaled {scale_in_words(self.scale)}")
        return ", ".join(found)


ORDINARY = RawImages()  # nothing is stated


def scale_in_words(scale: Sequence[Pair]) -> str:
    """Such as "0–4000", or three of them where bands differ."""
    shown = [f"{low:g}\N{EN DASH}{high:g}" for low, high in scale]
    return ", ".join(shown[:1] if len(set(shown)) == 1 else shown)


def raw_images(bands: Any, scale: Any, gsd: Any = None) -> RawImages:
    """From the values of a configuration or a manifest, where None states nothing.

    Args:
      bands: numbers.
      scale: LOW, HIGH or several such pairs; equal ones become one.
      gsd: metres.

    Raises:
      ValueError: they are no such thing.
    """
    return RawImages(_tuple("bands", bands), _pairs(scale), gsd)


def _tuple(key: str, values: Any) -> tuple[Any, ...]:
    if values is None:
        return ()
    if not isinstance(values, list | tuple):
        raise ValueError(f"got data.{key}={quoted(values)}, expected several numbers")
    return tuple(values)


def _pairs(scale: Any) -> tuple[Pair, ...]:
    values = _tuple("scale", scale)
    if values and not any(isinstance(value, list | tuple) for value in values):
        values = (values,)
    for pair in values:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(
                f"got data.scale={quoted(scale)}, expected LOW,HIGH such as 0,4000, or "
                "such a pair for each band: ((0,4000),(0,3000),(0,3000))"
            )
    pairs = tuple(tuple(pair) for pair in values)
    return pairs[:1] if len(set(map(repr, pairs))) == 1 else pairs


def _is_finite(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False

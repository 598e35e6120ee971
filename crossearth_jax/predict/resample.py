"""A raster on another number of pixels, without mixing in what has no data.

Bilinear; where pixels become larger, each is the weighted mean of all that it covers. A
pixel does not depend on which others are asked for with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Num

Span = tuple[int, int]  # [start, stop) of an axis
# Rows and columns of the raster: values, and what is valid.
ReadValues = Callable[
    [Span, Span], tuple[Num[np.ndarray, "r c C"], Bool[np.ndarray, "r c"]]
]


@dataclass(frozen=True)
class _Taps:
    """What each new pixel of an axis takes: pixels [t, n] and their weights [t, n]."""

    index: Int[np.ndarray, "t n"]
    weight: Float32[np.ndarray, "t n"]

    @property
    def span(self) -> Span:
        """From the first pixel to one past the last."""
        return int(self.index.min()), int(self.index.max()) + 1


def resampled(
    read: ReadValues,
    size: tuple[int, int],
    wanted: tuple[int, int],
    rows: Span,
    columns: Span,
) -> tuple[Float32[np.ndarray, "r c C"], Bool[np.ndarray, "r c"]]:
    """A part of a raster that has other pixels over the same extent.

    Args:
      read: gives a part of the raster that is there.
      size: its rows and columns.
      wanted: rows and columns of the new one.
      rows: of the new one.
      columns: of the new one.

    Returns:
      Means of the valid pixels alone, 0 where there are none; and where there are some.
    """
    down = _taps(size[0], wanted[0], *rows)
    along = _taps(size[1], wanted[1], *columns)
    values, valid = read(down.span, along.span)
    down_index, along_index = down.index - down.span[0], along.index - along.span[0]
    share = valid[..., None].astype(np.float32)
    known = np.where(valid[..., None], values, 0).astype(np.float32)
    total, weight = (
        _mixed(_mixed(x, down_index, down.weight, 0), along_index, along.weight)
        for x in (known, share)
    )
    is_valid = weight[..., 0] > 0
    return total / np.where(weight > 0, weight, 1), is_valid


def taken(size: int, wanted: int, span: Span) -> Span:
    """Pixels of an axis that new pixels take, be it by `resampled` or `nearest`."""
    return _taps(size, wanted, *span).span


def nearest(
    size: int, wanted: int, start: int = 0, stop: int | None = None
) -> Int[np.ndarray, "n"]:
    """The pixel that the middle of each new pixel [start, stop) of an axis lies in."""
    middle = np.arange(start, wanted if stop is None else stop) + 0.5
    return (middle * size / wanted).astype(int)


def _taps(size: int, wanted: int, start: int, stop: int) -> _Taps:
    step = size / wanted
    reach = max(step, 1.0)
    centre = (np.arange(start, stop) + 0.5) * step - 0.5
    first = np.floor(centre - reach).astype(int) + 1
    index = first + np.arange(int(np.ceil(2 * reach)))[:, None]
    weight = np.maximum(0, 1 - np.abs(index - centre) / reach)
    weight[(index < 0) | (index >= size)] = 0
    weight /= weight.sum(0)
    return _Taps(index.clip(0, size - 1), weight.astype(np.float32))


def _mixed(
    values: Float32[np.ndarray, "H W C"],
    index: Int[np.ndarray, "t n"],
    weight: Float32[np.ndarray, "t n"],
    axis: int = 1,
) -> Float32[np.ndarray, "h w C"]:
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total = values.take(index[0], axis) * weight[0].reshape(shape)
    for i, w in zip(index[1:], weight[1:], strict=True):
        total += values.take(i, axis) * w.reshape(shape)
    return total

"""Rows of a raster on another number of pixels, without mixing in what has no data.

Bilinear; where pixels become larger, each is the weighted mean of all that it covers. A
row does not depend on which others are asked for with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Num

# Rows [start, stop) of the raster: values, and what is valid.
ReadValues = Callable[
    [int, int], tuple[Num[np.ndarray, "r W C"], Bool[np.ndarray, "r W"]]
]

# Rows [start, stop) and columns [start, stop): the same.
ReadWindow = Callable[
    [tuple[int, int], tuple[int, int]],
    tuple[Num[np.ndarray, "r c C"], Bool[np.ndarray, "r c"]],
]


@dataclass(frozen=True)
class _Taps:
    """What each new pixel of an axis takes: pixels [t, n] and their weights [t, n]."""

    index: Int[np.ndarray, "t n"]
    weight: Float32[np.ndarray, "t n"]


def resampled_rows(
    read: ReadValues,
    size: tuple[int, int],
    wanted: tuple[int, int],
    start: int,
    stop: int,
) -> tuple[Float32[np.ndarray, "r w C"], Bool[np.ndarray, "r w"]]:
    """Rows [start, stop) of a raster that has other pixels over the same extent.

    Args:
      read: gives rows of the raster that is there.
      size: its rows and columns.
      wanted: rows and columns of the new one.
      start: first new row.
      stop: one past the last.

    Returns:
      Means of the valid pixels alone, 0 where there are none; and where there are some.
    """

    def read_window(
        rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        values, valid = read(*rows)
        return values[:, slice(*columns)], valid[:, slice(*columns)]

    return resampled_window(read_window, size, wanted, (start, stop), (0, wanted[1]))


def resampled_window(
    read: ReadWindow,
    size: tuple[int, int],
    wanted: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> tuple[Float32[np.ndarray, "r c C"], Bool[np.ndarray, "r c"]]:
    """As `resampled_rows`, of some columns: each pixel is the same, bitwise.

    Args:
      read: gives a window of the raster that is there.
      size: its rows and columns.
      wanted: rows and columns of the new one.
      rows: first new row and one past the last.
      columns: first new column and one past the last.
    """
    down = _taps(size[0], wanted[0], *rows)
    along = _taps(size[1], wanted[1], *columns)
    top, bottom = int(down.index.min()), int(down.index.max()) + 1
    left, right = int(along.index.min()), int(along.index.max()) + 1
    values, valid = read((top, bottom), (left, right))
    share = valid[..., None].astype(np.float32)
    known = np.where(valid[..., None], values, 0).astype(np.float32)
    y, x = down.index - top, along.index - left
    total, weight = (
        _mixed(_mixed(part, y, down.weight, 0), x, along.weight)
        for part in (known, share)
    )
    is_valid = weight[..., 0] > 0
    return total / np.where(weight > 0, weight, 1), is_valid


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

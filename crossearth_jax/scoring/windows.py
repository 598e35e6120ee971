"""Where windows lie, what they weigh, and what scores them (method §9)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Array, Float, Float32

# Normalised windows to class scores, usually jitted.
ScoreFn = Callable[
    [Float[np.ndarray, "b h w 3"]],
    Float[Array, "b h w K"] | Float[np.ndarray, "b h w K"],
]


def window_origins(size: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis; the last ends at the edge.

    Args:
      size: pixels along the axis.
      crop: window length; an axis that is no longer gets one window at 0.
      stride: step between windows, at most `crop`.

    Raises:
      ValueError: a length is not positive, or the stride would leave gaps.
    """
    if not (size > 0 and 0 < stride <= crop):
        raise ValueError(
            f"got size {size}, crop {crop}, stride {stride}, expected positive "
            "numbers with stride <= crop: the method uses stride = round(2/3 crop)"
        )
    steps = -(-max(size - crop, 0) // stride)  # rounded up
    return [min(i * stride, max(size - crop, 0)) for i in range(steps + 1)]


def window_length(size: int, crop: int, patch: int) -> int:
    """The crop, or for a shorter axis its size rounded up to whole patches."""
    return min(crop, -(-size // patch) * patch)


Blend = Literal["flat", "cosine"]


@dataclass(frozen=True)
class Plan:
    """Where the windows of one scene lie and how much they weigh.

    Attributes:
      height: of the scene, pixels.
      width: of the scene, pixels.
      window: height and width of a window; smaller than the crop where the scene is.
      tops: first rows of the windows.
      lefts: first columns of the windows.
      blend: "flat" or "cosine".
    """

    height: int
    width: int
    window: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    blend: Blend

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width, filled up to one window where they are less."""
        return max(self.height, self.window[0]), max(self.width, self.window[1])

    @functools.cached_property
    def weight(self) -> tuple[Float32[np.ndarray, "h"], Float32[np.ndarray, "w"]]:
        """Weights in a window, as factors of its rows and its columns."""
        return _weights(self.window[0], self.blend), _weights(
            self.window[1], self.blend
        )

    @functools.cached_property
    def total(self) -> tuple[Float32[np.ndarray, "H"], Float32[np.ndarray, "W"]]:
        """Weights of all windows summed, as factors of the rows and the columns."""
        (height, width), (rows, columns) = self.padded, self.weight
        return _sums(height, self.tops, rows), _sums(width, self.lefts, columns)

    def span(self, row: int) -> tuple[int, int]:
        """First and one past the last pixel row that a window row finishes."""
        last = row + 1 == len(self.tops)
        return self.tops[row], self.height if last else self.tops[row + 1]


def make_plan(
    height: int, width: int, *, crop: int, stride: int, patch: int, blend: Blend
) -> Plan:
    """Lays the windows of `sliding` over a scene; see there.

    Args:
      height: pixels.
      width: pixels.
      crop: window length, a multiple of `patch`.
      stride: step between windows.
      patch: the network's patch size in pixels.
      blend: "flat", the method's average, or "cosine", without seams.

    Raises:
      ValueError: the crop is not a multiple of the patch, the stride leaves gaps, or
        the blending is unknown.
    """
    if crop % patch or not 0 < stride <= crop or blend not in ("flat", "cosine"):
        raise ValueError(
            f'got crop {crop}, patch {patch}, stride {stride}, blend "{blend}", '
            "expected a crop of whole patches, a positive stride <= crop, and "
            '"flat" or "cosine"'
        )
    window = window_length(height, crop, patch), window_length(width, crop, patch)
    tops, lefts = (
        window_origins(max(size, length), length, min(stride, length))
        for size, length in zip((height, width), window, strict=True)
    )
    return Plan(height, width, window, tuple(tops), tuple(lefts), blend)


def _weights(length: int, blend: Blend) -> Float32[np.ndarray, "n"]:
    if blend == "flat":
        return np.ones(length, np.float32)
    angle = np.pi * (np.arange(length) + 0.5) / length
    return (np.sin(angle) ** 2).astype(np.float32)  # 0 just outside the window


def _sums(
    size: int, origins: tuple[int, ...], weights: Float32[np.ndarray, "n"]
) -> Float32[np.ndarray, "S"]:
    sums = np.zeros(size, np.float32)
    for origin in origins:
        sums[origin : origin + len(weights)] += weights
    return sums

"""Windows: their sizes, where they lie, what they weigh, what scores them (§9)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Array, Float, Float32

from crossearth_jax.system import sharding

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
class Layout:
    """Where the windows of one image lie and how much they weigh.

    Attributes:
      height: of the image, pixels.
      width: of the image, pixels.
      window: height and width of a window; smaller than the crop where the image is.
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
        height, width = self.window
        return _weights(height, self.blend), _weights(width, self.blend)

    @functools.cached_property
    def total(self) -> tuple[Float32[np.ndarray, "H"], Float32[np.ndarray, "W"]]:
        """Weights of all windows summed, as factors of the rows and the columns."""
        (height, width), (rows, columns) = self.padded, self.weight
        return _sums(height, self.tops, rows), _sums(width, self.lefts, columns)

    def span(self, row: int) -> tuple[int, int]:
        """First and one past the last pixel row that a window row finishes."""
        last = row + 1 == len(self.tops)
        return self.tops[row], self.height if last else self.tops[row + 1]

    def area(self, top: int, left: int) -> tuple[slice, slice]:
        """Rows and columns of the window that begins at a pixel."""
        height, width = self.window
        return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True)
class Windows:
    """The windows of sliding inference.

    Attributes:
      crop: window length in pixels, a multiple of `patch`.
      stride: step between windows, at most `crop`.
      patch: window sides are multiples of it.
      batch: windows per call of the network.
    """

    crop: int
    stride: int
    patch: int
    batch: int

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
          ValueError: the crop is not a multiple of the patch, the stride leaves gaps,
            or the batch is not positive.
        """
        if self.patch < 1 or self.crop % self.patch:
            raise ValueError(
                f"got crop {self.crop} and patch {self.patch}, expected a crop of "
                "whole patches: change the crop"
            )
        if not 0 < self.stride <= self.crop:
            raise ValueError(
                f"got crop {self.crop}, stride {self.stride}, expected positive "
                "numbers with stride <= crop: the method uses round(2/3 crop)"
            )
        if self.batch < 1:
            raise ValueError(f"got batch {self.batch}, expected 1 or more windows")

    def changed(
        self, *, stride: int | None = None, batch: int | None = None
    ) -> "Windows":
        """The same but for what is given."""
        return Windows(
            self.crop,
            self.stride if stride is None else stride,
            self.patch,
            self.batch if batch is None else batch,
        )

    def on_devices(self) -> "Windows":
        """The same with a batch that the devices of this host share evenly."""
        return self.changed(batch=sharding.whole_batch(self.batch))

    def lay(self, height: int, width: int, blend: Blend = "flat") -> Layout:
        """Lays windows over an image.

        An axis shorter than the crop has one window, its length rounded up to whole
        patches.

        Args:
          height: pixels.
          width: pixels.
          blend: "flat", the method's average, or "cosine", without seams.

        Raises:
          ValueError: the image is empty, or the blending is unknown.
        """
        if blend not in get_args(Blend):
            raise ValueError(f'got blend "{blend}", expected "flat" or "cosine"')
        sides = height, width
        lengths = [window_length(size, self.crop, self.patch) for size in sides]
        tops, lefts = (
            # An axis that was padded has one window, whatever the stride.
            window_origins(max(size, length), length, min(self.stride, length))
            for size, length in zip(sides, lengths, strict=True)
        )
        window = lengths[0], lengths[1]
        return Layout(height, width, window, tuple(tops), tuple(lefts), blend)


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

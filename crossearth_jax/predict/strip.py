"""Sliding windows over a scene of any height, blended in a strip one window high.

A window row at a time: its pixels are read, its windows scored and added, and the rows
that no later window touches leave. So memory depends on width times crop, not on the
area. Windows, padding and average are those of `sliding` (method §9): with flat
weights the result is the same.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8
from numpy.typing import DTypeLike

from crossearth_jax.pixels.imagenet import IMAGENET_MEAN, IMAGENET_STD
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.scoring.batches import filled, one_behind
from crossearth_jax.scoring.windows import Layout, ScoreFn

# Rows [start, stop) of a scene: pixels on the 0-255 scale, and what is valid.
ReadRows = Callable[
    [int, int], tuple[Num[np.ndarray, "r W 3"], Bool[np.ndarray, "r W"]]
]
PIECE = 32  # rows that are read and finished at a time, so that copies stay small
ROW_ENDS = 4  # that a batch waits for more windows, as where nodata has none


# ---- windows ------------------------------------------------------------------------


@dataclass(frozen=True)
class RowEnd:
    """All windows of a window row have come; what is valid in the rows it finishes."""

    valid: Bool[np.ndarray, "r W"]


@dataclass(frozen=True)
class WindowBatch:
    """Windows for one call of the network, and what to do with the results.

    Attributes:
      windows: normalised; None if only row ends wait.
      steps: the first column of each window, and row ends, in order.
    """

    windows: Float32[np.ndarray, "b h w 3"] | None
    steps: list[int | RowEnd]


def read_windows(
    read_rows: ReadRows, layout: Layout, batch: int, dtype: DTypeLike
) -> Iterator[WindowBatch]:
    """Reads each row of a scene once and cuts it into batches of one shape.

    Windows without a valid pixel are left out: no valid pixel lies in them. The last
    batch repeats a window to be full.

    Args:
      read_rows: returns rows of the scene.
      layout: its windows.
      batch: windows per batch.
      dtype: of the rows; the strip keeps it, since a wide one of 8 bits takes a
        quarter of the memory of its normalised pixels.
    """
    width, (h, w) = layout.padded[1], layout.window
    pixels = np.zeros((h, width, 3), dtype)
    valid = np.zeros((h, width), bool)
    read, top = 0, 0  # rows read so far; the scene's row that the strip starts with
    windows: list[np.ndarray] = []
    steps: list[int | RowEnd] = []
    for row, start in enumerate(layout.tops):
        _roll(pixels, start - top)
        _roll(valid, start - top)
        top, stop = start, min(start + h, layout.height)
        for first, end in _pieces(read, stop):
            fresh = np.s_[first - top : end - top, : layout.width]
            pixels[fresh], valid[fresh] = read_rows(first, end)
        read = stop
        for left in layout.lefts:
            columns = np.s_[:, left : left + w]
            if valid[columns].any():
                windows.append(_normalised(pixels[columns], valid[columns]))
                steps.append(left)
            if len(windows) == batch:
                yield WindowBatch(np.stack(windows), steps)
                windows, steps = [], []
        first, end = layout.span(row)
        steps.append(RowEnd(valid[: end - first, : layout.width].copy()))
        if sum(isinstance(step, RowEnd) for step in steps) == ROW_ENDS:
            yield WindowBatch(_filled(windows, batch), steps)
            windows, steps = [], []
    if steps:
        yield WindowBatch(_filled(windows, batch), steps)


def _normalised(
    pixels: Num[np.ndarray, "h w 3"], valid: Bool[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w 3"]:
    """What the network sees (method §0); 0 where nothing is valid."""
    window = np.empty(pixels.shape, np.float32)
    for band, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        # Band by band: NumPy is slow along an axis of three.
        window[..., band] = (pixels[..., band] - mean) / std
    if not valid.all():
        window[~valid] = 0
    return window


def _filled(
    windows: list[np.ndarray], batch: int
) -> Float32[np.ndarray, "b h w 3"] | None:
    return filled(windows, batch) if windows else None


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, PIECE):
        yield first, min(first + PIECE, stop)


def _roll(strip: np.ndarray, rows: int) -> None:
    """Moves a strip up; zeros come in below."""
    if rows:
        last = len(strip) - rows
        for first in range(0, last, rows):  # overlapping parts would be copied twice
            end = min(first + rows, last)
            strip[first:end] = strip[first + rows : end + rows]
        strip[last:] = 0


# ---- scores -------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Finished rows of a scene.

    Attributes:
      top: the scene's row of the first one.
      scores: blended class scores.
      valid: False where the scene has no data.
    """

    top: int
    scores: Float32[np.ndarray, "r W K"]
    valid: Bool[np.ndarray, "r W"]

    def labels(self) -> UInt8[np.ndarray, "r W"]:
        """Arg-max of the scores; 255 without data."""
        best = self.scores.argmax(2).astype(np.uint8)
        return np.where(self.valid, best, np.uint8(IGNORE))

    def probabilities(self) -> Float32[np.ndarray, "r W K"]:
        """The classes' shares of the scores' sum; nan without data.

        Scores are Σ_q softmax(class)·sigmoid(mask): not negative, of any sum.
        """
        total = self.scores.sum(2, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.valid[..., None], self.scores / total, np.nan)


def blended(
    score_fn: ScoreFn, batches: Iterable[WindowBatch], layout: Layout, num_classes: int
) -> Iterator[Block]:
    """Scores batches and yields finished rows from top to bottom.

    Raises:
      ValueError: `score_fn` returns another shape than it should, or not numbers.
    """
    strip = _Strip(layout, num_classes)
    calls = (
        (batch.steps, None if batch.windows is None else score_fn(batch.windows))
        for batch in batches
    )
    for steps, sent in one_behind(calls):
        yield from strip.take(steps, sent)


class _Strip:
    """Sum of weighted scores over one window row."""

    def __init__(self, layout: Layout, num_classes: int) -> None:
        self.layout, self.row = layout, 0
        shape = layout.window[0], layout.padded[1], num_classes
        self.sum = np.zeros(shape, np.float32)
        rows, columns = layout.weight
        self.weight = np.outer(rows, columns)[..., None]  # [h, w, 1]

    def take(self, steps: list[int | RowEnd], result: object) -> Iterator[Block]:
        scores = iter(() if result is None else self._checked(result))
        for step in steps:
            if isinstance(step, RowEnd):
                yield from self._finish(step.valid)
            else:
                self._add(step, next(scores))

    def _checked(self, result: object) -> Float32[np.ndarray, "b h w K"]:
        scores = np.asarray(result, np.float32)
        expected = (*self.layout.window, self.sum.shape[2])
        if scores.shape[1:] != expected:
            raise ValueError(
                f"got scores of {scores.shape[1:]}, expected {expected}: the score "
                "function must keep the size of its windows"
            )
        if not np.isfinite(scores).all():  # the arg-max of nan would pass for class 0
            raise ValueError("got scores that are not finite: the training diverged")
        return scores

    def _add(self, left: int, scores: Float32[np.ndarray, "h w K"]) -> None:
        area = self.sum[:, left : left + self.layout.window[1]]
        area += scores if self.layout.blend == "flat" else scores * self.weight

    def _finish(self, valid: Bool[np.ndarray, "r W"]) -> Iterator[Block]:
        top, stop = self.layout.span(self.row)
        rows, columns = self.layout.total
        for first, end in _pieces(top, stop):
            total = np.outer(rows[first:end], columns[: self.layout.width])  # [r, W]
            sums = self.sum[first - top : end - top, : self.layout.width]
            piece = sums / total[..., None]
            yield Block(first, piece, valid[first - top : end - top])
        if self.row + 1 < len(self.layout.tops):
            _roll(self.sum, stop - top)
        self.row += 1

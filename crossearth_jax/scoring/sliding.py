"""Sliding-window inference: windows of the crop size, scores averaged by count (§9).

Every window of an image, and of the images after it, goes through the network in
batches of one fixed shape, so the jitted function compiles once and no batch runs
half empty where one image has fewer windows than a batch.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from jaxtyping import Float

from crossearth_jax.scoring.windows import ScoreFn, window_length, window_origins


def sliding_scores(
    score_fn: ScoreFn,
    image: Float[np.ndarray, "H W 3"],
    *,
    crop: int,
    stride: int,
    patch: int,
    batch: int,
) -> Float[np.ndarray, "H W K"]:
    """Class scores of one normalised image, see `stream_scores`."""
    stream = stream_scores(
        score_fn, [image], crop=crop, stride=stride, patch=patch, batch=batch
    )
    return next(stream)


def stream_scores(
    score_fn: ScoreFn,
    images: Iterable[Float[np.ndarray, "_ _ 3"]],
    *,
    crop: int,
    stride: int,
    patch: int,
    batch: int,
) -> Iterator[Float[np.ndarray, "_ _ K"]]:
    """Yields the class scores of normalised images in their order.

    An axis shorter than the crop has one window of its size, padded at its end with
    normalised 0 to whole patches; the padding is cut off again.

    Args:
      score_fn: windows [batch, h, w, 3] → scores [batch, h, w, K].
      images: float32, of any sizes.
      crop: window length in pixels, a multiple of `patch`.
      stride: step between windows.
      patch: the network's patch size in pixels.
      batch: windows per call; the last call repeats a window to fill it.

    Raises:
      ValueError: the crop is not a multiple of the patch, the batch is not positive,
        or `score_fn` returns another height and width than it was given.
    """
    if crop % patch or batch < 1:
        raise ValueError(
            f"got crop {crop}, patch {patch}, batch {batch}, expected a crop of whole "
            "patches and a positive batch: change the crop or the batch"
        )
    queue = _WindowQueue(score_fn, batch)
    waiting: deque[_Mosaic] = deque()
    for image in images:
        mosaic = _Mosaic(image, crop, stride, patch)
        waiting.append(mosaic)
        for origin in mosaic.origins:
            queue.put(mosaic, origin)
        while waiting and waiting[0].missing == 0:
            yield waiting.popleft().mean()
    queue.finish()
    while waiting:
        yield waiting.popleft().mean()


class _Mosaic:
    """One image, its windows, and the sum of the scores that have come back."""

    def __init__(
        self, image: Float[np.ndarray, "H W 3"], crop: int, stride: int, patch: int
    ) -> None:
        self.height, self.width = image.shape[:2]
        self.window = (
            window_length(self.height, crop, patch),
            window_length(self.width, crop, patch),
        )
        size = max(self.height, self.window[0]), max(self.width, self.window[1])
        below, right = size[0] - self.height, size[1] - self.width
        self.image = np.pad(image, ((0, below), (0, right), (0, 0)))
        # An axis that was padded has one window, whatever the stride.
        rows = window_origins(size[0], self.window[0], min(stride, self.window[0]))
        columns = window_origins(size[1], self.window[1], min(stride, self.window[1]))
        self.origins = list(product(rows, columns))
        self.missing = len(self.origins)
        self.count = np.zeros((*size, 1), np.float32)
        self.total: np.ndarray | None = None  # K is known with the first scores

    def cut(self, origin: tuple[int, int]) -> Float[np.ndarray, "h w 3"]:
        return self.image[self._area(origin)]

    def add(self, origin: tuple[int, int], scores: Float[np.ndarray, "h w K"]) -> None:
        if self.total is None:
            self.total = np.zeros((*self.count.shape[:2], scores.shape[2]), np.float32)
        self.total[self._area(origin)] += scores
        self.count[self._area(origin)] += 1
        self.missing -= 1

    def mean(self) -> Float[np.ndarray, "H W K"]:
        self.total /= self.count
        return self.total[: self.height, : self.width]

    def _area(self, origin: tuple[int, int]) -> tuple[slice, slice]:
        (y, x), (height, width) = origin, self.window
        return slice(y, y + height), slice(x, x + width)


class _WindowQueue:
    """Groups windows of one shape into batches and keeps one batch in flight.

    JAX returns before the scores are computed, so a batch is fetched only after the
    next one was sent, and the host works while the device does.
    """

    def __init__(self, score_fn: ScoreFn, batch: int) -> None:
        self.score_fn, self.batch = score_fn, batch
        self.pending: list[tuple[_Mosaic, tuple[int, int]]] = []
        self.in_flight: deque = deque()

    def put(self, mosaic: _Mosaic, origin: tuple[int, int]) -> None:
        if self.pending and self.pending[0][0].window != mosaic.window:
            self._send()
        self.pending.append((mosaic, origin))
        if len(self.pending) == self.batch:
            self._send()

    def finish(self) -> None:
        if self.pending:
            self._send()
        while self.in_flight:
            self._fetch()

    def _send(self) -> None:
        windows = [mosaic.cut(origin) for mosaic, origin in self.pending]
        windows += windows[-1:] * (self.batch - len(windows))
        self.in_flight.append((self.pending, self.score_fn(np.stack(windows))))
        self.pending = []
        if len(self.in_flight) > 1:
            self._fetch()

    def _fetch(self) -> None:
        jobs, result = self.in_flight.popleft()
        scores = np.asarray(result, np.float32)  # [batch, h, w, K]
        window = jobs[0][0].window
        if scores.shape[:3] != (self.batch, *window):
            raise ValueError(
                f"got scores of {scores.shape}, expected {(self.batch, *window)} and "
                "the classes: score_fn must keep the size of its windows"
            )
        for (mosaic, origin), one in zip(jobs, scores, strict=False):
            mosaic.add(origin, one)

"""Sliding-window inference: windows of the crop size, scores averaged by count (§9).

Windows of an image and of the images after it share batches, see `in_batches`.
"""

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from jaxtyping import Float, Float32

from crossearth_jax.scoring.batches import in_batches
from crossearth_jax.scoring.windows import ScoreFn, Windows


def sliding_scores(
    score_fn: ScoreFn, image: Float[np.ndarray, "H W 3"], windows: Windows
) -> Float[np.ndarray, "H W K"]:
    """Class scores of one normalised image, see `stream_scores`."""
    return next(stream_scores(score_fn, [image], windows))


def stream_scores(
    score_fn: ScoreFn, images: Iterable[Float[np.ndarray, "_ _ 3"]], windows: Windows
) -> Iterator[Float[np.ndarray, "_ _ K"]]:
    """Yields the class scores of normalised images in their order.

    An axis shorter than the crop has one window of its size, padded at its end with
    normalised 0 to whole patches; the padding is cut off again.

    Args:
      score_fn: windows [batch, h, w, 3] → scores [batch, h, w, K].
      images: float32, of any sizes.
      windows: their sizes, and how many go into a call.

    Raises:
      ValueError: `score_fn` returns another height and width than it was given.
    """

    def cuts() -> Iterator[tuple[tuple[_Mosaic, int, int], Float[np.ndarray, "h w 3"]]]:
        for image in images:
            mosaic = _Mosaic(image, windows)
            for top, left in mosaic.origins:
                yield (mosaic, top, left), mosaic.cut(top, left)

    # Scores come back in the order of their windows, so images end in their order.
    for (mosaic, top, left), scores in in_batches(score_fn, cuts(), windows.batch):
        mosaic.add(top, left, scores)
        if not mosaic.missing:
            yield mosaic.mean()


class _Mosaic:
    """One image, its windows, and the sum of the scores that have come back."""

    def __init__(self, image: Float[np.ndarray, "H W 3"], windows: Windows) -> None:
        self.layout = windows.lay(image.shape[0], image.shape[1])
        height, width = self.layout.padded
        below, right = height - self.layout.height, width - self.layout.width
        self.image = np.pad(image, ((0, below), (0, right), (0, 0)))
        self.origins = list(product(self.layout.tops, self.layout.lefts))
        self.missing = len(self.origins)
        self.total: np.ndarray | None = None  # K is known with the first scores

    def cut(self, top: int, left: int) -> Float[np.ndarray, "h w 3"]:
        return self.image[self.layout.area(top, left)]

    def add(self, top: int, left: int, scores: Float32[np.ndarray, "_ _ K"]) -> None:
        if scores.shape[:2] != self.layout.window:
            raise ValueError(
                f"got scores of {scores.shape}, expected {self.layout.window} and the "
                "classes: score_fn must keep the size of its windows"
            )
        if self.total is None:
            self.total = np.zeros((*self.layout.padded, scores.shape[2]), np.float32)
        self.total[self.layout.area(top, left)] += scores
        self.missing -= 1

    def mean(self) -> Float[np.ndarray, "H W K"]:
        assert self.total is not None, "no window was scored"
        count = np.outer(*self.layout.total)[..., None]  # of windows over each pixel
        self.total /= count
        return self.total[: self.layout.height, : self.layout.width]

"""A score function whose windows' features are seen on the way."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from crossearth_jax.features.taps import FeatureFn
from crossearth_jax.scoring.windows import ScoreFn

# Tokens of each variant, without and with Injector.
Take = Callable[[Float32[np.ndarray, "V n C"]], None]


def watched(score_fn: ScoreFn, feature_fn: FeatureFn, take: Take) -> ScoreFn:
    """The same scores; `take` is given the features of every window.

    Padding and pixels without data are normalised 0, and tokens of nothing else are
    left out; so are windows that fill up a batch.

    Args:
      score_fn: normalised windows [b, h, w, 3] → class scores.
      feature_fn: the same windows → features [b, V, 1, h', w', C] of one tap.
      take: called once for each call of the score function.
    """

    def score_and_see(
        windows: Float[np.ndarray, "b h w 3"],
    ) -> Float[Array, "b h w K"] | Float[np.ndarray, "b h w K"]:
        features = np.asarray(feature_fn(windows))[:, :, 0]  # [b, V, h', w', C]
        seen = _with_data(windows, features.shape[2:4])
        take(np.moveaxis(features, 1, 0)[:, seen])
        return score_fn(windows)

    return score_and_see


def _with_data(
    windows: Float[np.ndarray, "b h w 3"], tokens: tuple[int, ...]
) -> Bool[np.ndarray, "b h' w'"]:
    """Tokens with a pixel that is not 0, of windows that are not the one before."""
    batch, height, width, _ = windows.shape
    rows, columns = height // tokens[0], width // tokens[1]
    blocks = windows.reshape(batch, tokens[0], rows, tokens[1], columns, 3)
    seen = (blocks != 0).any((2, 4, 5))
    for i in range(1, batch):
        if np.array_equal(windows[i], windows[i - 1]):
            seen[i] = False
    return seen

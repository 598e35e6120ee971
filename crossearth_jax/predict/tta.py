"""Test-time augmentation of windows: mirrored and scaled views, scores averaged.

It wraps a score function, so memory stays bounded and shapes few: one a scale.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from crossearth_jax.pixels.resample import resize_bilinear
from crossearth_jax.scoring.windows import ScoreFn

FLIPS = ((), (1,), (2,), (1, 2))  # axes of [b, h, w, 3]
SCALES = (0.75, 1.0, 1.25)
KINDS = ("flips", "scales")


def augmented(score_fn: ScoreFn, kinds: Sequence[str], *, patch: int) -> ScoreFn:
    """Averages the scores of several views of each window.

    Args:
      score_fn: windows [b, h, w, 3] → scores [b, h, w, K].
      kinds: of "flips" (4 views) and "scales" (3 views); both give 12.
      patch: scaled windows are rounded to multiples of it.

    Raises:
      ValueError: a kind is unknown.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(
            f"got --tta {','.join(sorted(unknown))}, expected {' or '.join(KINDS)}"
        )
    flips = FLIPS if "flips" in kinds else FLIPS[:1]
    scales = SCALES if "scales" in kinds else (1.0,)
    if len(flips) * len(scales) == 1:
        return score_fn

    def scores(
        windows: Float[Array | np.ndarray, "b h w 3"],
    ) -> Float[Array, "b h w K"]:
        height, width = windows.shape[1:3]
        views = []
        for scale in scales:
            rows, columns = (
                max(1, round(n * scale / patch)) * patch for n in (height, width)
            )
            view = np.asarray(_resized(windows, (rows, columns)))
            for axes in flips:
                result = jnp.flip(score_fn(np.flip(view, axes)), axes)
                views.append(_resized(result, (height, width)))
        return _mean(views)

    return scores


def _resized(
    x: Float[Array | np.ndarray, "b h w c"], size: tuple[int, int]
) -> Float[Array | np.ndarray, "b _ _ c"]:
    return x if x.shape[1:3] == size else _resize(x, size)


_resize = jax.jit(resize_bilinear, static_argnums=1)
_mean = jax.jit(lambda views: sum(views) / len(views))

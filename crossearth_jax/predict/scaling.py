"""The one scaling of a scene: which values become 0 and 255."""

import numpy as np
from jaxtyping import Num

from crossearth_jax.pixels.scaling import Pair, pairs_of
from crossearth_jax.predict.values import TILE, Values

SAMPLE = 1024  # side of the overview, or of all sampled tiles together, for percentiles


def choose_scaling(
    values: Values,
    scale: Pair | tuple[Pair, ...] | None,
    percentiles: tuple[float, float],
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What becomes 0 and 255 in each band; None leaves 8 bits as they are.

    Args:
      values: of the scene.
      scale: the same for all bands, or one for each; None takes percentiles.
      percentiles: of each band, over the whole scene.

    Raises:
      ValueError: the values are complex.
    """
    types = {values.dataset.dtypes[band - 1] for band in values.bands}
    if any(name.startswith("complex") for name in types):
        raise ValueError(
            f"{values.dataset.name}: got complex numbers, expected real ones: write "
            "the amplitude first, such as abs(band)"
        )
    if scale is not None:
        low, high = zip(*pairs_of(scale, 3), strict=True)
        return low, high
    if types == {"uint8"}:
        return None
    sample = sample_of(values)
    if not len(sample):
        return (0.0,) * 3, (1.0,) * 3
    low, high = np.percentile(sample.astype(np.float64), percentiles, axis=0)
    return tuple(low.tolist()), tuple(high.tolist())


def sample_of(values: Values) -> Num[np.ndarray, "n 3"]:
    """Valid values of an overview, or of tiles spread evenly over the scene."""
    dataset = values.dataset
    height, width = dataset.height, dataset.width
    fits = height <= SAMPLE and width <= SAMPLE
    if fits or dataset.overviews(values.bands[0]):
        size = min(height, SAMPLE), min(width, SAMPLE)
        pixels, valid = values.read((0, 0, width, height), size)
        return pixels[valid]
    tiles = SAMPLE // TILE
    found = []
    for y in _spread(height, tiles):
        for x in _spread(width, tiles):
            area = x, y, min(TILE, width - x), min(TILE, height - y)
            pixels, valid = values.read(area)
            found.append(pixels[valid])
    return np.concatenate(found)


def _spread(size: int, tiles: int) -> list[int]:
    """First pixels of tiles from edge to edge."""
    starts = np.linspace(0, max(0, size - TILE), tiles).round().astype(int)
    return sorted(set(starts.tolist()))

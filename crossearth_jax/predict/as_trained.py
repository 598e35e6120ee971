"""Which of a run's bands, scale and ground sampling distance hold for a scene."""

import functools
import math
from dataclasses import replace
from typing import Any

from absl import logging

from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.predict.ground import pixel_metres

ALIKE = 1.1  # pixels that differ by less are alike: training's own scales differ more


def of_scene(
    source: Any,
    trained: RawImages,
    *,
    stated: tuple[int, ...] | None = None,
    gsd: float | None = None,
) -> RawImages:
    """What holds for an open rasterio dataset.

    Bands and scale do, but for 8-bit scenes where the scale is for more bits. The
    distance does where the scene's pixels differ from it by more than a tenth, and have
    a size at all: then it is resampled, which a warning says.

    Args:
      source: the dataset.
      trained: what the run's images were.
      stated: bands that the user names for this scene.
      gsd: likewise, metres.

    Raises:
      ValueError: it has not the bands that the run was trained on.
    """
    raw = trained.of_type(set(source.dtypes) == {"uint8"})
    if raw != trained:
        _warn(
            f"{source.name}: got 8 bits a channel, so not read with {trained.words()} "
            "as in training but as it is; --bands and --scale choose otherwise"
        )
    if stated is None and any(band > source.count for band in raw.bands):
        raise ValueError(
            f"{source.name}: got {source.count} band(s), expected "
            f"{replace(raw, scale=()).words()} as in training: name the three that the "
            "model should see with --bands"
        )
    return raw if gsd else replace(raw, gsd=_distance(source, raw.gsd))


def _distance(source: Any, trained: float | None) -> float | None:
    """The training's where the scene has to be resampled to it."""
    if trained is None or source.crs is None:
        return None
    own = math.sqrt(math.prod(pixel_metres(source)))
    if not 0 < own < math.inf or max(own / trained, trained / own) <= ALIKE:
        return None
    _warn(
        f"{source.name}: got pixels of {own:.3g} m, resampled to the {trained:.3g} m "
        f"of training; --gsd {own:.3g} leaves them as they are"
    )
    return trained


@functools.cache
def _warn(text: str) -> None:
    """Once, although the blocks of a scene are opened one by one."""
    logging.warning("%s", text)

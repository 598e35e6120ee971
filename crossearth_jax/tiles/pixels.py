"""What a scene's values are in a tile: 0-255 after the one scaling, or as stored."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8

from crossearth_jax.pixels.imagenet import IMAGENET_GREY
from crossearth_jax.pixels.scaling import SHORT
from crossearth_jax.predict.resample import resampled
from crossearth_jax.predict.scene import Scene
from crossearth_jax.tiles.scenes import TiledScene

# Bands of the window (top, left, height, width), and where there is data.
ReadPixels = Callable[
    [int, int, int, int], tuple[Num[np.ndarray, "c h w"], Bool[np.ndarray, "h w"]]
]
Span = tuple[int, int]


def tile_type(scene: TiledScene, keep_bits: bool) -> str:
    """Type of the values of tiles; colours of a palette always have 8 bits."""
    return scene.dtype if keep_bits and scene.scene.table is None else "uint8"


def pixel_reader(scene: TiledScene, opened: Scene, keep_bits: bool) -> ReadPixels:
    """What reads windows of a scene as tiles have them.

    Args:
      scene: facts about it.
      opened: the scene, by this thread.
      keep_bits: values as stored. Otherwise they are 0-255, as `predict` has them;
        pixels without data are ImageNet's mean, which the network sees as 0, as there.
    """
    count = len(scene.bands)
    if keep_bits and scene.scene.table is None:
        return _stored(opened, count, np.dtype(scene.dtype))
    colours = _colour_reader(opened, np.dtype(scene.dtype))
    grey = np.array(IMAGENET_GREY[:count], np.uint8)

    def read(
        top: int, left: int, height: int, width: int
    ) -> tuple[UInt8[np.ndarray, "c h w"], Bool[np.ndarray, "h w"]]:
        rows, columns = (top, top + height), (left, left + width)
        pixels, valid = colours(rows, columns)
        pixels = np.moveaxis(pixels[..., :count], 2, 0)  # [c, h, w]
        if not valid.all():
            pixels = np.where(valid, pixels, grey[:, None, None])
        return pixels, valid

    return read


def _stored(opened: Scene, count: int, kind: np.dtype[Any]) -> ReadPixels:
    def read(
        top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = (top, top + height), (left, left + width)
        if not opened.is_resampled:
            pixels, valid = opened.values.read_part(rows, columns)
        else:
            size = opened.source.height, opened.source.width
            wanted = opened.grid.height, opened.grid.width
            part = opened.values.read_part
            pixels, valid = resampled(part, size, wanted, rows, columns)
            pixels = pixels if kind.kind == "f" else np.rint(pixels)
        return np.moveaxis(pixels[..., :count], 2, 0).astype(kind, copy=False), valid

    return read


def _colour_reader(
    scene: Scene, kind: np.dtype[Any]
) -> Callable[[Span, Span], tuple[UInt8[np.ndarray, "h w 3"], np.ndarray]]:
    """`Scene.read`, with a table made once where values of few bits are scaled."""
    is_scaled = scene.scaling is not None and scene.table is None
    if scene.is_resampled or not is_scaled or kind.name not in SHORT:
        return scene.read
    bits = np.dtype(f"u{kind.itemsize}")  # negative values stand behind the others
    levels = np.arange(np.iinfo(bits).max + 1, dtype=bits).view(kind)
    table = scene.eight_bits(np.repeat(levels[:, None, None], 3, 2))[:, 0]
    tables = np.ascontiguousarray(table.T)  # [3, levels]

    def looked_up(rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
        pixels, valid = scene.values.read_part(rows, columns)
        planes = np.moveaxis(pixels, 2, 0)  # as GDAL gives them
        found = np.empty(planes.shape, np.uint8)
        for band, plane in enumerate(planes):
            tables[band].take(plane.view(bits), out=found[band], mode="clip")
        return np.moveaxis(found, 0, 2), valid

    return looked_up

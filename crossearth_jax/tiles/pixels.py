"""What a scene's values are in a tile: 0-255 after the one scaling, or as stored."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8

from crossearth_jax.pixels.imagenet import IMAGENET_GREY
from crossearth_jax.predict.scene import Scene
from crossearth_jax.tiles.scenes import OpenScene, TiledScene

# Bands of the window (top, left, height, width), and where there is data.
ReadPixels = Callable[
    [int, int, int, int], tuple[Num[np.ndarray, "c h w"], Bool[np.ndarray, "h w"]]
]


def tile_type(scene: TiledScene, keep_bits: bool) -> str:
    """Type of the values of tiles; colours of a palette always have 8 bits."""
    return scene.dtype if keep_bits and scene.scene.table is None else "uint8"


def pixel_reader(scene: TiledScene, opened: OpenScene, keep_bits: bool) -> ReadPixels:
    """What reads windows of a scene as tiles have them.

    Args:
      scene: facts about it.
      opened: the scene, by this thread.
      keep_bits: values as stored. Otherwise they are 0-255, as `predict` computes them
        and rounded; pixels without data are ImageNet's mean, which the network sees as
        0, as in `predict`.
    """
    count = len(scene.bands)
    if keep_bits and scene.scene.table is None:
        return _stored(opened, count, np.dtype(scene.dtype))
    convert = _converter(scene.scene, np.dtype(scene.dtype))
    grey = np.array(IMAGENET_GREY[:count], np.uint8)

    def read(
        top: int, left: int, height: int, width: int
    ) -> tuple[UInt8[np.ndarray, "c h w"], Bool[np.ndarray, "h w"]]:
        pixels, valid = opened.read(top, left, height, width, as_stored=False)
        pixels = np.moveaxis(pixels[..., :count], 2, 0)  # [c, h, w]
        colours = convert(pixels)
        if not valid.all():
            colours = np.where(valid, colours, grey[:, None, None])
        return colours, valid

    return read


def _stored(opened: OpenScene, count: int, kind: np.dtype[Any]) -> ReadPixels:
    def read(
        top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        pixels, valid = opened.read(top, left, height, width, as_stored=True)
        pixels = np.moveaxis(pixels[..., :count], 2, 0)
        if pixels.dtype != kind:  # means of resampled pixels
            pixels = pixels if kind.kind == "f" else np.rint(pixels)
            pixels = pixels.astype(kind)
        return pixels, valid

    return read


def _converter(
    scene: Scene, kind: np.dtype[Any]
) -> Callable[[np.ndarray], UInt8[np.ndarray, "c h w"]]:
    """Values of the file, or what was resampled, to 0-255."""
    if scene.is_resampled:
        return _rounded
    if scene.table is not None:
        table = scene.table
        return lambda pixels: np.moveaxis(table[pixels[0]], 2, 0)
    if scene.scaling is None:
        return lambda pixels: pixels
    if kind.kind in "ui" and kind.itemsize <= 2:
        return _by_table(scene, kind)

    def computed(pixels: np.ndarray) -> UInt8[np.ndarray, "c h w"]:
        full = np.broadcast_to(pixels, (3, *pixels.shape[1:]))
        colours = scene.colours(np.moveaxis(full, 0, 2))
        return _rounded(np.moveaxis(colours, 2, 0)[: len(pixels)])

    return computed


def _rounded(pixels: np.ndarray) -> UInt8[np.ndarray, "c h w"]:
    return np.rint(pixels).astype(np.uint8)


def _by_table(
    scene: Scene, kind: np.dtype[Any]
) -> Callable[[np.ndarray], UInt8[np.ndarray, "c h w"]]:
    """Looks every value up: it costs a tenth of computing it again for each pixel."""
    bits = np.dtype(f"u{kind.itemsize}")
    values = np.arange(np.iinfo(bits).max + 1, dtype=bits).view(kind)
    table = _rounded(scene.colours(np.repeat(values[:, None, None], 3, 2)))[:, 0]
    tables = np.ascontiguousarray(table.T)  # [3, values]

    def looked_up(pixels: np.ndarray) -> UInt8[np.ndarray, "c h w"]:
        found = np.empty(pixels.shape, np.uint8)
        for band, plane in enumerate(pixels):
            tables[band].take(plane.view(bits), out=found[band], mode="clip")
        return found

    return looked_up

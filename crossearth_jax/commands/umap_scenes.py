"""Scenes without labels among the points of `crossearth umap`."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32

from crossearth_jax.features.extractor import Extractor
from crossearth_jax.features.sample import Bounds, Sample
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.predict import geo
from crossearth_jax.predict.scene import Reading, Scene, open_scene
from crossearth_jax.predict.sources import Source, settings_of
from crossearth_jax.scoring.batches import in_batches

WINDOWS = 32  # of a scene that are looked at


def sample_scene(
    extract: Extractor, source: Source, reading: Reading, bounds: Bounds
) -> Sample:
    """Tokens of some windows of a scene, drawn at random; of class `IGNORE`.

    Args:
      extract: of one tap and variant.
      source: the scene.
      reading: its bands and scaling.
      bounds: `per_class` tokens are drawn.

    Raises:
      ValueError: the scene cannot be read, or has no valid pixel.
    """
    rng = np.random.default_rng(bounds.seed)
    tokens: list[Float32[np.ndarray, "n C"]] = []
    with (
        geo.needed("rasterio").Env(**settings_of(source)),
        open_scene(source, reading) as scene,
    ):
        windows = _windows(scene, extract, rng)
        for valid, features in in_batches(
            extract.feature_fn, windows, extract.windows.batch
        ):
            tokens.append(features[0, 0][valid])  # of the one variant and tap
    found = np.concatenate(tokens) if tokens else np.zeros((0, 1), np.float32)
    if not len(found):
        raise ValueError(f"{source}: got no valid pixel, expected some: check --nodata")
    chosen = rng.permutation(len(found))[: bounds.per_class]
    classes = np.full(len(chosen), IGNORE)
    return Sample(source.stem, found[chosen], classes, np.zeros(len(chosen), np.int64))


def _windows(
    scene: Scene, extract: Extractor, rng: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "h w"], Float32[np.ndarray, "H W 3"]]]:
    """Valid tokens and normalised pixels of windows that have any, drawn at random."""
    layout = extract.windows.lay(scene.grid.height, scene.grid.width)
    (height, width), token = layout.window, extract.token
    corners = list(product(layout.tops, layout.lefts))
    order = rng.permutation(len(corners))[:WINDOWS]
    for top, left in (corners[i] for i in np.sort(order).tolist()):
        rows = top, min(top + height, scene.grid.height)
        columns = left, min(left + width, scene.grid.width)
        pixels, valid = scene.read(rows, columns)
        edges = (0, height - pixels.shape[0]), (0, width - pixels.shape[1])
        window = np.where(valid[..., None], normalise(pixels), 0)
        seen = _tokens(np.pad(valid, edges), token)
        if seen.any():
            yield seen, np.pad(window, (*edges, (0, 0))).astype(np.float32)


def _tokens(valid: Bool[np.ndarray, "H W"], side: int) -> Bool[np.ndarray, "h w"]:
    """Tokens all of whose pixels are valid."""
    height, width = valid.shape
    blocks = valid.reshape(height // side, side, width // side, side)
    return np.asarray(blocks.all((1, 3)))

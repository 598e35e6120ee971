"""Features of images of any size: what the taps of a trained run hold.

Sliding windows as in the evaluation (method §9), because GSE, Injector and position
embeddings were trained on crops; overlaps are averaged on the grid of the tokens.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, PyTree, UInt8

from crossearth_jax import build
from crossearth_jax.models.parameters import combine
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.scoring.batches import in_batches
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.system import sharding
from crossearth_jax.train_step import TrainState

# Normalised windows to features: V variants, first without and then with Injector (or
# only one of them), of T taps.
FeatureFn = Callable[
    [Float[np.ndarray, "b H W 3"]], Float32[Array | np.ndarray, "b V T h w C"]
]


def window_features(
    graph: nnx.GraphDef,
    taps: tuple[int, ...],
    variants: tuple[bool, ...],
    params: PyTree,
    frozen: PyTree,
    windows: Float[Array, "b H W 3"],
) -> Float32[Array, "b V T h w C"]:
    """Features of normalised windows, by the parts of a `build.Network`."""
    model = nnx.merge(graph, combine(params, frozen))
    plain = model.taps(windows)
    queries = model.gse(windows) if True in variants else None
    rows = []
    for injected in variants:
        maps = [
            model.injectors[i](plain[i], queries) if injected else plain[i]
            for i in taps
        ]
        rows.append(jnp.stack(maps, axis=1))
    return jnp.stack(rows, axis=1).astype(jnp.float32)


def make_feature_fn(
    network: build.Network,
    state: TrainState,
    *,
    taps: Sequence[int],
    variants: Sequence[bool],
) -> FeatureFn:
    """Jitted function from normalised windows to features, on this host alone.

    Args:
      network: structure and frozen weights.
      state: with the trained parameters.
      taps: which of the four, counted from 0.
      variants: False is the backbone with Rein, True adds Injector(GSE).

    Raises:
      ValueError: the model has no Injector but one is asked for, or a tap is none.
    """
    if True in variants and not network.model.config.gse:
        raise ValueError(
            "got a model without GSE and Injector, expected one that has them: pass "
            "--no-injector"
        )
    if not taps or not all(0 <= tap < 4 for tap in taps):
        raise ValueError(f"got taps {[t + 1 for t in taps]}, expected some of 1 to 4")
    here = sharding.make_mesh(devices=jax.local_devices())
    params = sharding.replicate_here(state.params, here)
    frozen = sharding.replicate_here(network.frozen, here)
    function = partial(window_features, network.graph, tuple(taps), tuple(variants))
    features = jax.jit(function)

    def feature_fn(windows: np.ndarray) -> jax.Array:
        placed = jax.device_put(windows, sharding.batch_split(here))
        return features(params, frozen, placed)

    return feature_fn


def image_features(
    feature_fn: FeatureFn,
    image: UInt8[np.ndarray, "H W 3"],
    windows: Windows,
    *,
    token: int,
) -> Float32[np.ndarray, "V T h w C"]:
    """Features of one image, h = ⌈H / token⌉ and w = ⌈W / token⌉.

    Args:
      feature_fn: from `make_feature_fn`.
      image: RGB on the 0-255 scale, of any size.
      windows: their sizes; the stride is rounded to whole tokens, the patch is a
        multiple of `token`.
      token: pixels of a token's side.
    """
    rows, columns = (-(-n // token) for n in image.shape[:2])
    in_tokens = Windows(
        windows.crop // token,
        max(1, round(windows.stride / token)),
        windows.patch // token,
        windows.batch,
    )
    layout = in_tokens.lay(rows, columns, "cosine")  # so that no seam shows
    (height, width), (h, w) = layout.padded, layout.window
    below, right = height * token - image.shape[0], width * token - image.shape[1]
    pixels = np.pad(normalise(image), ((0, below), (0, right), (0, 0)))
    weight = np.outer(*layout.weight)[..., None]  # [h, w, 1]
    cuts = (
        ((y, x), pixels[y * token : (y + h) * token, x * token : (x + w) * token])
        for y, x in product(layout.tops, layout.lefts)
    )
    total: np.ndarray | None = None  # V, T and C are known with the first features
    for (y, x), features in in_batches(feature_fn, cuts, windows.batch):
        if total is None:
            variants, taps, *_, channels = features.shape
            total = np.zeros((variants, taps, height, width, channels), np.float32)
        total[:, :, *layout.area(y, x)] += weight * features
    assert total is not None, "an image has at least one window"
    total /= np.outer(*layout.total)[..., None]
    return total[:, :, :rows, :columns]

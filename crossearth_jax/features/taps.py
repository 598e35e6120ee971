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
from crossearth_jax.scoring.windows import make_plan
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
    *,
    token: int,
    crop: int,
    stride: int,
    patch: int,
    batch: int,
) -> Float32[np.ndarray, "V T h w C"]:
    """Features of one image, h = ⌈H / token⌉ and w = ⌈W / token⌉.

    Args:
      feature_fn: from `make_feature_fn`.
      image: RGB on the 0-255 scale, of any size.
      token: pixels of a token's side.
      crop: window length; a shorter axis has one window, padded to whole patches.
      stride: step between windows, rounded to whole tokens.
      patch: window sides are multiples of it, a multiple of `token`.
      batch: windows per call; the last call repeats a window to fill it.
    """
    plan = make_plan(
        *(-(-n // token) for n in image.shape[:2]),  # in tokens
        crop=crop // token,
        stride=max(1, round(stride / token)),
        patch=patch // token,
        blend="cosine",  # so that no seam shows
    )
    (height, width), (h, w) = plan.padded, plan.window
    below, right = height * token - image.shape[0], width * token - image.shape[1]
    pixels = np.pad(normalise(image), ((0, below), (0, right), (0, 0)))
    weight, count = (np.outer(*axes)[..., None] for axes in (plan.weight, plan.total))
    origins = list(product(plan.tops, plan.lefts))
    total: np.ndarray | None = None  # V, T and C are known with the first features
    for start in range(0, len(origins), batch):
        places = origins[start : start + batch]
        cuts = [
            pixels[_area(y * token, x * token, h * token, w * token)] for y, x in places
        ]
        cuts += cuts[-1:] * (batch - len(cuts))
        features = np.asarray(feature_fn(np.stack(cuts)))
        if total is None:
            shape = *features.shape[1:3], height, width, features.shape[-1]
            total = np.zeros(shape, np.float32)
        for (y, x), one in zip(places, features, strict=False):
            total[:, :, *_area(y, x, h, w)] += weight * one
    total /= count
    return total[:, :, : plan.height, : plan.width]


def _area(y: int, x: int, height: int, width: int) -> tuple[slice, slice]:
    return slice(y, y + height), slice(x, x + width)

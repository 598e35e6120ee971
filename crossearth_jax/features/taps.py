"""Features of images of any size: what the taps of a trained run hold.

Sliding windows as in the evaluation (method §9), because GSE, Injector and position
embeddings were trained on crops; overlaps are averaged on the grid of the tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, PyTree, UInt8

from crossearth_jax import build, sharding
from crossearth_jax.normalise import normalise
from crossearth_jax.sliding import window_length, window_origins
from crossearth_jax.train_step import TrainState, combine

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
            "got a model without GSE and Injector, expected one that has them: say "
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
    windows = _Windows.over(image.shape[:2], token, crop, stride, patch)
    (height, width), (h, w) = windows.padded, windows.size
    below, right = height * token - image.shape[0], width * token - image.shape[1]
    pixels = np.pad(normalise(image), ((0, below), (0, right), (0, 0)))
    weight = np.outer(_hat(h), _hat(w))[..., None]
    count = np.zeros((height, width, 1), np.float32)
    total: np.ndarray | None = None  # V, T and C are known with the first features
    for start in range(0, len(windows.origins), batch):
        origins = windows.origins[start : start + batch]
        cuts = [
            pixels[_area(y * token, x * token, h * token, w * token)]
            for y, x in origins
        ]
        cuts += cuts[-1:] * (batch - len(cuts))
        features = np.asarray(feature_fn(np.stack(cuts)))
        if total is None:
            total = np.zeros(
                (*features.shape[1:3], height, width, features.shape[-1]), np.float32
            )
        for (y, x), one in zip(origins, features, strict=False):
            total[:, :, *_area(y, x, h, w)] += weight * one
            count[_area(y, x, h, w)] += weight
    total /= count
    return total[:, :, : -(-image.shape[0] // token), : -(-image.shape[1] // token)]


@dataclass(frozen=True)
class _Windows:
    """Where the windows of an image lie, in tokens."""

    padded: tuple[int, int]
    size: tuple[int, int]
    origins: list[tuple[int, int]]

    @classmethod
    def over(
        cls, image: tuple[int, int], token: int, crop: int, stride: int, patch: int
    ) -> "_Windows":
        lengths = [window_length(n, crop, patch) // token for n in image]
        padded = [max(-(-n // token), w) for n, w in zip(image, lengths, strict=True)]
        step = max(1, round(stride / token))
        axes = [
            window_origins(n, w, min(step, w))
            for n, w in zip(padded, lengths, strict=True)
        ]
        return cls(tuple(padded), tuple(lengths), list(product(*axes)))


def _area(y: int, x: int, height: int, width: int) -> tuple[slice, slice]:
    return slice(y, y + height), slice(x, x + width)


def _hat(length: int) -> Float32[np.ndarray, "n"]:
    """Weights that fade towards a window's edges, so that no seam shows."""
    angle = np.pi * (np.arange(length) + 0.5) / length
    return (np.sin(angle) ** 2).astype(np.float32)

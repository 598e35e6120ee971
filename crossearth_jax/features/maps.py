"""Features of images as RGB maps (paper Figures 9 and 11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from crossearth_jax.features.pca import Basis, fit_basis, stretched

# Features of one image: V variants (without, with Injector) of T taps.
Features = Float32[np.ndarray, "V T _ _ C"]


@dataclass(frozen=True)
class FeatureMaps:
    """One tap in one variant, for all images.

    Attributes:
      tap: place among the extracted taps.
      variant: place among the extracted variants.
      basis: of the colours.
      colours: by image: the first three components, 0-1 on the grid of the tokens.
    """

    tap: int
    variant: int
    basis: Basis
    colours: list[Float32[np.ndarray, "_ _ 3"]]


def feature_maps(
    features: Sequence[Features], *, share_variants: bool
) -> list[FeatureMaps]:
    """Colours every tap and variant with the principal components of all images.

    Args:
      features: by image.
      share_variants: one basis and stretch per tap for the variants together, so that
        their colours can be compared too.

    Raises:
      ValueError: there are too few tokens for three components.
    """
    variants, taps = features[0].shape[:2]
    together = (
        [tuple(range(variants))] if share_variants else [(v,) for v in range(variants)]
    )
    return [
        one
        for tap in range(taps)
        for group in together
        for one in _coloured(features, tap, group)
    ]


def _coloured(
    features: Sequence[Features], tap: int, variants: tuple[int, ...]
) -> list[FeatureMaps]:
    maps = [one[v, tap] for v in variants for one in features]  # [h, w, C]
    basis = fit_basis([one.reshape(-1, one.shape[2]) for one in maps], 3)
    if len(basis.explained) < 3:
        count = sum(one.shape[0] * one.shape[1] for one in maps)
        raise ValueError(
            f"got {count} tokens, expected 4 or more for three colours: give a larger "
            "image, or more of them"
        )
    colours = stretched([basis.project(one) for one in maps])
    n = len(features)
    return [
        FeatureMaps(tap, v, basis, colours[i * n : (i + 1) * n])
        for i, v in enumerate(variants)
    ]


def as_picture(
    colours: Float[np.ndarray, "h w 3"], token: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """A map upsampled bilinearly to the pixels of its image.

    Args:
      colours: 0-1 on the grid of the tokens, which begins with the image.
      token: pixels of a token's side.
      size: of the image; what the last tokens see beyond it is cut off.
    """
    height, width = colours.shape[0] * token, colours.shape[1] * token
    large = cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR)
    return (large[: size[0], : size[1]] * 255).round().astype(np.uint8)


def injector_change(features: Sequence[Features]) -> list[float]:
    """How much the Injector changes each tap: ‖F' − F‖ / ‖F − mean F‖ over all images.

    Args:
      features: by image, variants without and with Injector.
    """
    changes = []
    for tap in range(features[0].shape[1]):
        pairs = [one[:, tap].reshape(2, -1, one.shape[-1]) for one in features]
        plain, injected = np.concatenate(pairs, 1).astype(np.float64)
        spread = np.linalg.norm(plain - plain.mean(0))
        changes.append(float(np.linalg.norm(injected - plain) / spread))
    return changes

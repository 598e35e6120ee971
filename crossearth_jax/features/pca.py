"""Principal components of features: the colours of the maps, and fewer dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

STRETCH = 2.0, 98.0  # percentiles that become black and full colour


@dataclass(frozen=True)
class Basis:
    """Principal components of a set of features.

    Attributes:
      mean: of the features.
      components: unit vectors, by falling variance; the largest entry of each is
        positive, so that the colours of a map do not flip from call to call.
      explained: share of the variance along each component, 0 to 1.
    """

    mean: Float64[np.ndarray, "C"]
    components: Float64[np.ndarray, "k C"]
    explained: Float64[np.ndarray, "k"]

    def project(
        self, features: Float[np.ndarray, "*n C"]
    ) -> Float32[np.ndarray, "*n k"]:
        """Coordinates along the components."""
        return ((features - self.mean) @ self.components.T).astype(np.float32)


def fit_basis(parts: Sequence[Float[np.ndarray, "_ C"]], k: int) -> Basis:
    """Fits one basis to all parts together, in float64.

    Args:
      parts: features, one row each; a part at a time is turned to float64.
      k: components, fewer if there are not so many dimensions or features.

    Raises:
      ValueError: the features are not finite, or there are fewer than two.
    """
    count = sum(len(part) for part in parts)
    if count < 2 or not all(np.isfinite(part).all() for part in parts):
        raise ValueError(
            f"got {count} features, expected two or more, all finite: give more "
            "images, or a run that did not diverge"
        )
    mean = np.asarray(sum(part.sum(0, dtype=np.float64) for part in parts)) / count
    centred = (part - mean for part in parts)  # float64
    covariance = sum(part.T @ part for part in centred) / (count - 1)
    values, vectors = np.linalg.eigh(covariance)  # rising
    order = np.argsort(values)[::-1][: min(k, count - 1)]
    components = vectors[:, order].T
    largest = np.abs(components).argmax(1)[:, None]
    components = components * np.sign(np.take_along_axis(components, largest, 1))
    total = max(values.sum(), np.finfo(np.float64).tiny)
    return Basis(mean, components, values[order].clip(min=0) / total)


def stretched(
    maps: Sequence[Float[np.ndarray, "_ _ k"]],
) -> list[Float32[np.ndarray, "_ _ k"]]:
    """Maps to 0-1, each component between its percentiles over all maps."""
    values = np.concatenate([one.reshape(-1, one.shape[2]) for one in maps])
    low, high = np.percentile(values, STRETCH, axis=0)
    scale = np.where(high > low, high - low, 1.0)
    return [((one - low) / scale).clip(0, 1).astype(np.float32) for one in maps]

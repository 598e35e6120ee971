"""Whether features look like the source's: principal components, distances, shares.

Of one tap, in the principal components of the source's tokens, where a Gaussian stands
for them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from crossearth_jax.features.gap import frechet_of_moments
from crossearth_jax.features.pca import Basis, fit_basis

DIMENSIONS = 32  # principal components
TOKENS_PER_DIMENSION = 4  # at least, or a covariance would be noise
OUTSIDE = 99  # percentile of the source beyond which a token is outside


@dataclass(frozen=True)
class Moments:
    """Of n tokens' coordinates; two of them add up.

    Attributes:
      count: n.
      total: sum.
      square: sum of outer products.
      outside: tokens further out than `OUTSIDE` percent of the source's.
    """

    count: float
    total: Float64[np.ndarray, "k"]
    square: Float64[np.ndarray, "k k"]
    outside: float

    def __add__(self, other: "Moments") -> "Moments":
        """Of both."""
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.square + other.square,
            self.outside + other.outside,
        )

    @property
    def mean(self) -> Float64[np.ndarray, "k"]:
        """Of the coordinates."""
        return self.total / self.count

    @property
    def covariance(self) -> Float64[np.ndarray, "k k"]:
        """Of the coordinates."""
        scatter = self.square - self.count * np.outer(self.mean, self.mean)
        return scatter / max(self.count - 1, 1)


@dataclass(frozen=True)
class Familiar:
    """Where the source's tokens lie.

    Attributes:
      basis: its principal components.
      moments: of the source's tokens in them.
      quantiles: 0th to 100th percentile of their squared Mahalanobis distances.
    """

    basis: Basis
    moments: Moments
    quantiles: Float64[np.ndarray, "101"]

    @classmethod
    def of(cls, tokens: Float[np.ndarray, "n C"]) -> "Familiar":
        """Fitted to the source's tokens.

        Raises:
          ValueError: they are too few or not finite.
        """
        dimensions = min(DIMENSIONS, len(tokens) // TOKENS_PER_DIMENSION)
        if dimensions < 1:
            raise ValueError(
                f"got {len(tokens)} tokens of the source domain, expected at least "
                f"{TOKENS_PER_DIMENSION}: score more images"
            )
        basis = fit_basis([tokens], dimensions)
        coordinates = basis.project(tokens).astype(np.float64)
        moments = _moments(coordinates, 0.0)
        distances = mahalanobis(coordinates, moments)
        return cls(basis, moments, np.percentile(distances, np.arange(101)))

    def look_at(self, tokens: Float[np.ndarray, "n C"]) -> Moments:
        """Moments of another domain's tokens."""
        coordinates = self.basis.project(tokens).astype(np.float64)
        beyond = mahalanobis(coordinates, self.moments) > self.quantiles[OUTSIDE]
        return _moments(coordinates, float(beyond.sum()))

    def distance(self, domain: Moments) -> float:
        """Squared Fréchet distance from the source, as a share of its variance."""
        own = self.moments
        variance = max(float(np.trace(own.covariance)), np.finfo(float).tiny)
        parts = own.mean, own.covariance, domain.mean, domain.covariance
        return max(0.0, frechet_of_moments(*parts)) / variance  # but for rounding


def mahalanobis(
    coordinates: Float64[np.ndarray, "n k"], moments: Moments
) -> Float64[np.ndarray, "n"]:
    """Squared distances from the mean, in units of the covariance."""
    centred = coordinates - moments.mean
    return (centred @ np.linalg.pinv(moments.covariance) * centred).sum(1)


def _moments(coordinates: Float64[np.ndarray, "n k"], outside: float) -> Moments:
    square = coordinates.T @ coordinates
    return Moments(float(len(coordinates)), coordinates.sum(0), square, outside)

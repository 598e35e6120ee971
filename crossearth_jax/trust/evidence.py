"""What is counted of pixels whose truth nobody knows: sums of any number of them."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Float64

from crossearth_jax.trust.calibration import look_at


@dataclass(frozen=True)
class Thresholds:
    """Above these, as many of the source's pixels lie as are right there.

    Average thresholded confidence (Garg et al. 2022): the share of a domain's pixels
    above the threshold estimates its accuracy.

    Attributes:
      temperature: of the calibration.
      confidence: of the calibrated confidence.
      certainty: of the negative entropy, nats.
      by_class: of the calibrated confidence, by chosen class.
    """

    temperature: float
    confidence: float
    certainty: float
    by_class: Float[np.ndarray, "K"]


@dataclass(frozen=True)
class Evidence:
    """Sums over pixels, by the class chosen for them; two of them add up.

    Attributes:
      pixels: how many.
      naive: of the scores' largest shares.
      confidence: of the calibrated confidences.
      above_confidence: pixels above `Thresholds.confidence`.
      above_certainty: likewise.
      above_own: pixels above their own class's threshold.
      mass: of the calibrated probabilities of all classes.
    """

    pixels: Float64[np.ndarray, "K"]
    naive: Float64[np.ndarray, "K"]
    confidence: Float64[np.ndarray, "K"]
    above_confidence: Float64[np.ndarray, "K"]
    above_certainty: Float64[np.ndarray, "K"]
    above_own: Float64[np.ndarray, "K"]
    mass: Float64[np.ndarray, "K K"]

    @classmethod
    def none(cls, num_classes: int) -> "Evidence":
        """Of no pixel."""
        empty = np.zeros(num_classes)
        mass = np.zeros((num_classes, num_classes))
        return cls(empty, empty, empty, empty, empty, empty, mass)

    @classmethod
    def of(cls, scores: Float[np.ndarray, "n K"], thresholds: Thresholds) -> "Evidence":
        """Of some pixels' class scores."""
        seen, classes = look_at(scores, thresholds.temperature), scores.shape[1]

        def sums(weights: np.ndarray) -> Float64[np.ndarray, "K"]:
            return np.bincount(seen.chosen, weights, classes)

        return cls(
            np.bincount(seen.chosen, minlength=classes).astype(np.float64),
            sums(seen.naive),
            sums(seen.confidence),
            sums(seen.confidence >= thresholds.confidence),
            sums(-seen.entropy >= thresholds.certainty),
            sums(seen.confidence >= thresholds.by_class[seen.chosen]),
            np.stack([sums(one) for one in seen.probabilities.T], axis=1),
        )

    def __add__(self, other: "Evidence") -> "Evidence":
        """Of the pixels of both."""
        names = [field.name for field in fields(self)]
        return Evidence(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def total(self) -> float:
        """Pixels of all classes."""
        return float(self.pixels.sum())

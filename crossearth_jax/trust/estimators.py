"""Estimates of overall accuracy from `Evidence`; docs/trust.md compares them."""

from collections.abc import Callable, Mapping

import numpy as np

from crossearth_jax.trust.evidence import Evidence

NAIVE = "mean confidence"
CALIBRATED = "calibrated confidence"
DIFFERENCE = "difference of confidences"
THRESHOLD = "thresholded confidence"
CERTAINTY = "thresholded entropy"
BY_CLASS = "thresholded confidence by class"

# Accuracy of the source, its evidence, and a domain's evidence → accuracy.
Estimator = Callable[[float, Evidence, Evidence], float]


def _mean(sums: np.ndarray, evidence: Evidence) -> float:
    return float(sums.sum() / evidence.total)


def _difference(accuracy: float, source: Evidence, domain: Evidence) -> float:
    """Guillory et al. 2021: accuracy falls as mean confidence does."""
    fall = _mean(source.confidence, source) - _mean(domain.confidence, domain)
    return accuracy - fall


ESTIMATORS: Mapping[str, Estimator] = {
    NAIVE: lambda _, __, domain: _mean(domain.naive, domain),
    CALIBRATED: lambda _, __, domain: _mean(domain.confidence, domain),
    DIFFERENCE: _difference,
    THRESHOLD: lambda _, __, domain: _mean(domain.above_confidence, domain),
    CERTAINTY: lambda _, __, domain: _mean(domain.above_certainty, domain),
    BY_CLASS: lambda _, __, domain: _mean(domain.above_own, domain),
}


def all_estimates(
    accuracy: float, source: Evidence, domain: Evidence
) -> dict[str, float]:
    """Accuracy of a domain by every estimator, 0 to 1.

    Args:
      accuracy: of the source's pixels.
      source: their evidence.
      domain: evidence of the domain's pixels.
    """
    return {
        name: float(np.clip(estimate(accuracy, source, domain), 0, 1))
        for name, estimate in ESTIMATORS.items()
    }

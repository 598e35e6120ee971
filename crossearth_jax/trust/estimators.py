"""Estimates of overall accuracy from `Evidence`, by name; docs/trust.md compares them.

Each has a raw form, and all but the naive one a second, "… over altered copies": the
raw estimate's fall below its value on the source is multiplied by what it was worth on
altered copies of the source's own images, whose truth is known (Guillory et al. 2021
fit such a line for the difference of confidences).
"""

from collections.abc import Callable, Mapping, Sequence

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
REGRESSED = tuple(name for name in ESTIMATORS if name not in (NAIVE, CALIBRATED))


def slopes(
    accuracy: float,
    source: Evidence,
    copies: Sequence[tuple[float, Evidence]],
    copied: tuple[float, Evidence],
) -> dict[str, float]:
    """How far accuracy falls where a raw estimate falls by 1: a line through 0.

    Args:
      accuracy: of the whole source sample, which estimators refer to.
      source: its evidence.
      copies: accuracy and evidence of each altered copy of some source images.
      copied: those images' own.
    """
    found = {}
    for name in REGRESSED:
        own = ESTIMATORS[name](accuracy, source, copied[1])
        falls = [own - ESTIMATORS[name](accuracy, source, e) for _, e in copies]
        true = [copied[0] - a for a, _ in copies]
        square = float(np.dot(falls, falls))
        found[name] = float(np.dot(falls, true)) / square if square > 1e-8 else 1.0
    return found


def all_estimates(
    accuracy: float,
    source: Evidence,
    slope: Mapping[str, float],
    domain: Evidence,
) -> dict[str, float]:
    """Accuracy of a domain by every estimator, 0 to 1."""
    found = {}
    for name, estimate in ESTIMATORS.items():
        raw = estimate(accuracy, source, domain)
        found[name] = raw
        if name in slope:
            fall = estimate(accuracy, source, source) - raw
            found[over_copies(name)] = accuracy - slope[name] * fall
    return {name: float(np.clip(value, 0, 1)) for name, value in found.items()}


def over_copies(name: str) -> str:
    """Name of an estimator's second form."""
    return f"{name}, over altered copies"

"""What a run expects of itself on a domain: accuracy, IoU; how familiar it looks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from crossearth_jax.scoring.metrics import or_none
from crossearth_jax.trust.baseline import Baseline
from crossearth_jax.trust.estimators import CERTAINTY, all_estimates
from crossearth_jax.trust.evidence import Evidence
from crossearth_jax.trust.familiar import Moments

# The estimator with the smallest errors, and how far accuracy lay from its estimate in
# eight of ten domains of docs/trust.md, where labels told.
DEFAULT = CERTAINTY
SPREAD = 0.06
LEAST = 1e-3  # share of a domain's pixels that a class needs to count in its mIoU


@dataclass(frozen=True)
class Estimate:
    """Expected scores of a domain, fractions of 1.

    Attributes:
      accuracy: overall.
      low: end of the range that accuracy lay in, in eight of ten domains measured.
      high: its other end.
      miou: mean of `iou` over the classes that a thousandth of the pixels have.
      iou: of each class, nan where too few pixels have it.
      precision: of each class, nan where it was never chosen.
      distance: of the features from the source's, as a share of their variance.
      outside: share of tokens beyond 99 % of the source's.
      accuracies: by every estimator's name.
    """

    accuracy: float
    low: float
    high: float
    miou: float
    iou: Float64[np.ndarray, "K"]
    precision: Float64[np.ndarray, "K"]
    distance: float
    outside: float
    accuracies: Mapping[str, float]


def estimate(
    baseline: Baseline, evidence: Evidence, features: Moments | None = None
) -> Estimate:
    """Expected scores of a domain.

    Args:
      baseline: of the run.
      evidence: of the domain's pixels.
      features: of its tokens, in the last of `Baseline.familiar`; None leaves
        distance and outside undefined (nan).

    Raises:
      ValueError: there is no pixel.
    """
    if not evidence.total:
        raise ValueError("got no valid pixel, expected some: check the nodata value")
    found = all_estimates(baseline.accuracy, baseline.evidence, evidence)
    accuracy = found[DEFAULT]
    precision = _precision(evidence, accuracy)
    iou = _iou(evidence, precision)
    seen = features is not None and features.count > 0
    familiar = baseline.familiar[-1]
    return Estimate(
        accuracy,
        max(0.0, accuracy - SPREAD),
        min(1.0, accuracy + SPREAD),
        float(np.nanmean(iou)),
        iou,
        precision,
        familiar.distance(features) if features and seen else float("nan"),
        features.outside / features.count if features and seen else float("nan"),
        found,
    )


def _precision(evidence: Evidence, accuracy: float) -> Float64[np.ndarray, "K"]:
    """By class's threshold, with the errors scaled so that their sum is accuracy's."""
    undefined = np.full(len(evidence.pixels), np.nan)
    share = np.divide(
        evidence.above_own, evidence.pixels, out=undefined, where=evidence.pixels > 0
    )
    wrong = evidence.total - float(evidence.above_own.sum())
    expected = (1 - accuracy) * evidence.total
    if expected <= wrong:
        return 1 - (1 - share) * (expected / max(wrong, 1.0))
    right = evidence.total - wrong
    return share * ((evidence.total - expected) / max(right, 1.0))


def _iou(
    evidence: Evidence, precision: Float64[np.ndarray, "K"]
) -> Float64[np.ndarray, "K"]:
    """Right / (chosen + true - right).

    A wrong pixel's true class is drawn by the calibrated probabilities of the others,
    summed over the pixels that share its chosen class.
    """
    right = evidence.pixels * np.nan_to_num(precision)
    others = evidence.mass * (1 - np.eye(len(right)))
    shares = others / np.maximum(others.sum(1, keepdims=True), 1e-12)
    true = right + (evidence.pixels - right) @ shares
    union = evidence.pixels + true - right
    defined = np.maximum(evidence.pixels, true) >= LEAST * evidence.total
    undefined = np.full(len(right), np.nan)
    return np.divide(right, union, out=undefined, where=defined)


def sentence(found: Estimate, source_accuracy: float) -> str:
    """The estimate in plain words."""
    text = (
        f"expected accuracy {found.accuracy:.2f} ({found.low:.2f} to "
        f"{found.high:.2f}), {source_accuracy:.2f} on the source"
    )
    if np.isnan(found.outside):
        return text
    share = 100 * found.outside
    return f"{text}; {share:.0f} % of the area looks like nothing seen in training"


def entry(found: Estimate) -> dict[str, float | None]:
    """The estimate as JSON has it: None where undefined."""
    numbers = {
        "estimated_accuracy": found.accuracy,
        "estimated_mIoU": found.miou,
        "low": found.low,
        "high": found.high,
        "distance": found.distance,
        "outside": found.outside,
    }
    return {name: or_none(float(value)) for name, value in numbers.items()}

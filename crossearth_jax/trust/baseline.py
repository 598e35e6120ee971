"""What a run keeps of its source domain, so that other scenes can be judged by it.

Only labels of the source's held-out part enter it, never those of an unseen domain.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from crossearth_jax.data.datasets import ScoredDomain
from crossearth_jax.features.taps import FeatureFn
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.scoring.counts import Confidence, confidence
from crossearth_jax.scoring.windows import ScoreFn, Windows
from crossearth_jax.trust.calibration import fit_temperature, look_at
from crossearth_jax.trust.evidence import Evidence, Thresholds
from crossearth_jax.trust.familiar import Familiar
from crossearth_jax.trust.sample import LabelledPixels, sample_pixels
from crossearth_jax.trust.watched import watched

IMAGES = 64  # that are looked at
PIXELS, TOKENS = 4096, 512  # of an image
ENOUGH = 50  # pixels of a chosen class, for a threshold of its own


@dataclass(frozen=True)
class Baseline:
    """The source domain, as far as estimates need it.

    Attributes:
      classes: names.
      accuracy: share of right pixels, 0 to 1.
      precision: of each chosen class, nan where it was never chosen.
      thresholds: with the temperature of the calibration.
      evidence: of the source's pixels.
      before: the source's pixels by confidence, as scores have it.
      after: and by calibrated confidence.
      familiar: where the tokens of the last tap lie, without and with Injector.
    """

    classes: tuple[str, ...]
    accuracy: float
    precision: Float[np.ndarray, "K"]
    thresholds: Thresholds
    evidence: Evidence
    before: Confidence
    after: Confidence
    familiar: tuple[Familiar, ...]


def measure_baseline(
    score_fn: ScoreFn,
    feature_fn: FeatureFn,
    domain: ScoredDomain,
    *,
    classes: tuple[str, ...],
    windows: Windows,
) -> Baseline:
    """Scores up to `IMAGES` of the source's images.

    Args:
      score_fn: normalised windows → class scores.
      feature_fn: normalised windows → features of the last tap.
      domain: the source's held-out part.
      classes: names of the K classes.
      windows: their sizes.

    Raises:
      ValueError: the source shows one class alone, or no pixel has a label.
    """
    tokens: list[Float32[np.ndarray, "V n C"]] = []
    rng = np.random.default_rng(0)

    def take(seen: Float32[np.ndarray, "V n C"]) -> None:
        count = min(TOKENS, seen.shape[1])
        tokens.append(seen[:, rng.choice(seen.shape[1], count, replace=False)])

    whole = sample_pixels(
        watched(score_fn, feature_fn, take),
        domain,
        num_classes=len(classes),
        windows=windows,
        images=IMAGES,
        per_image=PIXELS,
    )
    if len(np.unique(whole.truth)) < 2:
        raise ValueError(
            f"got a source domain {domain.name!r} whose labels show "
            f"{len(np.unique(whole.truth))} class, expected two or more: its accuracy "
            "tells nothing about other places"
        )
    thresholds = fit_thresholds(whole)
    before, after = _reliability(whole, thresholds.temperature)
    return Baseline(
        classes,
        whole.accuracy,
        _precision(whole, len(classes)),
        thresholds,
        Evidence.of(whole.scores, thresholds),
        before,
        after,
        tuple(Familiar.of(one) for one in np.concatenate(tokens, axis=1)),
    )


def fit_thresholds(pixels: LabelledPixels) -> Thresholds:
    """Temperature, and thresholds that as many pixels pass as are right."""
    temperature = fit_temperature(pixels.scores, pixels.truth)
    seen = look_at(pixels.scores, temperature)
    right = seen.chosen == pixels.truth
    overall = _passed_by(seen.confidence, right)
    by_class = np.full(pixels.scores.shape[1], overall)
    for k in range(len(by_class)):
        own = seen.chosen == k
        if own.sum() >= ENOUGH:
            by_class[k] = _passed_by(seen.confidence[own], right[own])
    certainty = _passed_by(-seen.entropy, right)
    return Thresholds(temperature, overall, certainty, by_class)


def _passed_by(values: np.ndarray, right: np.ndarray) -> float:
    return float(np.quantile(values, 1 - right.mean()))


def _precision(pixels: LabelledPixels, num_classes: int) -> Float64[np.ndarray, "K"]:
    chosen = pixels.scores.argmax(1)
    found = np.bincount(chosen, minlength=num_classes)
    right = np.bincount(chosen[chosen == pixels.truth], minlength=num_classes)
    undefined = np.full(num_classes, np.nan)
    return np.divide(right, found, out=undefined, where=found > 0)


def _reliability(
    pixels: LabelledPixels, temperature: float
) -> tuple[Confidence, Confidence]:
    """By confidence as it is, and calibrated."""
    seen = look_at(pixels.scores, temperature)
    chosen = seen.chosen.astype(np.uint8)[None]
    truth = np.asarray(pixels.truth, np.uint8)[None]
    assert not (truth == IGNORE).any()
    both = (pixels.scores, seen.probabilities)
    before, after = (confidence(one[None], chosen, truth) for one in both)
    return before, after

"""Calibration, evidence, estimators, familiarity: numbers alone, no model."""

import numpy as np
import pytest

from crossearth_jax.trust.baseline import fit_thresholds
from crossearth_jax.trust.calibration import (
    calibrated_confidence,
    fit_temperature,
    look_at,
)
from crossearth_jax.trust.estimators import (
    CALIBRATED,
    DIFFERENCE,
    ESTIMATORS,
    NAIVE,
    all_estimates,
)
from crossearth_jax.trust.evidence import Evidence
from crossearth_jax.trust.familiar import Familiar
from crossearth_jax.trust.sample import LabelledPixels

CLASSES = 4


def drawn(count: int, sharpness: float, temperature: float = 1.0, seed: int = 0):
    """Scores whose shares, at a temperature, are the true chances of the classes."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(count, CLASSES))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (chances.cumsum(1) > rng.random((count, 1))).argmax(1)
    size = rng.uniform(0.2, 3, (count, 1))  # scores have any sum
    scores = size * np.exp(logits * temperature)
    return LabelledPixels(scores.astype(np.float32), truth.astype(np.uint8))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_chances_is_found(temperature):
    pixels = drawn(40_000, 2.0, temperature)
    found = fit_temperature(pixels.scores, pixels.truth)
    assert found == pytest.approx(temperature, rel=0.05)
    seen = look_at(pixels.scores, found)
    assert seen.confidence.mean() == pytest.approx(pixels.accuracy, abs=0.01)
    assert np.array_equal(seen.chosen, pixels.scores.argmax(1))


def test_probabilities_sum_to_one_and_agree():
    scores = drawn(500, 3.0).scores
    scores[0] = 0  # nothing found
    seen = look_at(scores, 0.7)
    np.testing.assert_allclose(seen.probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(seen.probabilities.max(1), seen.confidence, rtol=1e-5)
    np.testing.assert_allclose(
        calibrated_confidence(scores.reshape(20, 25, CLASSES), 0.7).ravel(),
        seen.confidence,
        rtol=1e-6,
    )
    p = seen.probabilities.astype(np.float64)
    entropy = -(p * np.log(p.clip(1e-30))).sum(1)
    np.testing.assert_allclose(seen.entropy, entropy, atol=1e-4)
    assert seen.confidence[0] == pytest.approx(1 / CLASSES)


def test_evidence_of_parts_adds_up_to_that_of_all():
    pixels = drawn(3_000, 2.0)
    thresholds = fit_thresholds(pixels)
    whole = Evidence.of(pixels.scores, thresholds)
    parts = [Evidence.of(one, thresholds) for one in np.split(pixels.scores, 3)]
    added = parts[0] + parts[1] + parts[2] + Evidence.none(CLASSES)
    for name in ("pixels", "naive", "confidence", "above_own", "mass"):
        np.testing.assert_allclose(getattr(added, name), getattr(whole, name))
    assert whole.total == 3_000
    assert whole.mass.sum() == pytest.approx(3_000, rel=1e-5)


def test_on_the_source_the_estimates_are_its_accuracy():
    pixels = drawn(20_000, 2.0)
    source = Evidence.of(pixels.scores, fit_thresholds(pixels))
    found = all_estimates(pixels.accuracy, source, source)
    for name in set(ESTIMATORS) - {NAIVE}:
        assert found[name] == pytest.approx(pixels.accuracy, abs=0.01), name


def test_estimates_follow_a_shift_that_leaves_chances_true():
    """Where confidence still means chance, its mean is right on another mix."""
    source, other = drawn(40_000, 2.5), drawn(40_000, 1.2, seed=1)
    thresholds = fit_thresholds(source)
    evidence = [Evidence.of(one.scores, thresholds) for one in (source, other)]
    found = all_estimates(source.accuracy, *evidence)
    assert other.accuracy < source.accuracy - 0.1
    for name in (CALIBRATED, DIFFERENCE):
        assert found[name] == pytest.approx(other.accuracy, abs=0.02)
    for name in set(ESTIMATORS) - {NAIVE}:
        assert found[name] < source.accuracy - 0.1, name


def test_other_features_are_outside():
    rng = np.random.default_rng(0)
    spread = np.linspace(3, 0.1, 48)
    tokens = rng.normal(size=(6_000, 48)) * spread
    familiar = Familiar.of(tokens[:4_000].astype(np.float32))
    like = familiar.look_at(tokens[4_000:])
    other = familiar.look_at(tokens[4_000:] * 1.5 + 2 * spread)
    assert like.outside / like.count == pytest.approx(0.01, abs=0.006)
    assert other.outside / other.count > 0.5
    assert familiar.distance(like) < 0.02 < 0.5 < familiar.distance(other)
    halves = familiar.look_at(tokens[4_000:5_000]) + familiar.look_at(tokens[5_000:])
    assert familiar.distance(halves) == pytest.approx(familiar.distance(like))

"""Class scores as probabilities that mean what they say: one temperature.

Scores are Σ_q softmax(class)·sigmoid(mask): not negative, of any sum. Their shares are
probabilities p; a temperature T makes softmax(ln p / T) of them (Guo et al. 2017).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Num

TINY = np.float32(1e-12)
LOWEST, HIGHEST = 0.1, 10.0  # of temperatures that are looked at
ROUNDS = 40  # of the search, each 0.62 times as wide


@dataclass(frozen=True)
class Pixels:
    """What the estimates look at, of n pixels.

    Attributes:
      chosen: class ids with the highest score.
      naive: share of the chosen class in the scores, as they are.
      confidence: its calibrated probability.
      entropy: of the calibrated probabilities, nats.
      probabilities: calibrated, of all classes.
    """

    chosen: Int[np.ndarray, "n"]
    naive: Float32[np.ndarray, "n"]
    confidence: Float32[np.ndarray, "n"]
    entropy: Float32[np.ndarray, "n"]
    probabilities: Float32[np.ndarray, "n K"]


def look_at(scores: Float[np.ndarray, "n K"], temperature: float) -> Pixels:
    """Everything that the estimates need of some pixels' scores."""
    floor = np.maximum(scores, TINY, dtype=np.float32)
    chosen = floor.argmax(1)
    naive = floor.max(1) / floor.sum(1)
    shifted = _shifted(floor, temperature)
    weights = np.exp(shifted)
    total = weights.sum(1)
    entropy = np.log(total) - (weights * shifted).sum(1) / total
    return Pixels(chosen, naive, 1 / total, entropy, weights / total[:, None])


def calibrated_confidence(
    scores: Float[np.ndarray, "*n K"], temperature: float
) -> Float32[np.ndarray, "*n"]:
    """Calibrated probability of the class with the highest score."""
    floor = np.maximum(scores, TINY, dtype=np.float32)
    return 1 / np.exp(_shifted(floor, temperature)).sum(-1)


def fit_temperature(
    scores: Float[np.ndarray, "n K"], truth: Num[np.ndarray, "n"]
) -> float:
    """The temperature with the lowest negative log likelihood of the truth.

    It has one minimum over ln T, found by golden sections.

    Args:
      scores: class scores of pixels that it is fitted to.
      truth: their class ids.
    """
    logs = np.log(np.maximum(scores, TINY, dtype=np.float32)).astype(np.float64)
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = logs * np.exp(-log_temperature)
        scaled -= scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[rows, truth]).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(ROUNDS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _shifted(
    floor: Float32[np.ndarray, "*n K"], temperature: float
) -> Float32[np.ndarray, "*n K"]:
    """Logarithms over the temperature, the largest of each pixel 0."""
    logs = np.log(floor)
    logs -= logs.max(-1, keepdims=True)
    logs *= np.float32(1 / temperature)
    return logs

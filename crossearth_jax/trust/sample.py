"""Scores of a labelled domain at some pixels of every image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.scoring.domain import scored_records
from crossearth_jax.scoring.windows import ScoreFn, Windows


@dataclass(frozen=True)
class LabelledPixels:
    """Scores of n pixels and their truth."""

    scores: Float32[np.ndarray, "n K"]
    truth: UInt8[np.ndarray, "n"]

    @property
    def accuracy(self) -> float:
        """Share of the pixels whose highest score is their truth's."""
        return float(np.mean(self.scores.argmax(1) == self.truth))


def sample_pixels(
    score_fn: ScoreFn,
    domain: ScoredDomain,
    *,
    num_classes: int,
    windows: Windows,
    images: int,
    per_image: int,
) -> LabelledPixels:
    """Scores images of a domain, and keeps pixels drawn from those that are labelled.

    Args:
      score_fn: as `evaluate`.
      domain: labelled images.
      num_classes: K.
      windows: their sizes.
      images: that are looked at, evenly spread over the domain.
      per_image: pixels of an image at most.
    """
    last = len(domain.source) - 1
    spread = np.linspace(0, last, min(images, last + 1)).round().astype(int)
    scores = [np.zeros((0, num_classes), np.float32)]
    truth = [np.zeros(0, np.uint8)]

    def skip(place: int, record: Record) -> None:
        """Scoring has listed what cannot be read."""

    places: Sequence[int] = np.unique(spread).tolist()
    for place, record, result in scored_records(
        score_fn, domain, places, num_classes, windows, skip
    ):
        label = record.label.ravel()
        known = np.flatnonzero(label != IGNORE)
        rng = np.random.default_rng(place)
        chosen = rng.choice(known, min(per_image, len(known)), replace=False)
        scores.append(result.reshape(-1, num_classes)[chosen].astype(np.float32))
        truth.append(label[chosen])
    return LabelledPixels(np.concatenate(scores), np.concatenate(truth))

"""Domains and scenes through a run, to its estimates of itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.features.taps import FeatureFn
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict.strip import Block
from crossearth_jax.scoring.domain import scored_records
from crossearth_jax.scoring.metrics import confusion_matrix, confusion_metrics
from crossearth_jax.scoring.windows import ScoreFn, Windows
from crossearth_jax.trust.baseline import Baseline
from crossearth_jax.trust.calibration import calibrated_confidence
from crossearth_jax.trust.estimate import Estimate, estimate
from crossearth_jax.trust.evidence import Evidence
from crossearth_jax.trust.familiar import Moments
from crossearth_jax.trust.least import LeastTrusted, Patch
from crossearth_jax.trust.watched import watched


@dataclass(frozen=True)
class Verdict:
    """A domain's estimate, beside its true scores where it has labels.

    Attributes:
      name: of the domain.
      role: "source", "unseen" or "scene".
      found: the estimate.
      accuracy: true overall accuracy, None without labels.
      miou: true mIoU, None without labels.
      least: its least trusted windows, none without labels.
    """

    name: str
    role: str
    found: Estimate
    accuracy: float | None = None
    miou: float | None = None
    least: tuple[Patch, ...] = ()


class Looking:
    """Adds up what is seen of one domain."""

    def __init__(
        self, baseline: Baseline, score_fn: ScoreFn, feature_fn: FeatureFn
    ) -> None:
        """Starts with nothing; `score_fn` is the one to score the domain with."""
        self.baseline = baseline
        self.evidence = Evidence.none(len(baseline.classes))
        self.features: Moments | None = None
        self.score_fn = watched(score_fn, feature_fn, self._take)

    def _take(self, tokens: Float32[np.ndarray, "V n C"]) -> None:
        if tokens.shape[1]:
            seen = self.baseline.familiar[-1].look_at(tokens[-1])
            self.features = seen if self.features is None else self.features + seen

    def add(self, scores: Float32[np.ndarray, "n K"]) -> None:
        """Pixels whose scores count."""
        self.evidence += Evidence.of(scores, self.baseline.thresholds)

    def result(self) -> Estimate:
        """What is expected of all that was added."""
        return estimate(self.baseline, self.evidence, self.features)


def judge_domain(
    baseline: Baseline,
    score_fn: ScoreFn,
    feature_fn: FeatureFn,
    domain: ScoredDomain,
    windows: Windows,
) -> Verdict:
    """A labelled domain: pixels with a label count, which then tells the truth."""
    classes = len(baseline.classes)
    looking = Looking(baseline, score_fn, feature_fn)
    confusion = np.zeros((classes, classes), np.int64)
    least = LeastTrusted(windows.crop)
    temperature = baseline.thresholds.temperature

    def skip(place: int, record: Record) -> None:
        """Scoring has listed what cannot be read."""

    places = range(len(domain.source))
    for _, record, scores in scored_records(
        looking.score_fn, domain, places, classes, windows, skip
    ):
        prediction = scores.argmax(2).astype(np.uint8)
        confusion += confusion_matrix(record.label, prediction, classes)
        looking.add(scores[record.label != IGNORE])
        least.add(record, prediction, calibrated_confidence(scores, temperature))
    true = confusion_metrics(confusion)
    return Verdict(
        domain.name,
        domain.role,
        looking.result(),
        true.overall_accuracy,
        true.miou,
        tuple(least.patches),
    )


def judge_scenes(
    baseline: Baseline,
    score_fn: ScoreFn,
    feature_fn: FeatureFn,
    name: str,
    scenes: Iterable[Callable[[ScoreFn], Iterable[Block]]],
) -> Verdict:
    """Scenes without labels, together; each scores its rows by a given function."""
    looking = Looking(baseline, score_fn, feature_fn)
    for blocks in scenes:
        for block in blocks(looking.score_fn):
            looking.add(block.scores[block.valid])
    return Verdict(name, "scene", looking.result())

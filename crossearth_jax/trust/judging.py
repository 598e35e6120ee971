"""A run as the judge of its own maps: what `crossearth predict --trust` asks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.trust.baseline import Baseline
from crossearth_jax.trust.calibration import calibrated_confidence
from crossearth_jax.trust.estimate import estimate
from crossearth_jax.trust.evidence import Evidence
from crossearth_jax.trust.kept import FOLDER, NAME, read_baseline


@dataclass
class SceneTally:
    """Evidence of one scene; see `predict.judge.Tally`."""

    baseline: Baseline
    evidence: Evidence

    def add(self, scores: Float32[np.ndarray, "n K"]) -> None:
        """Some valid pixels' class scores."""
        self.evidence += Evidence.of(scores, self.baseline.thresholds)

    def result(self) -> Mapping[str, float]:
        """Expected accuracy, its range, and mIoU; empty without a valid pixel."""
        if not self.evidence.total:
            return {}
        found = estimate(self.baseline, self.evidence)
        return {
            "expected_accuracy": round(found.accuracy, 4),
            "expected_low": round(found.low, 4),
            "expected_high": round(found.high, 4),
            "expected_mIoU": round(found.miou, 4),
        }


@dataclass(frozen=True)
class RunJudge:
    """See `predict.judge.Judge`.

    Attributes:
      baseline: of the run's source domain.
      place: the file it was read from.
    """

    baseline: Baseline
    place: Path

    @cached_property
    def mark(self) -> str:
        """Eight hexadecimal digits of the baseline's file."""
        return hashlib.sha256(self.place.read_bytes()).hexdigest()[:8]

    def chance(
        self, scores: Float32[np.ndarray, "r W K"]
    ) -> Float32[np.ndarray, "r W"]:
        """Calibrated chance that the class with the highest score is right."""
        return calibrated_confidence(scores, self.baseline.thresholds.temperature)

    def tally(self) -> SceneTally:
        """For one scene."""
        classes = len(self.baseline.classes)
        return SceneTally(self.baseline, Evidence.none(classes))


def judge_of(predictor: Predictor) -> RunJudge:
    """The judge of a loaded run.

    Raises:
      ValueError: the run kept nothing to judge by, or what it kept is of other weights.
    """
    about = predictor.about
    workdir, weights = Path(about["checkpoint"]), str(about.get("weights", ""))
    baseline = read_baseline(workdir, tuple(predictor.classes.names), weights)
    return RunJudge(baseline, workdir / FOLDER / NAME)

"""Measures a run's baseline when its source domain is scored, and keeps it."""

from pathlib import Path

from absl import logging

from crossearth_jax.build import Network
from crossearth_jax.data.datasets import ScoredDomain
from crossearth_jax.features.taps import FeatureFn, make_feature_fn
from crossearth_jax.run.trained import weights_digest
from crossearth_jax.scoring.windows import ScoreFn, Windows
from crossearth_jax.train_step import TrainState
from crossearth_jax.trust.baseline import measure_baseline
from crossearth_jax.trust.kept import write_baseline

LAST_TAP = 3


def last_tap(network: Network, state: TrainState) -> FeatureFn:
    """Features of the last tap, without Injector and, where there is one, with it."""
    variants = (False, True) if network.model.config.gse else (False,)
    return make_feature_fn(network, state, taps=[LAST_TAP], variants=variants)


def keep_baseline(
    workdir: Path,
    source: ScoredDomain,
    *,
    score_fn: ScoreFn,
    network: Network,
    state: TrainState,
    classes: tuple[str, ...],
    windows: Windows,
) -> None:
    """Writes `trust/baseline.npz`; a source that cannot serve is a warning.

    Args:
      workdir: of the run.
      source: the source domain's held-out part.
      score_fn: of the trained model.
      network: structure and frozen weights.
      state: with the trained parameters.
      classes: names.
      windows: of predictions.
    """
    try:
        baseline = measure_baseline(
            score_fn,
            last_tap(network, state),
            source,
            classes=classes,
            windows=windows,
        )
    except ValueError as error:
        logging.warning("nothing kept for `crossearth trust`: %s", error)
        return
    write_baseline(workdir, baseline, weights_digest(network, state))

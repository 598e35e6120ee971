"""Measures a run's baseline when its source domain is scored, and keeps it."""

from pathlib import Path

from absl import logging

from crossearth_jax.build import Network
from crossearth_jax.build_data import Data
from crossearth_jax.features.taps import FeatureFn, make_feature_fn
from crossearth_jax.run.trained import weights_digest
from crossearth_jax.run_settings import RunSettings
from crossearth_jax.scoring.windows import ScoreFn
from crossearth_jax.system import hosts
from crossearth_jax.train_step import TrainState
from crossearth_jax.trust.baseline import measure_baseline
from crossearth_jax.trust.kept import write_baseline

LAST_TAP = 3


def last_tap(network: Network, state: TrainState) -> FeatureFn:
    """Features of the last tap, without Injector and, where there is one, with it."""
    variants = (False, True) if network.model.config.gse else (False,)
    return make_feature_fn(network, state, taps=[LAST_TAP], variants=variants)


def keep_baseline(
    settings: RunSettings,
    workdir: Path,
    data: Data,
    network: Network,
    state: TrainState,
    score_fn: ScoreFn,
) -> None:
    """Writes `trust/baseline.npz`, if a source domain is scored; the first host does.

    A source that cannot serve is a warning.

    Args:
      settings: of the run.
      workdir: of the run.
      data: with its source domain's held-out part.
      network: structure and frozen weights.
      state: with the trained parameters.
      score_fn: of the trained model.
    """
    source = [domain for domain in data.domains if domain.role == "source"]
    if source and hosts.is_first():
        try:
            baseline = measure_baseline(
                score_fn,
                last_tap(network, state),
                source[0],
                classes=data.classes.names,
                windows=settings.windows.on_devices(),
            )
            write_baseline(workdir, baseline, weights_digest(network, state))
        except ValueError as error:
            logging.warning("nothing kept for `crossearth trust`: %s", error)
    hosts.wait_for_all()

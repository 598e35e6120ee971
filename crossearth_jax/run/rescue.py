"""Saves what an error would lose: the steps since the last checkpoint."""

import jax
from absl import logging

from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.lock import Gone
from crossearth_jax.train_step import TrainState


def save_before_leaving(
    saved: Checkpoints,
    state: TrainState,
    error: Exception,
    *,
    start: int,
    patience: int,
) -> None:
    """Saves the last whole step, if there is anything to save and a place for it.

    Never raises: the error that ends the run is the one to report.

    Args:
      saved: where to.
      state: after the last step.
      error: what ends the run.
      start: step that the run began with.
      patience: of `LossGuard`; at its end the state is the one that the last bad step
        began with, so that the same command meets this step again.
    """
    if isinstance(error, Gone):
        return
    if jax.process_count() > 1:  # the other hosts are not in a save
        return
    if any(leaf.is_deleted() for leaf in jax.tree.leaves(state)):
        logging.warning("the failed step took its state along: nothing to save")
        return
    try:
        step, bad = int(state.step), int(state.bad)
        if step <= start:
            return
        if bad >= patience:
            kept = jax.device_put(state.bad * 0 + (patience - 1), state.bad.sharding)
            state = state._replace(bad=kept)
        if saved.save(state):
            saved.wait()
            logging.warning("step %d is saved: the same command goes on there", step)
    except Exception as problem:
        logging.error("the last steps could not be saved: %s", problem)

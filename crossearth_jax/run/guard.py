"""Watches the losses: a step that is not finite stops the run or is counted.

The step itself never takes such a gradient (`train_step.make_train_step`); here the
host learns of it, two steps late, so that the device always has work.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from absl import logging
from safetensors.numpy import save_file

from crossearth_jax.data.pipeline import Batch
from crossearth_jax.models.parameters import dotted
from crossearth_jax.system import hosts
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.train_step import Metrics, TrainState

LAG = 2  # steps between a step and its check


class LossGuard:
    """Reads the metrics of every step, a little later."""

    def __init__(
        self,
        workdir: Path,
        names: Callable[[int], tuple[str, ...]],
        *,
        patience: int,
        class_weights: tuple[float, ...] | None = None,
    ) -> None:
        """Watches a run.

        Args:
          workdir: of the run, with its config.json; dumps go to `nonfinite/` in it.
          names: the files of a step's batch on this host.
          patience: steps in a row that end the run.
          class_weights: of its class loss, which the labels may have given; a dump
            keeps them.
        """
        self._class_weights = class_weights
        self._workdir, self._names, self._patience = workdir, names, patience
        self._waiting: deque[tuple[int, Metrics, Batch]] = deque()
        self.skipped = 0

    def push(
        self, step: int, metrics: Metrics, batch: Batch, state: TrainState
    ) -> None:
        """Takes over what step number `step` (0-based) saw on this host.

        Raises:
          ValueError: an earlier step was not finite and the run has to end.
        """
        self._waiting.append((step, metrics, batch))
        if len(self._waiting) > LAG:
            self._check(*self._waiting.popleft(), state)

    def flush(self, state: TrainState) -> None:
        """Checks all steps so far; waits for the device.

        Raises:
          ValueError: as `push`.
        """
        while self._waiting:
            self._check(*self._waiting.popleft(), state)

    def _check(
        self, step: int, metrics: Metrics, batch: Batch, state: TrainState
    ) -> None:
        bad = int(metrics["bad"])
        if bad == 0:
            return
        values = {name: float(value) for name, value in sorted(metrics.items())}
        shown = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if k != "bad")
        files = ", ".join(self._names(step))
        if bad < self._patience:
            self.skipped += 1
            logging.warning(
                "step %d is not finite and was skipped, %d in a row (%s; images: %s)",
                step,
                bad,
                shown,
                files,
            )
            return
        folder = self._dump(step, values, batch, state)
        raise ValueError(
            f"the loss of step {step} is not finite, {bad} in a row ({shown}; images: "
            f"{files}). Look at it with `crossearth replay {folder}`; the usual ways "
            "out are a lower --config.optim.lr, --config.optim.clip_norm=1, or "
            "--config.train.on_nan=skip for single bad batches, each with "
            "--allow-changes and the key"
        )

    def _dump(
        self, step: int, values: Mapping[str, float], batch: Batch, state: TrainState
    ) -> Path:
        """State, batch and names, as `crossearth replay` reads them."""
        folder = self._workdir / "nonfinite" / f"step_{step}"
        folder.mkdir(parents=True, exist_ok=True)
        host = jax.process_index()
        with whole_file(folder / f"batch.{host}.safetensors") as place:
            image, label = np.asarray(batch.image), np.asarray(batch.label)
            save_file({"image": image, "label": label}, place)
        about = {"step": step, "names": self._names(step), "metrics": _text(values)}
        if self._class_weights is not None:
            about["class_weights"] = self._class_weights
        with whole_file(folder / f"about.{host}.json") as place:
            place.write_text(json.dumps(about, indent=1) + "\n")
        if hosts.is_first():
            arrays = {path: np.asarray(x) for path, x in dotted(state.params).items()}
            with whole_file(folder / "params.safetensors") as place:
                save_file(arrays, place)
            with whole_file(folder / "config.json") as place:
                place.write_bytes((self._workdir / "config.json").read_bytes())
        return folder


def _text(values: Mapping[str, float]) -> dict[str, str]:
    """JSON has no nan."""
    return {name: repr(value) for name, value in values.items()}

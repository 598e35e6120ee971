"""MLflow (extra `mlflow`); where to is MLFLOW_TRACKING_URI's choice."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from crossearth_jax.run.loggers.protocol import (
    PROJECT,
    End,
    RunFacts,
    keep_id,
    kept_id,
)
from crossearth_jax.system.escape import cut, terminal
from crossearth_jax.system.extras import needed

VALUE = 5_000  # characters of a parameter or tag; MLflow refuses longer ones
BATCH = 100  # parameters or tags of one call
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class Mlflow:
    """One run of MLflow for one workdir, through a client: no global run is set."""

    def __init__(self) -> None:
        self._mlflow = needed("mlflow", "train.loggers=mlflow", "mlflow")

    def start(self, run: RunFacts) -> None:
        """Begins the run, or goes on with it under its id."""
        self._client = self._mlflow.MlflowClient()
        self._id = kept_id(run, "mlflow") or ""
        if self._id:
            self._client.update_run(self._id, status="RUNNING")
        else:
            begun = self._client.create_run(self._experiment(), run_name=run.name)
            self._id = keep_id(run, "mlflow", begun.info.run_id)
            # Parameters never change; a resumed run has its changes in config.json.
            self._batches("params", self._mlflow.entities.Param, run.config)
        origin = _flat(run.origin, f"start {run.start}")
        self._batches("tags", self._mlflow.entities.RunTag, origin)
        for path in run.files:
            self._client.log_artifact(self._id, str(path))
        print(f"mlflow: run {terminal(self._id)}", flush=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics of a step."""
        now = int(1_000 * time.time())
        metric = self._mlflow.entities.Metric
        shown = [metric(_name(k), v, now, step) for k, v in values.items()]
        for i in range(0, len(shown), BATCH):
            self._client.log_batch(self._id, metrics=shown[i : i + BATCH])

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Images by step, as MLflow's pages show them."""
        for name, picture in pictures.items():
            self._client.log_image(self._id, picture, key=_name(name), step=step)

    def files(self, paths: Sequence[Path]) -> None:
        """The report as artifacts."""
        for path in paths:
            self._client.log_artifact(self._id, str(path), "report")

    def end(self, how: End) -> None:
        """Sets the run's status."""
        self._client.set_terminated(self._id, STATUS[how])

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        return known.experiment_id if known else self._client.create_experiment(name)

    def _batches(self, what: str, kind: Any, facts: Mapping[str, Any]) -> None:
        entities = [kind(_name(k), cut(str(v), VALUE)) for k, v in facts.items()]
        for i in range(0, len(entities), BATCH):
            self._client.log_batch(self._id, **{what: entities[i : i + BATCH]})


def _flat(facts: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested facts under names such as "start 0/must_agree/data"."""
    found: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}/{key}"
        found |= _flat(value, name) if isinstance(value, Mapping) else {name: value}
    return found


def _name(text: str) -> str:
    """A name that MLflow takes: a relative path of words."""
    parts = re.sub(r"[^\w\-./ ]", "_", text).split("/")
    return cut("/".join("_" if part.strip(". ") == "" else part for part in parts), 250)

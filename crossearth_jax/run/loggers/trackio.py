"""Trackio (extra `trackio`); local unless TRACKIO_SPACE_ID names a Space."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from crossearth_jax.run.loggers.protocol import PROJECT, End, RunFacts, own_id
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.extras import needed


class Trackio:
    """One run of Trackio for one workdir, known there by name and id."""

    def __init__(self) -> None:
        self._trackio = needed("trackio", "train.loggers=trackio", "trackio")

    def start(self, run: RunFacts) -> None:
        """Begins the run, or goes on with it under its name."""
        name = f"{run.name}-{own_id(run, 'trackio')}"
        self._run = self._trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=name,
            resume="allow",
            config={**run.config, "provenance": dict(run.origin)},
            embed=False,
        )
        self._keep("inputs", run.files)
        print(f"trackio: run {terminal(name)}", flush=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Curves over the step."""
        self._run.log(dict(values), step=step)

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Images over the step."""
        shown = {name: self._trackio.Image(one) for name, one in pictures.items()}
        self._run.log(shown, step=step)

    def files(self, paths: Sequence[Path]) -> None:
        """The report as an artifact."""
        self._keep("report", paths)

    def end(self, how: End) -> None:
        """Waits until what was logged is kept."""
        self._run.finish()

    def _keep(self, kind: str, paths: Sequence[Path]) -> None:
        artifact = self._trackio.Artifact(f"{kind}-{self._run.name}", type=kind)
        for path in paths:
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)

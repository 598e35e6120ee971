"""Weights & Biases (extra `wandb`); WANDB_MODE=offline keeps all in the workdir."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from crossearth_jax.run.loggers.protocol import PROJECT, End, RunFacts, own_id
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.extras import needed

LOGIN = "run `wandb login`, or set WANDB_API_KEY, or WANDB_MODE=offline"


class Wandb:
    """One run of W&B for one workdir, however often it is resumed."""

    def __init__(self) -> None:
        self._wandb = needed("wandb", "train.loggers=wandb", "wandb")

    def start(self, run: RunFacts) -> None:
        """Begins the run, or goes on with it under its id."""
        wandb = self._wandb
        mode = os.environ.get("WANDB_MODE", "online")
        if mode == "online" and not wandb.login(verify=False, timeout=0):
            raise RuntimeError(f"no account is known: {LOGIN}")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=own_id(run, "wandb"),
            name=run.name,
            dir=str(run.workdir),
            resume="allow",
            allow_val_change=True,  # more steps, for example
            config={**run.config, "provenance": dict(run.origin)},
            # Our lines stay ours, and no source or patch of the user's goes along.
            settings=wandb.Settings(console="off", silent=True, save_code=False),
        )
        # Steps that run again after a kill are not in W&B's own order of steps.
        self._run.define_metric("*", step_metric="step")
        self._keep("inputs", run.files)
        place = self._run.url if mode == "online" else self._run.dir
        print(f"wandb: {terminal(place)}", flush=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Curves over the step."""
        self._run.log({**values, "step": step})

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Images over the step."""
        shown = {name: self._wandb.Image(one) for name, one in pictures.items()}
        self._run.log({**shown, "step": step})

    def files(self, paths: Sequence[Path]) -> None:
        """The report as an artifact."""
        self._keep("report", paths)

    def end(self, how: End) -> None:
        """Waits until what was logged is sent."""
        self._run.finish(exit_code=int(how == "failed"))

    def _keep(self, kind: str, paths: Sequence[Path]) -> None:
        artifact = self._wandb.Artifact(f"{kind}-{self._run.id}", type=kind)
        for path in paths:
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)

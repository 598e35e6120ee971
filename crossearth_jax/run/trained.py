"""A trained run read back from its workdir."""

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from crossearth_jax import build
from crossearth_jax.build import initial_state
from crossearth_jax.config import load as read_config
from crossearth_jax.data.classes import ClassSet, load_classes
from crossearth_jax.data.raw_images import ORDINARY, RawImages
from crossearth_jax.hub.weights import moved
from crossearth_jax.models.parameters import digest_of_arrays, dotted
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.run import contract, seal
from crossearth_jax.run.best import LAST
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run_settings import RunSettings, read_settings
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.system import sharding
from crossearth_jax.train_step import TrainState

PRECISIONS = tuple(each.value for each in Arithmetic)


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run as one of its checkpoints left it, with its weights in memory.

    Attributes:
      workdir: of the run.
      settings: as it was trained, but for the precision if another was asked for.
      classes: names and palette.
      network: structure and frozen weights.
      state: with the trained parameters.
    """

    workdir: Path
    settings: RunSettings
    classes: ClassSet
    network: build.Network
    state: TrainState

    @property
    def windows(self) -> Windows:
        """Of predictions."""
        return self.settings.windows

    @property
    def raw_images(self) -> RawImages | None:
        """What the images were that it was trained on; None for ordinary ones."""
        raw = self.settings.data.raw
        return None if raw == ORDINARY else raw

    def about(self) -> dict[str, Any]:
        """Where the weights come from."""
        return {
            "checkpoint": str(self.workdir.resolve()),
            "name": self.settings.name,
            "step": int(self.state.step),
            "weights": weights_digest(self.network, self.state),
            "precision": self.settings.precision,
        }


def weights_digest(network: build.Network, state: TrainState) -> str:
    """Sixteen hexadecimal digits that tell weights apart, trained and frozen."""
    trained = digest_of_arrays(dotted(jax.device_get(state.params)))
    return trained[:12] + network.digest[:4]


def load_run(
    checkpoint: str | Path, precision: str | None = None, step: str | None = None
) -> TrainedRun:
    """Reads a run.

    Args:
      checkpoint: the workdir of a run, or a checkpoint folder inside one.
      precision: as the configuration has it; None takes what it was trained in.
      step: which checkpoint of a workdir: "best", "last", or its step as digits; None
        is the newest, or the folder that `checkpoint` is.

    Raises:
      ValueError: there is no such run, step or precision, or its files do not fit.
    """
    workdir = find_workdir(Path(checkpoint))
    changes = {} if precision is None else {"precision": precision}
    config = read_config(workdir / "config.json", changes)
    classes, chosen = load_classes(workdir / "classes.json"), step_of(Path(checkpoint))
    if chosen is not None and step is not None:
        raise ValueError(
            f"got checkpoint {checkpoint} and --step {step}, expected one of them: "
            "give the workdir with --step, or the folder alone"
        )
    made: contract.Facts = {}
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        chosen = checkpoints.find(step or LAST) if chosen is None else chosen
        if chosen is not None:
            made = checkpoints.made(chosen)
            contract.check_kept(made, config.to_dict(), classes.names, workdir)
    changes |= moved(config.to_dict(), made, workdir)
    config = read_config(workdir / "config.json", changes)
    network = build.build_network(config, len(classes.names), restored=True)
    state = _restored(config, network, workdir, chosen)
    return TrainedRun(workdir, read_settings(config), classes, network, state)


def find_workdir(checkpoint: Path) -> Path:
    """The run that a workdir, or a folder inside its `checkpoints`, belongs to.

    Raises:
      ValueError: it is neither.
    """
    for folder in (checkpoint, *checkpoint.absolute().parents[:2]):
        if (folder / "config.json").is_file() and (folder / "checkpoints").is_dir():
            return folder
    raise ValueError(
        f"got checkpoint {checkpoint}, expected the workdir of a trained run (with "
        "config.json and checkpoints/), or a folder in its checkpoints/"
    )


def step_of(checkpoint: Path) -> int | None:
    """The step that a checkpoint folder holds; None for a workdir.

    Raises:
      ValueError: the checkpoint is damaged.
    """
    if not checkpoint.name.isdigit() or checkpoint.parent.name != "checkpoints":
        return None
    if found := seal.damage(checkpoint):
        raise ValueError(
            f"got checkpoint {checkpoint}, which is damaged ({found}): give the "
            "workdir to take its newest sound one"
        )
    return int(checkpoint.name)


def _restored(
    config: ConfigDict, network: build.Network, workdir: Path, step: int | None
) -> TrainState:
    """The state of a run after a step, the newest if None."""
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    like = initial_state(network, optimiser, sharding.make_mesh())
    opened = Checkpoints(workdir, frozen=network.digest, read_only=True)
    with closing(opened) as checkpoints:
        return checkpoints.restore(like, step)

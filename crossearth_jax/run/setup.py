"""What a run is made of, and its jitted step."""

from collections.abc import Callable
from dataclasses import dataclass

import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree

from crossearth_jax import build
from crossearth_jax.build_data import Data
from crossearth_jax.earth_style.restyle import Restyling
from crossearth_jax.run_settings import RunSettings
from crossearth_jax.system import sharding
from crossearth_jax.train_step import Metrics, TrainState, make_train_step


@dataclass(frozen=True)
class TrainingSetup:
    """What a run is made of, before its first step or checkpoint."""

    settings: RunSettings
    mesh: Mesh
    data: Data
    restyle: Restyling | None
    network: build.Network
    schedule: optax.Schedule
    optimiser: optax.GradientTransformation
    state: TrainState


def make_step(
    setup: TrainingSetup,
) -> tuple[Callable[..., tuple[TrainState, Metrics]], PyTree]:
    """The jitted step and the frozen arrays that it takes, on devices."""
    step_fn, frozen = jitted_step(setup)
    return step_fn, sharding.place_frozen(frozen, setup.mesh)


def jitted_step(
    setup: TrainingSetup,
) -> tuple[Callable[..., tuple[TrainState, Metrics]], PyTree]:
    """The jitted step and the frozen arrays that it takes, where they are."""
    graph, restyle_state = nnx.split(setup.restyle) if setup.restyle else (None, {})
    step_fn = make_train_step(
        setup.network.graph,
        graph,
        setup.optimiser,
        setup.settings.objective,
        placement=sharding.replicated(setup.mesh),
        accumulate=setup.settings.train.accumulate,
        patience=setup.settings.train.patience,
    )
    return step_fn, {"model": setup.network.frozen, "restyle": restyle_state}

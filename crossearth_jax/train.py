"""Training: set-up, loop, final evaluation; read from top to bottom."""

import json
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from crossearth_jax import build, describe, sharding
from crossearth_jax.checkpoint import Checkpoints
from crossearth_jax.data.pipeline import train_batches
from crossearth_jax.evaluate import evaluate
from crossearth_jax.report.tables import print_report
from crossearth_jax.run_log import RunLog
from crossearth_jax.sliding import ScoreFn
from crossearth_jax.train_step import TrainState, combine, make_train_step
from crossearth_jax.whole_file import whole_file


def train(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains, or goes on where the workdir stopped, then scores every domain.

    Args:
      config: all keys, see `config.default`.
      workdir: holds config.json, metrics.jsonl, TensorBoard events, checkpoints,
        report.json and pictures.

    Returns:
      The report.

    Raises:
      ValueError: something in the configuration or the data does not fit.
    """
    # ---- data and model -------------------------------------------------------
    mesh = sharding.make_mesh()
    sharding.check_batch_size(config.train.batch_size, mesh)
    data = build.build_data(config)
    restyle = build.build_restyle(config)
    network = build.build_network(config, len(data.classes.names))
    schedule = build.build_schedule(config)
    optimiser = build.build_optimiser(config, network, schedule)

    # ---- step -------------------------------------------------------------------
    restyle_graph, restyle_state = nnx.split(restyle) if restyle else (None, {})
    step_fn = make_train_step(
        network.graph, restyle_graph, optimiser, build.build_objective(config)
    )
    frozen = {"model": network.frozen, "restyle": restyle_state}
    frozen = sharding.replicate(frozen, mesh)
    state = initial_state(network, optimiser, mesh)
    key = sharding.replicate(jax.random.key(config.train.seed), mesh)

    with closing(Checkpoints(workdir, keep=config.train.keep)) as checkpoints:
        # ---- resume -------------------------------------------------------------
        if checkpoints.latest() is not None:
            state = checkpoints.restore(state)
        start = int(state.step)
        batches = train_batches(
            data.train,
            build.build_augment(config),
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            start_step=start,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
            num_threads=config.data.threads,
            num_workers=config.data.workers,
        )
        first = next(batches)  # unusable data stops here, before anything is written
        workdir.mkdir(parents=True, exist_ok=True)
        write_config(config, workdir)
        describe.announce(config, workdir, data, network, restyle, start)

        # ---- loop ---------------------------------------------------------------
        with closing(batches), RunLog(workdir, start, config.train.steps) as log:
            steps = range(start, config.train.steps)
            for step, batch in zip(steps, chain([first], batches), strict=False):
                batch = sharding.shard_batch(batch, config.train.batch_size, mesh)
                state, metrics = step_fn(state, frozen, batch, key)
                if (step + 1) % config.train.log_every == 0 or step == start:
                    # The only wait for the device, and only on logged steps.
                    log.write(step + 1, jax.device_get(metrics), schedule(step))
                if (step + 1) % config.train.checkpoint_every == 0:
                    checkpoints.save(state)
                log.advance()
        checkpoints.save(state)

    # ---- final evaluation ---------------------------------------------------------
    return score(config, workdir, data, network, state)


def initial_state(
    network: build.Network, optimiser: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """The state before the first step, on every device."""
    params = network.trainable
    state = TrainState(params, optimiser.init(params), jnp.zeros((), jnp.int32))
    return sharding.replicate(state, mesh)


def evaluate_run(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Scores every domain with the newest checkpoint, or without one `train.init`.

    Raises:
      ValueError: there is no checkpoint, or it belongs to another architecture.
    """
    data = build.build_data(config)
    network = build.build_network(config, len(data.classes.names))
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    state = initial_state(network, optimiser, sharding.make_mesh())
    with closing(Checkpoints(workdir, keep=config.train.keep)) as checkpoints:
        if checkpoints.latest() is not None or not config.train.init:
            state = checkpoints.restore(state)
    return score(config, workdir, data, network, state)


def score(
    config: ConfigDict,
    workdir: Path,
    data: build.Data,
    network: build.Network,
    state: TrainState,
) -> dict[str, Any]:
    """Evaluates, writes report.json and pictures, prints the table."""
    if not data.domains:
        logging.warning("no domain to score: set data.source and data.unseen")
        return {"domains": {}}
    crop = config.data.crop
    report = evaluate(
        make_score_fn(network, state),
        data.domains,
        classes=data.classes,
        workdir=workdir,
        crop=crop,
        stride=config.eval.stride or round(crop * 2 / 3),
        patch=2 * config.backbone.patch_size,
        batch=config.eval.batch,
        examples=config.eval.examples,
        about={"name": config.name, "step": int(state.step)},
    )
    print_report(report)
    print(f"report: {workdir / 'report.json'}, pictures: {workdir / 'pictures'}")
    return report


def make_score_fn(network: build.Network, state: TrainState) -> ScoreFn:
    """Jitted function from normalised windows to class scores."""

    @jax.jit
    def scores(params: Any, frozen: Any, windows: jax.Array) -> jax.Array:
        return nnx.merge(network.graph, combine(params, frozen)).scores(windows)

    return lambda windows: scores(state.params, network.frozen, windows)


def write_config(config: ConfigDict, workdir: Path) -> None:
    """Keeps the configuration beside the results."""
    with whole_file(workdir / "config.json") as place:
        place.write_text(json.dumps(config.to_dict(), indent=2) + "\n")

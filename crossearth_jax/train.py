"""Training: set-up, loop, final evaluation; read from top to bottom."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jaxtyping import PyTree
from ml_collections import ConfigDict

from crossearth_jax import build
from crossearth_jax.build_data import Data, build_data, build_restyle, weighted
from crossearth_jax.config import flattened
from crossearth_jax.config_file import (
    from_run,
    from_tiles,
    with_backbone,
    with_remat,
    write_config,
)
from crossearth_jax.data.classes import save_classes
from crossearth_jax.data.pipeline import Batch, Batches, batch_names, train_batches
from crossearth_jax.evaluate import evaluate
from crossearth_jax.report.score_table import print_report
from crossearth_jax.run import agreement, announce, contract, provenance, recompute
from crossearth_jax.run.best import LAST
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.first_step import compiled_step, traced_step
from crossearth_jax.run.guard import LossGuard
from crossearth_jax.run.initial import backbone_of_run, read_initial
from crossearth_jax.run.lock import WorkdirLock
from crossearth_jax.run.log import RunLog
from crossearth_jax.run.loggers.fan_out import FanOut
from crossearth_jax.run.loggers.protocol import RunFacts
from crossearth_jax.run.midway import Midway, score_step, scored_domains
from crossearth_jax.run.rescue import save_before_leaving
from crossearth_jax.run.setup import TrainingSetup, jitted_step, make_step
from crossearth_jax.run.stop import StopRequest
from crossearth_jax.run_settings import RunSettings, read_settings, start_settings
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.system import device_memory, hosts, sharding
from crossearth_jax.train_step import TrainState
from crossearth_jax.trust.keep import keep_baseline


@dataclass(frozen=True)
class Upkeep:
    """What a run is kept by while it goes on."""

    workdir: Path
    saved: Checkpoints
    stop: StopRequest
    held: WorkdirLock
    loggers: FanOut


def set_up(config: ConfigDict) -> TrainingSetup:
    """Reads the data's file lists and builds the model.

    Raises:
      ValueError: something in the configuration or the data is invalid.
    """
    settings = read_settings(config)
    build.check_schedule(config)
    train = settings.train
    mesh = sharding.make_mesh(train.fsdp)
    sharding.check_batch_size(train.batch_size, mesh, train.accumulate)
    data = build_data(settings.data)
    settings = weighted(settings, data)
    scored_domains(settings.midway, data)
    restyle = build_restyle(settings.style)
    initial = read_initial(start_settings(config), data.classes.names)
    network = build.build_network(config, len(data.classes.names), initial)
    schedule = build.build_schedule(config)
    optimiser = build.build_optimiser(config, network, schedule)
    state = build.initial_state(network, optimiser, mesh)
    return TrainingSetup(
        settings, mesh, data, restyle, network, schedule, optimiser, state
    )


def set_up_in_memory(
    config: ConfigDict, workdir: Path
) -> tuple[ConfigDict, TrainingSetup]:
    """`set_up`, with what is decided where `backbone.remat` is "auto"."""
    start = start_settings(config)
    remat = recompute.as_before(start.remat, workdir)
    setup = set_up(config)

    def needs() -> int | None:
        step_fn, frozen = jitted_step(setup)
        sizes = setup.settings.train.batch_size, start.crop
        traced = traced_step(step_fn, setup.state, frozen, *sizes, setup.mesh)
        return device_memory.needed(traced.lower().compile())

    recomputes = recompute.decided(remat, needs)
    network = build.recomputing(setup.network, recomputes)
    return with_remat(config, recomputes), replace(setup, network=network)


def train(
    config: ConfigDict, workdir: Path, allow_changes: Sequence[str] = ()
) -> dict[str, Any]:
    """Trains, or resumes where the workdir stopped, then scores every domain.

    Args:
      config: all keys, see `config.default`.
      workdir: holds config.json, provenance.json, metrics.jsonl, checkpoints,
        report.json, pictures, TensorBoard events, and ids of other loggers' runs.
      allow_changes: keys that may differ from those of the run in the workdir.

    Returns:
      The report.

    Raises:
      ValueError: something in the configuration or the data is invalid, the workdir
        holds another run or is in use, or the loss is not finite.
      ImportError: a library of `train.loggers` is not installed.
      Stopped: the run was asked to stop; the same command resumes from there.
      lock.Gone: the workdir was deleted or moved.
    """
    config = from_tiles(config)
    config = with_backbone(config, backbone_of_run(start_settings(config)))
    with WorkdirLock(workdir) as held, device_memory.out_of_memory_in_words():
        loggers = FanOut(read_settings(config).train.loggers)
        config, setup = set_up_in_memory(config, workdir)
        made = contract.facts(config.to_dict(), setup.data, setup.network.digest)
        checkpoints = Checkpoints(
            workdir,
            keep=setup.settings.train.keep,
            keep_every=setup.settings.train.keep_every,
            keep_best=setup.settings.midway.keep_best,
            frozen=setup.network.digest,
            made=made,
        )
        with StopRequest() as stop, closing(checkpoints) as saved, loggers:
            # ---- resume ---------------------------------------------------------
            state, changes = _resumed(setup, saved, workdir, made, allow_changes)
            start = int(state.step)
            with closing(batches(setup, start)) as stream:
                first = next(stream)  # unusable data stops here, with nothing written
                loggers.start(_announce(config, workdir, setup, start, changes))
                upkeep = Upkeep(workdir, saved, stop, held, loggers)
                state = _loop(setup, state, chain([first], stream), upkeep)
            if count := stream.skipped:
                logging.warning("%d records of unusable files were skipped", count)

            # ---- end ------------------------------------------------------------
            held.check()
            _save_last(saved, state, workdir)
            stop.nothing_left_to_save()
            report = score(setup.settings, workdir, setup.data, setup.network, state)
            loggers.report(int(state.step), report, workdir)
            if setup.settings.midway.keep_best:
                announce.announce_best(saved.best(), saved.best_score(), workdir)
        held.check()
        return report


def _save_last(saved: Checkpoints, state: TrainState, workdir: Path) -> None:
    if not saved.save(state):
        raise OSError(
            f"the final checkpoint could not be written to {workdir}: free some disk "
            "space and run the same command again"
        )
    saved.wait()


def _resumed(
    setup: TrainingSetup,
    saved: Checkpoints,
    workdir: Path,
    made: contract.Facts,
    allow_changes: Sequence[str],
) -> tuple[TrainState, list[str]]:
    """The newest checkpoint's state, the initial one without any; and what changes."""
    if (newest := saved.set_damaged_aside()) is None:
        return setup.state, []
    before = saved.made(newest) or contract.of_workdir(workdir)
    changes = contract.check_training(before, made, allow_changes, done=newest)
    weights = "weights" in allow_changes
    return saved.restore(setup.state, newest, other_weights=weights), changes


def _loop(
    setup: TrainingSetup, state: TrainState, batches: Iterable[Batch], upkeep: Upkeep
) -> TrainState:
    """Steps until the end or until asked to stop; an error saves before it leaves."""
    train, saved = setup.settings.train, upkeep.saved
    step_fn, frozen = make_step(setup)
    key = sharding.replicate(jax.random.key(train.seed), setup.mesh)
    start, patience = int(state.step), train.patience
    weights = setup.settings.objective.segmentation.class_weights
    names = partial(_names, setup)
    guard = LossGuard(upkeep.workdir, names, patience=patience, class_weights=weights)
    midway = _midway(setup, frozen["model"], upkeep.stop)
    shown = {"images": train.batch_size, "writes": hosts.is_first()}
    shown |= {"loggers": upkeep.loggers, "scorings": midway.to_come(start)}
    outlets = saved, upkeep.loggers
    try:
        with RunLog(upkeep.workdir, start, train.steps, **shown) as log:
            if midway.due(start) and not hosts.from_first(log.start_was_scored()):
                score_step(midway, start, state, log, *outlets)
            for step, images in zip(range(start, train.steps), batches, strict=False):
                upkeep.held.check()
                if upkeep.stop.before(step):
                    break
                batch = sharding.shard_batch(images, train.batch_size, setup.mesh)
                if step == start:
                    step_fn = compiled_step(step_fn, state, frozen, batch, key)
                state, metrics = step_fn(state, frozen, batch, key)
                guard.push(step, metrics, images, state)
                if (step + 1) % train.log_every == 0 or step == start:
                    # The only wait for the device, and only on logged steps.
                    rate = float(jax.device_get(setup.schedule(step)))
                    log.write(step + 1, jax.device_get(metrics), rate)
                due = midway.due(step + 1)
                if (step + 1) % train.checkpoint_every == 0 or due:
                    guard.flush(state)
                if (step + 1) % train.checkpoint_every == 0 or (
                    due and midway.keeps_best
                ):
                    saved.save(state)
                saved.seal_when_complete()
                log.advance()
                if due:
                    score_step(midway, step + 1, state, log, *outlets)
            guard.flush(state)
    except Exception as error:
        save_before_leaving(saved, state, error, start=start, patience=patience)
        raise
    if guard.skipped:
        logging.warning("%d steps were not finite and were skipped", guard.skipped)
    return state


def _midway(setup: TrainingSetup, placed: PyTree, stop: StopRequest) -> Midway:
    """Scores while training; `placed` are the frozen weights as the step has them."""
    # Where devices share one copy, scores need another one that is whole.
    whole = setup.settings.train.fsdp == 1
    frozen = placed if whole else setup.network.frozen
    graph, asked = setup.network.graph, stop.asked_alone
    return Midway(setup.settings, setup.data, graph, frozen, asked_to_stop=asked)


def batches(setup: TrainingSetup, start: int) -> Batches:
    """This host's part of every batch from step `start` on."""
    train = setup.settings.train
    return train_batches(
        setup.data.train,
        setup.settings.augment,
        batch_size=train.batch_size,
        seed=train.seed,
        start_step=start,
        host_index=jax.process_index(),
        host_count=jax.process_count(),
        num_threads=train.threads,
        num_workers=train.workers,
        order=setup.data.order,
    )


def _names(setup: TrainingSetup, step: int) -> tuple[str, ...]:
    """The files of this host's part of a step's batch."""
    return batch_names(
        setup.data.train,
        batch_size=setup.settings.train.batch_size,
        seed=setup.settings.train.seed,
        step=step,
        host_index=jax.process_index(),
        host_count=jax.process_count(),
        order=setup.data.order,
    )


def _announce(
    config: ConfigDict,
    workdir: Path,
    setup: TrainingSetup,
    start: int,
    changes: Sequence[str],
) -> RunFacts:
    """Checks that all hosts run the same; the first writes it down and prints it.

    Returns:
      What loggers are told.
    """
    settings, data = setup.settings, setup.data
    origin = provenance.collect(settings.train.seed, data)
    agreement.check(config.to_json(), origin, setup.network)
    if hosts.is_first():
        workdir.mkdir(parents=True, exist_ok=True)
        write_config(config, workdir)
        save_classes(data.classes, workdir / "classes.json")
        provenance.write(origin, workdir, start)
        announce.announce(settings, workdir, data, setup.network, setup.restyle, start)
        for change in changes:
            print(f"changed since step {start}: {change}")
        if start >= settings.train.steps:
            print(f"already finished, {start} steps: nothing to train")
    kept = ("config.json", "provenance.json", "classes.json")
    return RunFacts(
        name=settings.name,
        workdir=workdir,
        start=start,
        config=dict(flattened(config.to_dict())),
        origin=origin,
        files=tuple(workdir / name for name in kept),
    )


def evaluate_run(
    config: ConfigDict,
    workdir: Path,
    allow_changes: Sequence[str] = (),
    step: str = LAST,
) -> dict[str, Any]:
    """Scores every domain with a checkpoint, or without any with `train.init`.

    Args:
      config: all keys.
      workdir: of the run; the report goes there.
      allow_changes: keys that may differ from those of the run in the workdir.
      step: of the checkpoint: "last", "best" or a number.

    Raises:
      ValueError: there is no checkpoint, or it belongs to another architecture or other
        classes.
    """
    # Less than `set_up`: scoring needs no styles, and any number of devices will do.
    config = from_run(from_tiles(config), workdir)
    remat = recompute.as_before(start_settings(config).remat, workdir)
    config = with_remat(config, remat)
    config = with_backbone(config, backbone_of_run(start_settings(config)))
    settings = read_settings(config)
    data = build_data(settings.data)
    initial = read_initial(start_settings(config), data.classes.names)
    network = build.build_network(config, len(data.classes.names), initial)
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    state = build.initial_state(network, optimiser, sharding.make_mesh())
    checkpoints = Checkpoints(workdir, frozen=network.digest, read_only=True)
    with closing(checkpoints) as saved:
        found = saved.find(step)
        if found is not None:
            made = contract.facts(config.to_dict(), data, network.digest)
            before = saved.made(found) or contract.of_workdir(workdir)
            for change in contract.check_scoring(before, made, allow_changes):
                logging.warning("other than in training: %s", change)
        if found is not None or not settings.train.init:
            weights = "weights" in allow_changes
            state = saved.restore(state, found, other_weights=weights)
    return score(settings, workdir, data, network, state)


def score(
    settings: RunSettings,
    workdir: Path,
    data: Data,
    network: build.Network,
    state: TrainState,
) -> dict[str, Any]:
    """Evaluates, writes report.json and pictures, prints the table."""
    if not data.domains:
        logging.warning("no domain to score: set data.source and data.unseen")
        return {"domains": {}}
    score_fn = make_score_fn(network.graph, state.params, network.frozen)
    report = evaluate(
        score_fn,
        data.domains,
        classes=data.classes,
        workdir=workdir,
        windows=settings.windows.on_devices(),
        examples=settings.examples,
        about={"name": settings.name, "step": int(state.step)},
    )
    if settings.trust:
        keep_baseline(settings, workdir, data, network, state, score_fn)
    if hosts.is_first():
        print_report(report)
        print(f"report: {workdir / 'report.json'}, pictures: {workdir / 'pictures'}")
    return report

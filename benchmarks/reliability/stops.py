"""SIGTERM and SIGINT: saved, ended with 0, and how long it takes."""

import signal
import time
from pathlib import Path

import numpy as np

from benchmarks.reliability import runs
from benchmarks.reliability.runs import Failed, Runs, Started

STEPS = 60


def measure(folder: Path, repeats: int, seed: int) -> None:
    """Stops runs in all their phases."""
    rng = np.random.default_rng(seed)
    # Without other checkpoints, so that no save is on its way already.
    rare = "--config.train.checkpoint_every=1000"
    series = Runs(folder, STEPS, ("--config.data.eval_scenes=8", rare))
    for number in (signal.SIGTERM, signal.SIGINT):
        name = signal.Signals(number).name
        took = [_stop(series, f"{name}{i}", number, rng) for i in range(repeats)]
        step, saved, total, pace = np.median(took, axis=0)
        print(
            f"{name} in a step, {repeats} times: exit 0, that step sealed; medians: "
            f"step done after {step:.2f} s, sealed after {saved:.2f} s, ended after "
            f"{total:.2f} s (most {max(x[2] for x in took):.2f} s); a step takes "
            f"{pace:.2f} s"
        )
        print(f"{name} before the first step: {_before(series, f'{name}b', number)}")
        print(f"{name} twice: {_twice(series, f'{name}t', number):.2f} s to the end")
        took = _evaluating(series, f"{name}0", number, rng)
        print(f"{name} in the evaluation: exit 0 after {took:.2f} s", flush=True)
    print(f"SIGTERM to the second of two hosts: {_one_of_two(series)}")


def stop(run: Started, number: int) -> float:
    """Seconds from a signal to the end, which must be an ordinary one."""
    began = time.monotonic()
    run.send(number)
    code = run.ended()
    took = time.monotonic() - began
    if code != 0 or "the same command goes on from here" not in run.said():
        raise Failed(f"exit {code}:\n{run.said()}")
    return took


def _stop(
    series: Runs, name: str, number: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Seconds from the signal to the step's end, seal and exit; seconds of a step."""
    run = series.start(name)
    target = int(rng.integers(4, STEPS // 2))
    if not run.wait_until(lambda: runs.last_step(run.workdir) >= target):
        raise Failed(run.said())
    time.sleep(rng.uniform(0, 0.2))
    sent = time.time()
    total = stop(run, number)
    step, seal = _check_stopped(run)
    return max(step - sent, 0.0), seal - sent, total, runs.seconds_of_step(run)


def _check_stopped(run: Started) -> tuple[float, float]:
    """When the last step was logged, and when its checkpoint was sealed."""
    logged, sealed = runs.last_step(run.workdir), runs.newest_sealed(run.workdir)
    if logged != sealed or logged == STEPS:
        raise Failed(f"stopped after step {logged}, newest sealed is {sealed}")
    seal = run.workdir / "checkpoints" / str(sealed) / "seal.json"
    return (run.workdir / "metrics.jsonl").stat().st_mtime, seal.stat().st_mtime


def _before(series: Runs, name: str, number: int) -> str:
    run = series.start(name)
    run.wait_until(lambda: "written to" in run.said())
    took = stop(run, number)
    found = runs.checkpoints(run.workdir)
    return f"exit 0 after {took:.2f} s, sealed steps {sorted(found)}"


def _twice(series: Runs, name: str, number: int) -> float:
    run = series.start(name)
    run.wait_until(lambda: runs.last_step(run.workdir) >= 3)
    run.send(number)
    run.wait_until(lambda: "asked to stop" in run.said())
    began = time.monotonic()
    run.send(number)
    code = run.ended()
    if code not in (0, 128 + number):
        raise Failed(f"exit {code}:\n{run.said()}")
    return time.monotonic() - began


def _evaluating(
    series: Runs, name: str, number: int, rng: np.random.Generator
) -> float:
    """Goes on with a stopped run until it evaluates."""
    run = series.start(name)
    if not run.wait_until(lambda: runs.newest_sealed(run.workdir) == STEPS):
        raise Failed(run.said())
    time.sleep(rng.uniform(0.2, 1))
    took = stop(run, number)
    if (run.workdir / "report.json").exists():
        raise Failed("stopped after the evaluation")
    return took


def _one_of_two(series: Runs) -> str:
    """Only one host is told; both must stop after the same step."""
    both = series.start_hosts("two")
    if not both[0].wait_until(lambda: runs.last_step(both[0].workdir) >= 4):
        raise Failed(both[0].said() + both[1].said())
    before, sent = runs.last_step(both[0].workdir), time.time()
    both[1].send(signal.SIGTERM)
    for run in both:
        run.finish()
    total = time.time() - sent
    if (both[0].workdir / "report.json").exists():
        raise Failed("scored a run that was asked to stop")
    step, seal = _check_stopped(both[0])
    after = runs.last_step(both[0].workdir) - before
    return (
        f"both exit 0, {after} steps later, after {step - sent:.2f} s, sealed after "
        f"{seal - sent:.2f} s, ended after {total:.2f} s; a step takes "
        f"{runs.seconds_of_step(both[0]):.2f} s"
    )

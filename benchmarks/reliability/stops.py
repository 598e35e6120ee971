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
    series = Runs(folder, STEPS, ("--config.data.eval_scenes=8",))
    first = series.start("first")
    if not first.wait_until(lambda: runs.last_step(first.workdir) >= 30):
        raise Failed(first.said())
    step = runs.seconds_of_step(first)
    print(f"a step takes {step:.2f} s (median)")
    first.kill()
    for number in (signal.SIGTERM, signal.SIGINT):
        name = signal.Signals(number).name
        took = [_stop(series, f"{name}{i}", number, rng) for i in range(repeats)]
        print(
            f"{name} in a step, {repeats} times: exit 0, that step sealed, after "
            f"{np.median(took):.2f} s (median), {max(took):.2f} s (most)"
        )
        print(f"{name} before the first step: {_before(series, f'{name}b', number)}")
        print(f"{name} twice: {_twice(series, f'{name}t', number):.2f} s to the end")
        took = _evaluating(series, f"{name}0", number, rng)
        print(f"{name} in the evaluation: exit 0 after {took:.2f} s")


def stop(run: Started, number: int) -> float:
    """Seconds from a signal to the end, which must be an ordinary one."""
    began = time.monotonic()
    run.send(number)
    code = run.ended()
    took = time.monotonic() - began
    if code != 0 or "the same command goes on from here" not in run.said():
        raise Failed(f"exit {code}:\n{run.said()}")
    return took


def _stop(series: Runs, name: str, number: int, rng: np.random.Generator) -> float:
    run = series.start(name)
    target = int(rng.integers(4, STEPS // 2))
    if not run.wait_until(lambda: runs.last_step(run.workdir) >= target):
        raise Failed(run.said())
    time.sleep(rng.uniform(0, 0.2))
    took = stop(run, number)
    logged, sealed = runs.last_step(run.workdir), runs.newest_sealed(run.workdir)
    if logged != sealed:
        raise Failed(f"stopped after step {logged}, newest sealed is {sealed}")
    return took


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

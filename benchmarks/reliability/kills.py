"""SIGKILL at random moments, the same command again, compared with no kill at all."""

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.reliability import runs
from benchmarks.reliability.runs import EVERY, Failed, Runs, Started

# Where to aim; what was hit is read from the disk afterwards.
AIMS = {"start": 0.08, "step": 0.35, "save": 0.27, "seal": 0.1, "evaluation": 0.2}
FARTHEST = 12  # steps that a process runs before its kill
SECONDS_TO_START = 8.0
EVALUATING = "in the evaluation"


def measure(folder: Path, kills: int, steps: int, seed: int) -> None:
    """Kills runs until there are enough kills, and compares each when finished."""
    rng = np.random.default_rng(seed)
    series = Runs(folder, steps, ("--config.data.eval_scenes=4",))
    reference = undisturbed(series)
    hit, lost, finished, began = Counter(), [], 0, time.monotonic()
    while hit.total() < kills:
        name = f"killed{finished}"
        while hit.total() < kills:
            run = series.start(name)
            aim = str(rng.choice(list(AIMS), p=list(AIMS.values())))
            moment = kill(run, aim, rng, steps)
            if moment is None:
                break
            hit[moment] += 1
            lost.append(runs.last_step(run.workdir) - runs.newest_sealed(run.workdir))
            if lost[-1] > 2 * EVERY:
                raise Failed(f"{lost[-1]} steps lost, checkpoints every {EVERY}")
            shown = f"{hit.total()}/{kills}, {time.monotonic() - began:.0f} s"
            print(f"{shown}: {name} killed {moment}, {lost[-1]} steps lost", flush=True)
            if moment == EVALUATING:
                break
        run = series.start(name)
        run.finish()
        if found := series.difference(run.workdir, reference):
            raise Failed(f"{run.workdir}: {found}")
        print(f"{name}: all as undisturbed", flush=True)
        finished += 1
    print(
        f"{hit.total()} kills of {finished} runs of {steps} steps "
        f"({json.dumps(hit)}): all finished, metrics, state, report bitwise equal, "
        f"nothing left behind; steps lost: mean {np.mean(lost):.1f}, most {max(lost)} "
        f"at one checkpoint every {EVERY}; {time.monotonic() - began:.0f} s"
    )


def undisturbed(series: Runs) -> Path:
    """The run that the others are compared with."""
    run = series.start("undisturbed")
    run.finish()
    return run.workdir


def kill(run: Started, aim: str, rng: np.random.Generator, steps: int) -> str | None:
    """Kills a run near the moment aimed at.

    Returns:
      Where it died; None if it had ended before.
    """
    if aim == "start":
        time.sleep(rng.uniform(0, SECONDS_TO_START))
    elif run.wait_until(lambda: _began(run)):
        steps_more = int(rng.integers(1, FARTHEST))
        target = min(runs.last_step(run.workdir) + steps_more, steps)
        target = steps if aim == "evaluation" else target
        run.wait_until(lambda: runs.last_step(run.workdir) >= target)
        _approach(run, aim, rng, steps)
    began = _began(run)
    run.kill()
    if run.process.returncode == 0:
        return None
    return _where(run.workdir, steps) if began else "before its first step"


def _began(run: Started) -> bool:
    """Whether all is set up: data, model and checkpoint."""
    return "written to" in run.said()


def _approach(run: Started, aim: str, rng: np.random.Generator, steps: int) -> None:
    """Waits for what is aimed at and a random moment more."""
    last = steps in runs.checkpoints(run.workdir)
    if aim == "save" and not last:
        run.wait_until(lambda: runs.saving(run.workdir))
        time.sleep(rng.uniform(0, 0.5))
    elif aim == "seal" and not last:
        run.wait_until(lambda: not all(runs.checkpoints(run.workdir).values()))
    elif aim == "evaluation":
        run.wait_until(lambda: runs.newest_sealed(run.workdir) == steps)
        time.sleep(rng.uniform(0, 3))
    else:
        time.sleep(rng.uniform(0, 0.2))


def _where(workdir: Path, steps: int) -> str:
    """What a killed run was doing, by what it left."""
    if runs.saving(workdir):
        return "in a save"
    if not all(runs.checkpoints(workdir).values()):
        return "between a save and its seal"
    if runs.newest_sealed(workdir) == steps:
        return EVALUATING
    return "in a step"

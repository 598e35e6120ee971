"""Killed, stopped and killed again, the same command each time: as if undisturbed."""

import signal
import time

import jax
import pytest

from benchmarks.reliability import runs
from benchmarks.reliability.runs import EVERY, Runs
from benchmarks.reliability.stops import stop
from crossearth_jax.run.best import find_step

pytestmark = pytest.mark.slow

STEPS = 12
# What is saved and drawn is the same in kind; each of the five starts traces less.
SCORED = ("--config.eval.every=4", "--config.train.keep_best")
SMALLER = ("--config.mim.enabled=False", "--config.gse.enabled=False")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """All runs share compiled programs, as the default cache does."""
    folder = tmp_path_factory.mktemp("resume")
    compiled = jax.config.jax_compilation_cache_dir
    options = ("--config.data.eval_scenes=3", *SCORED, *SMALLER)
    return Runs(folder, STEPS, options, compiled=compiled)


def test_a_disturbed_run_ends_bitwise_as_an_undisturbed_one(series):
    whole = series.start("whole")
    whole.finish()
    workdir = series.folder / "disturbed"

    # ---- SIGKILL while the first checkpoints are written ------------------------
    run = series.start("disturbed")
    assert run.wait_until(lambda: runs.newest_sealed(workdir) >= EVERY)
    assert run.wait_until(lambda: runs.saving(workdir))
    run.kill()
    assert run.process.returncode == -signal.SIGKILL
    assert not (workdir / "report.json").exists()
    logged, sealed = runs.last_step(workdir), runs.newest_sealed(workdir)
    assert EVERY <= sealed <= logged <= sealed + 2 * EVERY
    assert logged < STEPS, "killed too late to test anything"

    # ---- SIGTERM in a step ------------------------------------------------------
    run = series.start("disturbed")
    assert run.wait_until(lambda: f"step {sealed + 1}/" in run.said())
    took = stop(run, signal.SIGTERM)
    assert took < 20  # a step, a save and the end of a process on a busy machine
    logged = runs.last_step(workdir)
    assert logged == runs.newest_sealed(workdir)
    assert sealed < logged < STEPS
    assert f"--workdir {workdir}" in run.said().splitlines()[-1]

    # ---- SIGKILL in the evaluation ----------------------------------------------
    run = series.start("disturbed")
    assert run.wait_until(lambda: runs.newest_sealed(workdir) == STEPS)
    time.sleep(0.1)
    run.kill()
    assert not (workdir / "report.json").exists()

    # ---- and to the end ---------------------------------------------------------
    run = series.start("disturbed")
    run.finish()
    assert series.difference(workdir, whole.workdir) is None
    best = [find_step(w / "checkpoints", "best") for w in (workdir, whole.workdir)]
    assert best[0] == best[1]

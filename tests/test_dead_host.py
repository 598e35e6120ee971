"""A host that dies ends the other one within ten seconds."""

import signal

import jax

from benchmarks.reliability.dead_hosts import LIMIT, RAISING, survivor
from benchmarks.reliability.runs import Runs


def test_the_others_end_soon(tmp_path):
    compiled = jax.config.jax_compilation_cache_dir
    # Less to compile; the hosts meet in the gradients all the same.
    options = ("--config.mim.enabled=False", "--config.style.probability=0")
    series = Runs(tmp_path, 400, options, ("-c", RAISING), compiled)
    # Host 0 also holds the service by which hosts find each other.
    assert survivor(series, "killed", 0, signal.SIGKILL) < LIMIT

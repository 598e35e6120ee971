"""Time and memory of a training step and of scoring, by backbone.

`python -m benchmarks.backbones`; variants, crop, precision and repeats are options.

Every figure comes from a process of its own, with random weights: their values change
no time. A step is the whole one of a frozen backbone, X and X_M of one image in one
call, losses, gradients and AdamW, without the style branch that one step in ten takes.
Scoring is one window. "first" is the first call, compilation included.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.our_side import random_batch, random_run
from crossearth_jax.config import default
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run.setup import TrainingSetup, make_step
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.system import sharding

VARIANTS = ("vit_large", "dinov3_large", "rvsa_large")
WORK = ("step", "score")
PRECISIONS = [each.value for each in Arithmetic]


def main(argv: Sequence[str]) -> None:
    """Measures every variant and prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backbones")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument(
        "--precision", choices=[each.value for each in Arithmetic], default="float32"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # in the process measured
    options = parser.parse_args(argv)
    if options.one:
        variant, work = options.one.split()
        print(json.dumps(measure(variant, work, options)))
        return
    print(
        f"{jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}"
    )
    rows = []
    for variant in options.variants.split(","):
        for work in WORK:
            found = _in_a_process(f"{variant} {work}", argv)
            times = found["times"]
            cells = (
                f"{statistics.median(times):.2f}",
                f"{min(times):.2f} to {max(times):.2f}",
                f"{found['first']:.1f}",
                f"{found['gigabytes']:.1f}",
            )
            rows.append((variant, work, *cells))
    header = ("backbone", "", "s, median", "lowest to highest", "first")
    table = Table((*header, "peak memory, GB"), "llrrrr", [Section(rows)])
    print(f"\n{table.as_markdown()}")


def _in_a_process(one: str, argv: Sequence[str]) -> dict:
    command = [sys.executable, "-m", "benchmarks.backbones", *argv, "--one", one]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(variant: str, work: str, options: argparse.Namespace) -> dict:
    """Times of one kind of work, and the peak memory of this process (or device)."""
    config = default()
    config.backbone.variant, config.precision = variant, options.precision
    config.data.crop, config.style.probability = options.crop, 0.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        run = random_run(config, len(CASID.names), Path(folder))
    call = {"step": _step, "score": _score}[work](config, run)
    times = [_seconds(call) for _ in range(1 + options.repeats)]
    device = jax.devices()[0].memory_stats() or {}
    host = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = device.get("peak_bytes_in_use", host)
    return {"first": times[0], "times": times[1:], "gigabytes": peak / 1e9}


def _step(config: ConfigDict, run: TrainingSetup) -> Callable[[], None]:
    step_fn, frozen = make_step(run)
    images = random_batch(config, len(CASID.names))
    batch = sharding.shard_batch(images, 1, run.mesh)
    key = sharding.replicate(jax.random.key(0), run.mesh)
    state = run.state

    def call() -> None:
        nonlocal state
        state, metrics = step_fn(state, frozen, batch, key)
        jax.block_until_ready(metrics)

    return call


def _score(config: ConfigDict, run: TrainingSetup) -> Callable[[], None]:
    score_fn = make_score_fn(run.network.graph, run.state.params, run.network.frozen)
    size = 1, config.data.crop, config.data.crop, 3
    window = np.random.default_rng(0).normal(size=size).astype(np.float32)
    return lambda: jax.block_until_ready(score_fn(window))


def _seconds(call: Callable[[], None]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(sys.argv[1:])

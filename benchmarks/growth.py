"""What a step costs as the work grows, and what devices exchange.

Each setting changes one size of a base. Time and memory are those of real steps in a
process of their own. Devices are virtual ones of this machine: they show that the work
of a device stays the same and which bytes it exchanges, not how fast it is.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.cost import shapes_of, step_cost
from benchmarks.our_side import benchmark_config, random_batch, random_run
from benchmarks.worker import Job, Worker
from crossearth_jax.models.parameters import dotted
from crossearth_jax.run.setup import make_step
from crossearth_jax.system import sharding

BASE = {"variant": "vit_small", "crop": 256, "batch": 1, "classes": 5, "queries": 100}
CURVES = {
    "crop": (512, 1024),
    "batch": (4, 16),
    "classes": (20,),
    "queries": (50, 200),
}
DEVICES = (1, 2, 4, 8)
SIZES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1}
# Bytes a second that a GPU sends, as its makers give them: NVLink among the eight of a
# machine, a 400 Gbit/s network card for each between machines.
LINKS = {8: 450e9, 64: 50e9}


def measure(threads: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Results by setting; "ours" is seconds a step, or has the unit "unit".

    The first is the base: five classes, a hundred queries. Each other changes one size.
    """
    base = f"{BASE['variant']}, crop {BASE['crop']}, batch {BASE['batch']}"
    found = {base: step(BASE, threads, repeats)}
    for axis, values in CURVES.items():
        for value in values:
            found[f"{axis} {value}"] = step({**BASE, axis: value}, threads, repeats)
            print(axis, value, found[f"{axis} {value}"], file=sys.stderr, flush=True)
    for count in DEVICES:
        found[f"devices {count}"] = on_devices(count)
    return found | links()


def step(sizes: dict[str, Any], threads: int, repeats: int) -> dict[str, Any]:
    """Time, memory and operations of a step."""
    sizes = dict(sizes)
    classes = sizes.pop("classes")
    config = benchmark_config(**sizes, precision="float32")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        job = Job(config, classes, Path(folder), threads, trains=True)
        worker = Worker("ours", job)
        turns = [worker.turn("step") for _ in range(1 + repeats)][1:]
        worker.close()
    times = [turn.seconds for turn in turns]
    return {
        "ours": statistics.median(times),
        "peer": None,
        "ratio": None,
        "unit": "s",
        "spread": {"ours": [min(times), max(times)]},
        "gigabytes": max(turn.gigabytes for turn in turns),
        "flops": step_cost(config, classes)["flops"],
    }


def on_devices(count: int) -> dict[str, Any]:
    """Operations and exchanged bytes of each of so many devices, an image each."""
    flag = f"--xla_force_host_platform_device_count={count}"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", str(count)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flag},
    )
    return json.loads(result.stdout.splitlines()[-1])


def compiled_cost(count: int) -> dict[str, Any]:
    """In the process with the devices: of the compiled step, for one device."""
    config = benchmark_config("vit_small", 128, batch=count, precision="float32")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        run = random_run(config, BASE["classes"], Path(folder))
    step_fn, frozen = make_step(run)
    batch = random_batch(config, BASE["classes"])
    placed = sharding.shard_batch(batch, count, run.mesh)
    key = sharding.replicate(jax.random.key(0), run.mesh)
    compiled = step_fn.lower(run.state, frozen, placed, key).compile()
    return {
        "ours": compiled.cost_analysis()["flops"] / 1e9,
        "peer": None,
        "ratio": None,
        "unit": "GFLOP a device",
        "megabytes": exchanged_bytes(compiled.as_text()) / 1e6,
        "trained": trained_bytes(run.state.params) / 1e6,
    }


def exchanged_bytes(text: str) -> int:
    """Bytes of the results of all collectives of a compiled program."""
    names = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    total = 0
    text = re.sub(r"/\*.*?\*/", "", text)  # numbers within long tuples of shapes
    for shapes in re.findall(rf"= (\(?[^=]*?\)?) (?:{names})(?:-start)?\(", text):
        for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            length = np.prod([int(n) for n in sides.split(",") if n], dtype=int)
            total += SIZES[kind] * int(length)
    return total


def trained_bytes(params: Any) -> int:
    """Of all parameters that train, and so of a gradient."""
    return sum(x.nbytes for x in dotted(params).values())


def links() -> dict[str, dict[str, Any]]:
    """Estimated milliseconds in which ViT-L's gradients meet, without overlap."""
    config = benchmark_config("vit_large", 512, precision="float32")
    _, trainable, _ = shapes_of(config, BASE["classes"])
    size = sum(4 * x.size for x in dotted(trainable).values())
    found = {}
    for gpus, rate in LINKS.items():
        milliseconds = 1000 * 2 * (gpus - 1) / gpus * size / rate
        found[f"gradients of ViT-L among {gpus} GPUs"] = {
            "ours": milliseconds,
            "peer": None,
            "ratio": None,
            "unit": "ms, estimated",
            "megabytes": size / 1e6,
            "link": rate / 1e9,
        }
    return found


if __name__ == "__main__":
    print(json.dumps(compiled_cost(int(sys.argv[1]))))

r"""Ours beside PyTorch: the same weights, inputs and processors, taking turns.

    python -m benchmarks.run --document

Suites: "model" (scores of a window), "train" (the whole step of X and X_M), "predict"
(a scene of nine windows), "input" (crops from files), "compile" (from the start of the
process to the first finished step), "half" (scores and step in float32, then in
bfloat16), "growth" (cost by size of the work, ours alone).
Before anything is timed, both sides' results are compared: the same numbers, or no
table. A ratio is the peer's cost over ours, so more than 1 is better. The peer is
`benchmarks.peer_torch`, eager or compiled.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import cold_start, document, growth
from benchmarks import input as reading
from benchmarks.cost import step_cost
from benchmarks.our_side import MATMUL, benchmark_config
from benchmarks.worker import Job, Turn, Values, Worker
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.system.whole_file import whole_file

Result = dict[str, Any]
CASES = {
    "model": ("inference", "backbone"),
    "train": ("step", "matmul"),
    "predict": ("scene",),
}
TRAINING = ("train", "compile")  # whose cases are the training step
SUITES = (*CASES, "half", "input", "compile", "growth")
STEPS = 30_000  # of a run of the paper
AGREEMENT = {"float32": 1e-3, "tensorfloat32": 5e-2, "bfloat16": 5e-2}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the suites asked for, one after another."""
    options = parse(argv)
    for suite in options.suite:
        found = measure(suite, options)
        for case in found.values():
            case["hardware"] = hardware()
            case["command"] = command(suite, options)
        print(document.table(found), flush=True)
        if options.json:
            merge(options.json, suite, found)
    if options.document:
        document.write()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options; see --help."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument(
        "--peer", choices=("torch", "torch-compile", "none"), default="torch"
    )
    parser.add_argument("--variant", choices=list(VARIANTS), default="vit_large")
    parser.add_argument("--crop", type=int, default=512, help="pixels")
    parser.add_argument("--batch", type=int, default=1, help="images of a step")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--precision", choices=list(AGREEMENT), default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="file that keeps the figures")
    parser.add_argument(
        "--document",
        action="store_true",
        help="keep the figures in docs/ and write them into docs/performance.md",
    )
    options = parser.parse_args(argv)
    if options.document:
        options.json = document.figures(jax.default_backend())
    if options.peer != "none" and not util.find_spec("transformers"):
        print("PyTorch's side needs pip install '.[test]': measured without it")
        options.peer = "none"
    return options


def measure(suite: str, options: argparse.Namespace) -> dict[str, Result]:
    """Results of a suite by case."""
    if suite == "input":
        return crops(options)
    if suite == "growth":
        return growth.measure(options.threads, options.repeats)
    if suite == "half":
        return halves(options)
    with shared_job(options, trains=suite in TRAINING) as job:
        if suite == "compile":
            return starts(job, options)
        turns = take_turns(job, options.peer, CASES[suite], options.repeats)
        return {"model": model, "train": train, "predict": predict}[suite](
            turns, job, options
        )


@contextmanager
def shared_job(options: argparse.Namespace, *, trains: bool) -> Iterator[Job]:
    """The model and the step that are measured, with a folder for both sides."""
    config = benchmark_config(
        options.variant, options.crop, batch=options.batch, precision=options.precision
    )
    # Both sides may share a GPU: JAX must not take all of its memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        yield Job(config, options.classes, Path(folder), options.threads, trains)


Turns = dict[str, dict[str, list[Turn]]]  # by case and side


def take_turns(job: Job, peer: str, cases: Sequence[str], repeats: int) -> Turns:
    """Every case on both sides alternately; the first turn, which compiles, checks.

    Raises:
      ValueError: the sides' results differ.
    """
    sides = {"ours": "ours"} | ({} if peer == "none" else {"peer": peer})
    workers = {name: Worker(side, job) for name, side in sides.items()}
    try:
        turns: Turns = {}
        for case in cases:
            first = {name: worker.turn(case) for name, worker in workers.items()}
            turns[case] = {name: [turn] for name, turn in first.items()}
            if "peer" in first:
                check(case, first["ours"].values, first["peer"].values, job)
            for _ in range(repeats):
                for name, worker in workers.items():
                    turns[case][name].append(worker.turn(case))
                    seconds = turns[case][name][-1].seconds
                    print(f"{case} {name} {seconds:.3f} s", file=sys.stderr, flush=True)
        return turns
    finally:
        for worker in workers.values():
            worker.close()


def check(case: str, ours: Values, peer: Values, job: Job) -> float:
    """The sides' relative distance.

    Raises:
      ValueError: it is too large for a comparison of speed.
    """
    if ours is None or peer is None:
        return 0.0
    distance = max(distances(ours, peer).values())
    limit = AGREEMENT[job.config.precision]
    if not distance <= limit:
        raise ValueError(
            f"got results of {case} that differ by {distance:.2g} relative to their "
            f"size, expected at most {limit}: the peer does not compute the same"
        )
    return distance


def distances(ours: Values, peer: Values) -> dict[str, float]:
    """Relative distances of arrays, or of named numbers."""
    if isinstance(ours, dict):
        return {k: abs(v - peer[k]) / abs(peer[k]) for k, v in ours.items()}
    return {"": float(np.linalg.norm(ours - peer) / np.linalg.norm(peer))}


def compared(
    ours: Sequence[float], peer: Sequence[float], unit: str, **facts: Any
) -> Result:
    """Medians, their ratio and the spread; `peer` may be empty."""
    middle = statistics.median(ours)
    theirs = statistics.median(peer) if peer else None
    return {
        "ours": middle,
        "peer": theirs,
        "ratio": theirs and theirs / middle,
        "unit": unit,
        "spread": {
            name: [min(times), max(times)]
            for name, times in (("ours", ours), ("peer", peer))
            if times
        },
        **facts,
    }


def seconds(turns: dict[str, list[Turn]], per: int = 1) -> dict[str, list[float]]:
    """Times without the first turn."""
    return {
        name: [turn.seconds / per for turn in turns.get(name, [])[1:]]
        for name in ("ours", "peer")
    }


def peaks(turns: dict[str, list[Turn]]) -> dict[str, list[float]]:
    """Largest peak memory of all turns after the first, which compiles."""
    return {
        name: [max(turn.gigabytes for turn in turns[name][1:])] if name in turns else []
        for name in ("ours", "peer")
    }


def agreement(case: str, turns: Turns, job: Job) -> dict[str, float]:
    """How far the sides' first results are apart."""
    first = {name: side[0].values for name, side in turns[case].items()}
    if "peer" not in first:
        return {}
    return {"distance": check(case, first["ours"], first["peer"], job)}


def model(turns: Turns, job: Job, _: argparse.Namespace) -> dict[str, Result]:
    """Inference of one window."""
    return {
        "inference": compared(
            **seconds(turns["inference"]),
            unit="s",
            **agreement("inference", turns, job),
        ),
        "of which the backbone": compared(
            **seconds(turns["backbone"]), unit="s", **agreement("backbone", turns, job)
        ),
        "peak memory of inference": compared(**peaks(turns["inference"]), unit="GB"),
    }


def train(turns: Turns, job: Job, _: argparse.Namespace) -> dict[str, Result]:
    """The whole step, its memory, and its share of what the processor can do."""
    flops = step_cost(job.config, job.classes)["flops"]
    step, products = seconds(turns["step"]), seconds(turns["matmul"])
    fastest = min(s for side in products.values() for s in side)
    ceiling = 2 * MATMUL**3 / fastest  # operations a second
    shares = {
        name: [100 * flops / ceiling / s for s in times] for name, times in step.items()
    }
    hours = {name: [s * STEPS / 3600 for s in times] for name, times in step.items()}
    return {
        "step": compared(**step, unit="s", **agreement("step", turns, job)),
        "peak memory of a step": compared(**peaks(turns["step"]), unit="GB"),
        f"{STEPS:,} steps": compared(**hours, unit="h"),
        "share of the ceiling": compared(**shares, unit="%") | {"ratio": None},
        "the ceiling, a product of 4096²": compared(**products, unit="s"),
    }


def halves(options: argparse.Namespace) -> dict[str, Result]:
    """Inference and step in both types, and how many times faster the second is."""
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    found = {}
    for precision in ("float32", "bfloat16"):
        options.precision = precision
        with shared_job(options, trains=True) as job:
            turns = take_turns(
                job, options.peer, ("inference", "step"), options.repeats
            )
            for case in turns:
                times[case, precision] = seconds(turns[case])
                found[f"{case}, {precision}"] = compared(
                    **times[case, precision], unit="s", **agreement(case, turns, job)
                )
    for case in ("inference", "step"):
        wide, half = times[case, "float32"], times[case, "bfloat16"]
        gains = {
            side: [statistics.median(wide[side]) / one for one in half[side]]
            for side in half
        }
        gain = compared(**gains, unit="x") | {"ratio": None}
        found[f"{case}, float32's time over bfloat16's"] = gain
    return found


def predict(turns: Turns, job: Job, _: argparse.Namespace) -> dict[str, Result]:
    """A scene, from pixels to blended scores."""
    windows = compared(
        **seconds(turns["scene"], per=9), unit="s", **agreement("scene", turns, job)
    )
    peak = compared(**peaks(turns["scene"]), unit="GB")
    return {"window of a scene": windows, "peak memory of a scene": peak}


def crops(options: argparse.Namespace) -> dict[str, Result]:
    """Training crops from PNG files, a PyTorch DataLoader beside ours."""
    peer = [] if options.peer == "none" else ["torch"]
    given = ["--readers", "png", *peer, "--crop", str(options.crop)]
    given += ["--repeats", str(options.repeats), "--grid", "0x1", "0x2", "2x1"]
    rows = reading.run(reading.parse(given))["rows"]

    def cost(reader: str) -> list[float]:
        """Milliseconds a crop, at this reader's fastest setting."""
        found = [row["crops_per_s"] for row in rows if row["reader"] == reader]
        return [1000 / rate for rate in max(found, key=statistics.median, default=[])]

    return {"crop from a PNG file": compared(cost("png"), cost("torch"), "ms")}


def starts(job: Job, options: argparse.Namespace) -> dict[str, Result]:
    """From the start of the process to the end of the first step."""
    times = cold_start.measure(job, options.peer, options.repeats)
    return {
        "first step, empty cache": compared(times["cold"], times["peer"], "s"),
        "first step, warm cache": compared(times["warm"], times["peer"], "s"),
    }


def hardware() -> str:
    """Processor and versions."""
    about = reading.machine()
    device = jax.devices()[0]
    place = about["processor"] if device.platform == "cpu" else device.device_kind
    versions = [f"{name} {about[name]}" for name in ("jax", "torch") if name in about]
    cores = f"{about['cores']} cores"
    return ", ".join([place, cores, f"Python {about['python']}", *versions])


def command(suite: str, options: argparse.Namespace) -> str:
    """What measures a suite again."""
    names = ["peer", "variant", "crop", "batch", "classes", "repeats"]
    names += [] if suite == "half" else ["precision"]
    given = [f"--{name} {getattr(options, name)}" for name in names]
    return " ".join(["python -m benchmarks.run --suite", suite, *given])


def merge(path: Path, suite: str, found: dict[str, Result]) -> None:
    """Keeps a suite's figures beside those of the others."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    with whole_file(path) as place:
        place.write_text(json.dumps(stored | {suite: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()

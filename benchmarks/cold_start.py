"""Seconds from the start of a process to the end of its first training step.

Both sides read the same stored weights; ours compiles, with an empty compilation cache
or with what the start before it left there.
"""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.worker import Job, Worker, open_side, use_threads

JOB = "job.pickle"


def measure(job: Job, peer: str, repeats: int) -> dict[str, list[float]]:
    """Times of "cold" and "warm" starts of ours, and of the "peer"."""
    Worker("ours", job).close()  # leaves weights and inputs in the folder
    (job.folder / JOB).write_bytes(pickle.dumps(job))
    times: dict[str, list[float]] = {"cold": [], "warm": [], "peer": []}
    for repeat in range(repeats):
        cache = job.folder / f"cache{repeat}"
        for name in ("cold", "warm"):
            times[name].append(seconds("ours", job.folder, cache))
        if peer != "none":
            times["peer"].append(seconds(peer, job.folder, cache))
        print({k: v[-1:] for k, v in times.items()}, file=sys.stderr, flush=True)
    return times


def seconds(side: str, folder: Path, cache: Path) -> float:
    """Of a process that takes one step."""
    command = [sys.executable, "-m", "benchmarks.cold_start", side, str(folder / JOB)]
    begin = time.perf_counter()
    subprocess.run(
        command, check=True, env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    )
    return time.perf_counter() - begin


def main(side: str, path: str) -> None:
    """Takes one step."""
    job = pickle.loads(Path(path).read_bytes())
    use_threads(job.threads)
    open_side(side, job).cases["step"]()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One side of a comparison in a process of its own, told to do one case at a time.

Both sides' processes live side by side and take turns: only one of them computes, so
that other load on the machine meets both alike.
"""

import gc
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

Values = dict[str, float] | np.ndarray | None


@dataclass(frozen=True)
class Job:
    """What both sides build.

    Attributes:
      config: the model and the step.
      classes: K.
      folder: weights and inputs that they share.
      threads: processors that each may use.
      trains: whether steps are measured; a process that trains keeps its memory.
    """

    config: ConfigDict
    classes: int
    folder: Path
    threads: int
    trains: bool = False


@dataclass(frozen=True)
class Turn:
    """One call of a case.

    Attributes:
      seconds: by the clock.
      gigabytes: peak memory while it ran; on an accelerator, since the start.
      values: the result, to compare the sides.
    """

    seconds: float
    gigabytes: float
    values: Values


class Worker:
    """A side's process; `turn` has it do a case once."""

    def __init__(self, side: str, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, side, job))
        self._process.start()
        other.close()
        self._receive()

    def turn(self, case: str) -> Turn:
        """Does a case once.

        Raises:
          RuntimeError: the process failed; its message is on the terminal.
        """
        self._pipe.send(case)
        return self._receive()

    def close(self) -> None:
        """Ends the process."""
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError as error:
            self._process.join()
            raise RuntimeError(
                f"a side ended with {self._process.exitcode}, see above"
            ) from error


def serve(pipe: Connection, side: str, job: Job) -> None:
    """Builds a side, then does what it is told until it is told None."""
    use_threads(job.threads)
    made = open_side(side, job)
    pipe.send("ready")
    while (case := pipe.recv()) is not None:
        pipe.send(one_turn(made.cases[case], made.peak_on_device))


def use_threads(count: int) -> None:
    """Keeps this process, and all that it starts, on some processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def open_side(side: str, job: Job) -> Any:
    """By its name: ours, torch or torch-compile; imports only what that one needs."""
    if side == "ours":
        from crossearth_jax.system.memory import keep_freed_memory

        if job.trains:
            keep_freed_memory()
        from benchmarks.our_side import OurSide

        return OurSide(job.config, job.classes, job.folder)
    import torch

    from benchmarks.peer_side import PeerSide

    torch.set_num_threads(job.threads)
    compiled = side == "torch-compile"
    return PeerSide(job.config, job.classes, job.folder, compiled=compiled)


def one_turn(
    case: Callable[[], Values], peak_on_device: Callable[[], int | None]
) -> Turn:
    """Measures a call."""
    gc.collect()
    forget_peak()
    begin = time.perf_counter()
    values = case()
    seconds = time.perf_counter() - begin
    peak = peak_on_device() or peak_of_process()
    return Turn(seconds, peak / 1e9, values)


def forget_peak() -> None:
    """Counts `peak_of_process` anew, from what the process holds now (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_of_process() -> int:
    """Bytes; where /proc is missing, since the start of the process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])

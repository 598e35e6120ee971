"""One of two hosts dies or fails: the other ends, and one process goes on."""

import json
import signal
import time
from pathlib import Path

import numpy as np

from benchmarks.reliability import runs
from benchmarks.reliability.runs import Failed, Runs

LIMIT = 10.0  # seconds
# SIGUSR1 raises an error in the main thread, as a bug or a broken file would.
RAISING = """
import signal
def fail(number, frame):
    raise RuntimeError("an error of this host alone")
signal.signal(signal.SIGUSR1, fail)
from crossearth_jax import main
main.start()
"""


def measure(folder: Path, repeats: int) -> None:
    """Ends each of two hosts by SIGKILL and by an error."""
    series = Runs(folder, 400, program=("-c", RAISING))
    for host in (0, 1):
        for number, what in ((signal.SIGKILL, "SIGKILL"), (signal.SIGUSR1, "error")):
            took = []
            for repeat in range(repeats):
                took.append(survivor(series, f"{what}{host}-{repeat}", host, number))
            print(
                f"host {host} ends by {what}: the other ended after "
                f"{np.median(took):.1f} s (median), {max(took):.1f} s (most of "
                f"{repeats})",
                flush=True,
            )
    fewer_hosts(folder / "fewer")


def survivor(series: Runs, name: str, host: int, number: int) -> float:
    """Seconds until the other host ends."""
    both = series.start_hosts(name)
    if not both[0].wait_until(lambda: runs.last_step(both[0].workdir) >= 4):
        raise Failed(both[0].said() + both[1].said())
    began = time.monotonic()
    both[host].send(number)
    other = both[1 - host]
    code = other.ended(60)
    took = time.monotonic() - began
    both[host].ended(60)
    if code == 0 or took > LIMIT:
        raise Failed(f"ended after {took:.1f} s with {code}:\n{other.said()}")
    return took


def fewer_hosts(folder: Path) -> None:
    """Two hosts killed; one process with two devices goes on."""
    series = Runs(folder, 40, ("--config.data.eval_scenes=1",))
    whole = series.start("undisturbed", devices=2)
    whole.finish()
    both = series.start_hosts("two")
    if not both[0].wait_until(lambda: runs.last_step(both[0].workdir) >= 14):
        raise Failed(both[0].said() + both[1].said())
    runs.kill_all(both)
    before = runs.last_step(both[0].workdir)
    again = series.start("two", devices=2)
    again.finish()
    losses, expected = (
        np.array([json.loads(line)["loss"] for line in runs.lines(workdir)])
        for workdir in (again.workdir, whole.workdir)
    )
    if losses.shape != expected.shape:
        raise Failed(f"got {losses.size} lines, expected {expected.size}")
    apart = np.abs(losses / expected - 1).max()
    same = runs.lines(again.workdir) == runs.lines(whole.workdir)
    difference = series.difference(again.workdir, whole.workdir)
    print(
        f"2 hosts killed after step {before}, resumed by 1 process with 2 devices: "
        f"largest relative difference of the loss {apart:.1e}, metrics bitwise equal: "
        f"{same}; else: {difference or 'nothing differs'}"
    )
    if apart > 1e-5:
        raise Failed("other losses")

"""A disk that fills up in the middle of a run: a small tmpfs; needs root on Linux."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reliability import runs
from benchmarks.reliability.runs import Failed, Runs, Started

STEPS = 40
MEGABYTES = 24  # a checkpoint of the tiny configuration has 2.5


def measure(folder: Path) -> None:
    """Fills the disk under a run and frees it; then under the final save."""
    series = Runs(folder, STEPS, ("--config.data.eval_scenes=1",))
    whole = series.start("undisturbed")
    whole.finish()
    with tmpfs(folder / "disk") as disk:
        _filled_and_freed(series, disk, whole.workdir)
    with tmpfs(folder / "disk") as disk:
        _filled_at_the_end(series, disk, whole.workdir)


@contextmanager
def tmpfs(folder: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Takes all space that is left."""
    path = disk / "filling"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def _filled_and_freed(series: Runs, disk: Path, reference: Path) -> None:
    run = series.start("filled", workdir=disk / "run")
    _reach(run, 8)
    # Finished checkpoints are removed as new ones come: fill what that frees, too.
    sealed = runs.checkpoints(run.workdir)
    while runs.saving(run.workdir):
        pass
    filling = fill(disk)
    _reach_printed(run, 20)
    kept = {step for step, whole in runs.checkpoints(run.workdir).items() if whole}
    filling.unlink()
    run.finish()
    said = [line for line in run.said().splitlines() if "was not saved" in line]
    if not said or not kept:
        raise Failed(f"sealed {sealed}, then {kept}:\n{run.said()}")
    if found := series.difference(run.workdir, reference):
        raise Failed(found)
    print("disk full from step 8 to 20: trained on, old checkpoints kept, then saved")
    print(f"  while it was full, sealed steps {sorted(kept)}; it said:")
    for line in said:
        print(f"  {line}")
    print("  metrics, state and report as undisturbed")


def _filled_at_the_end(series: Runs, disk: Path, reference: Path) -> None:
    run = series.start("full", workdir=disk / "run")
    _reach(run, STEPS - 6)
    filling = fill(disk)
    code = run.ended()
    kept = {step for step, whole in runs.checkpoints(run.workdir).items() if whole}
    if code != 1 or not kept:
        raise Failed(f"exit {code}, sealed {kept}:\n{run.said()}")
    filling.unlink()
    print(f"disk full to the end: exit {code}, sealed steps {sorted(kept)}; it said:")
    for line in run.said().splitlines():
        if "rror" in line:
            print(f"  {line}")
    again = series.start("full", workdir=disk / "run")
    again.finish()
    if found := series.difference(again.workdir, reference):
        raise Failed(found)
    print("  freed, the same command: metrics, state and report as undisturbed")


def _reach(run: Started, step: int) -> None:
    if not run.wait_until(lambda: runs.last_step(run.workdir) >= step):
        raise Failed(run.said())


def _reach_printed(run: Started, step: int) -> None:
    """By its output, as metrics cannot be written."""
    if not run.wait_until(lambda: f"step {step}/" in run.said()):
        raise Failed(run.said())

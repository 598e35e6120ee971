"""Curves and progress of a run: metrics.jsonl, TensorBoard events, a progress line."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from tensorboardX import SummaryWriter

from crossearth_jax.whole_file import whole_file


class RunLog:
    """Writes metrics of logged steps; a bar on a terminal, plain lines otherwise."""

    def __init__(
        self, workdir: Path, start: int, steps: int, *, writes: bool = True
    ) -> None:
        """Opens the logs and drops lines of steps that will run again.

        Args:
          workdir: holds metrics.jsonl and the folder tensorboard.
          start: steps already done.
          steps: steps of the whole run.
          writes: False on all hosts but one, which keep silent.
        """
        self._writes = writes
        if not writes:
            return
        self._path = workdir / "metrics.jsonl"
        _keep_lines(self._path, start)
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=start)
        self._console = Console()
        self._steps = steps
        self._last = time.perf_counter(), start
        self._bar = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=start)

    def write(self, step: int, metrics: Mapping[str, float], rate: float) -> None:
        """Logs one step (1-based): losses, learning rate, seconds a step."""
        if not self._writes:
            return
        now, (then, before) = time.perf_counter(), self._last
        self._last = now, step
        values = {name: float(value) for name, value in sorted(metrics.items())}
        # repr keeps every bit, so two runs can be compared exactly.
        line = {"step": step, **values, "learning_rate": float(rate)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in line.items():
            self._board.add_scalar(name, value, step)
        losses = "  ".join(f"{k} {values[k]:.3f}" for k in _SHOWN if k in values)
        pace = (now - then) / (step - before)
        self._bar.update(self._task, description=f"loss {values['loss']:.2f}")
        if not self._console.is_terminal:
            print(f"step {step}/{self._steps}  {losses}  {pace:.2f} s/step", flush=True)

    def advance(self) -> None:
        """One step is on its way."""
        if self._writes:
            self._bar.advance(self._task)

    def __enter__(self) -> "RunLog":
        if self._writes:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._writes:
            return
        self._bar.stop()
        self._file.close()
        self._board.close()


_SHOWN = ("loss", "seg", "mim", "delta")


def _keep_lines(path: Path, start: int) -> None:
    """Cuts what a killed run wrote after its last checkpoint."""
    if not path.exists():
        return
    lines = []
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the line that the kill cut
            continue
        if entry["step"] <= start:
            lines.append(line + "\n")
    with whole_file(path) as place:
        place.write_text("".join(lines))

"""Curves and progress of a run: metrics.jsonl, loggers, a progress line."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from absl import logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from crossearth_jax.run.loggers.fan_out import FanOut
from crossearth_jax.run.metrics import MetricsFile
from crossearth_jax.system.device_memory import gigabytes, most_in_use


class RunLog:
    """Writes metrics of logged steps; a bar on a terminal, plain lines otherwise.

    A full disk does not end a run: lines wait until they can be written, events are
    lost, and both are reported.
    """

    def __init__(
        self,
        workdir: Path,
        start: int,
        steps: int,
        *,
        images: int = 1,
        loggers: FanOut | None = None,
        writes: bool = True,
        scorings: int = 0,
    ) -> None:
        """Opens the log and drops lines of steps that will run again.

        Args:
          workdir: holds metrics.jsonl.
          start: steps already done.
          steps: steps of the whole run.
          images: of one step.
          loggers: what else gets every line.
          writes: False on all hosts but one, which keep silent.
          scorings: that are to come, see `aside`.
        """
        self._writes = writes
        if not writes:
            return
        self._loggers = loggers or FanOut(())
        self._file = MetricsFile(workdir / "metrics.jsonl", start)
        self._console = Console()
        self._steps, self._images = steps, images
        # Time and step of the line before; the first step also warms everything up.
        self._last: tuple[float, int] | None = None
        # Scorings to come, seconds that one took, when one began.
        self._scorings, self._scoring_s, self._aside_since = scorings, 0.0, 0.0
        self._bar = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=start)

    def start_was_scored(self) -> bool:
        """Whether the step that the run goes on from has its scores; first host."""
        return self._writes and self._file.start_was_scored()

    def write(self, step: int, metrics: Mapping[str, float], rate: float) -> None:
        """Logs one step (1-based): losses and learning rate."""
        if not self._writes:
            return
        values = {name: float(value) for name, value in sorted(metrics.items())}
        self._keep(step, {**values, "learning_rate": float(rate)})
        self._show(self._shown(step, values, rate))

    def write_scores(self, step: int, scores: Mapping[str, float], shown: str) -> None:
        """Logs the scores of a step and a line of words about them, inside `aside`."""
        if not self._writes:
            return
        self._keep(step, scores)
        took = f"scored in {_clock(time.perf_counter() - self._aside_since)}"
        self._show(f"step {step}/{self._steps}  {shown}  {took}")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around all that scores a step: its time counts for no rate."""
        if not self._writes:
            yield
            return
        self._aside_since = time.perf_counter()
        self._bar.stop()  # scoring has a bar of its own
        try:
            yield
        finally:
            self._bar.start()
            self._scoring_s = time.perf_counter() - self._aside_since
            self._scorings -= 1
            if self._last:
                then, step = self._last
                self._last = then + self._scoring_s, step

    def _keep(self, step: int, values: Mapping[str, float]) -> None:
        try:
            self._file.add({"step": step, **values})
        except OSError as error:
            logging.error("step %d is not logged yet: %s", step, error)
        self._loggers.scalars(step, values)

    def _show(self, text: str) -> None:
        with suppress(OSError):  # the output may be a file on the full disk
            if self._console.is_terminal:
                self._bar.console.print(
                    text, markup=False, highlight=False, soft_wrap=True
                )
            else:
                print(text, flush=True)

    def _shown(self, step: int, values: Mapping[str, float], rate: float) -> str:
        """Losses, learning rate, images a second, memory, time to the end."""
        parts = [f"step {step}/{self._steps}"]
        parts += [f"{k} {values[k]:.3f}" for k in _SHOWN if k in values]
        parts.append(f"lr {rate:.1e}".replace("e-0", "e-").replace("e+0", "e+"))
        now, last = time.perf_counter(), self._last
        self._last = now, step
        pace = (now - last[0]) / (step - last[1]) if last else None
        if pace:
            parts.append(f"{self._images / pace:.3g} img/s")
        if memory := most_in_use():
            parts.append(gigabytes(memory))
        if pace:
            left = pace * (self._steps - step) + self._scoring_s * self._scorings
            parts.append(f"ETA {_clock(left)}")
        return "  ".join(parts)

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
        try:
            self._file.close()
        except OSError as problem:
            logging.error("the last lines of %s are lost: %s", self._file.path, problem)


def _clock(seconds: float) -> str:
    """6:12 or 2:06:12."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    whole = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{whole}:{seconds:02d}"


_SHOWN = ("loss", "seg", "mim", "delta")

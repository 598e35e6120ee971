"""Curves and progress of a run: metrics.jsonl, TensorBoard events, a progress line."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from absl import logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from crossearth_jax.system.device_memory import gigabytes, most_in_use
from crossearth_jax.system.read_json import bounded_lines, parse_json
from crossearth_jax.system.whole_file import whole_file


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
        writes: bool = True,
    ) -> None:
        """Opens the logs and drops lines of steps that will run again.

        Args:
          workdir: holds metrics.jsonl and the folder tensorboard.
          start: steps already done.
          steps: steps of the whole run.
          images: of one step.
          writes: False on all hosts but one, which keep silent.
        """
        self._writes = writes
        if not writes:
            return
        self._path = workdir / "metrics.jsonl"
        _keep_lines(self._path, start)
        # Unbuffered, so that it is known what a full disk took of a line.
        self._file = self._path.open("ab", buffering=0)
        self._unwritten = b""
        self._events = _Events(workdir / "tensorboard", start + 1)
        self._console = Console()
        self._steps, self._images = steps, images
        # Time and step of the line before; the first step also warms everything up.
        self._last: tuple[float, int] | None = None
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
        """Logs one step (1-based): losses and learning rate."""
        if not self._writes:
            return
        values = {name: float(value) for name, value in sorted(metrics.items())}
        # repr keeps every bit, so two runs can be compared exactly.
        line = {"step": step, **values, "learning_rate": float(rate)}
        self._unwritten += json.dumps(line).encode() + b"\n"
        try:
            self._write_lines()
            self._events.write(step, line)
        except OSError as error:
            logging.error("step %d is not logged yet: %s", step, error)
        shown = self._shown(step, values, rate)
        with suppress(OSError):  # the output may be a file on the full disk
            if self._console.is_terminal:
                self._bar.console.print(
                    shown, markup=False, highlight=False, soft_wrap=True
                )
            else:
                print(shown, flush=True)

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
            parts.append(f"ETA {_clock(pace * (self._steps - step))}")
        return "  ".join(parts)

    def _write_lines(self) -> None:
        while self._unwritten:
            written = self._file.write(self._unwritten)
            self._unwritten = self._unwritten[written:]

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
            self._write_lines()
        except OSError as problem:
            logging.error("the last lines of %s are lost: %s", self._path, problem)
        self._file.close()
        self._events.close()


def _clock(seconds: float) -> str:
    """6:12 or 2:06:12."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    whole = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{whole}:{seconds:02d}"


_SHOWN = ("loss", "seg", "mim", "delta")
LONGEST = 2**30, 2**28  # bytes and values of a log; a line of it is held at a time


class _Events:
    """TensorBoard events, written at once.

    The writer that comes with the library has a thread, which a full disk ends: its
    queue fills up and the run then waits for it forever.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self._folder, self._start = folder, start
        self._writer: EventsWriter | None = None
        self._files = 0

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the scalars of one step, into a new file after a failure."""
        scalars = [Summary.Value(tag=k, simple_value=v) for k, v in values.items()]
        try:
            if self._writer is None:
                self._writer = self._open()
            summary = Summary(value=scalars)
            event = Event(wall_time=time.time(), step=step, summary=summary)
            self._writer.write_event(event)
            self._writer.flush()
        except OSError:
            self.close()  # a record that was cut makes the rest of a file unreadable
            self._start = step + 1
            raise

    def _open(self) -> EventsWriter:
        self._folder.mkdir(exist_ok=True)  # a workdir that is gone stays gone
        self._files += 1
        suffix = f".{os.getpid()}.{self._files}"
        writer = EventsWriter(str(self._folder / "events"), suffix)
        # What a killed run wrote after its last checkpoint does not count.
        begin = SessionLog(status=SessionLog.START)
        writer.write_event(Event(step=self._start, session_log=begin))
        return writer

    def close(self) -> None:
        """Closes the file."""
        writer, self._writer = self._writer, None
        with suppress(OSError):
            if writer is not None:
                writer.close()


def _keep_lines(path: Path, start: int) -> None:
    """Cuts what a killed run wrote after its last checkpoint."""
    if not path.exists():
        return
    with whole_file(path) as place, place.open("wb") as file:
        try:
            for _, line in bounded_lines(path, *LONGEST):
                with suppress(ValueError, TypeError, KeyError):  # what a kill cut
                    if parse_json(line)["step"] <= start:
                        file.write(line.rstrip(b"\n") + b"\n")
        except ValueError as error:
            raise ValueError(
                f"got a damaged {path} ({error}): move it away and start again"
            ) from error

"""How far a list of scenes is: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from crossearth_jax.system.escape import terminal

EVERY = 60  # seconds between lines about one scene
TellRows = Callable[[int, int], None]  # rows that are done, and all


class Board:
    """Counts scenes and pixels, and tells about them.

    Args:
      count: scenes to make.
      clock: seconds.
    """

    def __init__(
        self, count: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.count, self.clock = count, clock
        self.done, self.part, self.pixels = 0, 0.0, 0
        self.begin = self.told = clock()
        self.bar: Progress | None = None
        console = Console(stderr=True)
        if console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}", markup=False),
                console=console,
                transient=True,
                redirect_stdout=False,
            )
            self.task = self.bar.add_task("", total=count, pace="")

    @contextmanager
    def scene(self, name: str) -> Iterator[TellRows]:
        """Shows one scene; yields what takes its rows that are done, and all."""
        self.part, name = 0.0, terminal(name)
        if self.bar is not None:
            self.bar.start()

        def progress(rows: int, height: int) -> None:
            self.part = rows / height
            if self.bar is not None:
                self.bar.update(
                    self.task, description=name, completed=self.done, pace=self.pace()
                )
            elif self.clock() - self.told > EVERY:
                self.told = self.clock()
                share = f": {100 * self.part:.0f} %" if self.part else ""
                print(f"{name}{share}; {self.pace()}", file=sys.stderr, flush=True)

        try:
            yield progress
        finally:
            self.part = 0.0
            if self.bar is not None:
                self.bar.stop()

    def finish(self, pixels: int = 0) -> None:
        """Counts a scene that is finished, or left out."""
        self.done, self.pixels = self.done + 1, self.pixels + pixels
        self.told = self.clock()

    def pace(self) -> str:
        """Scenes of all, speed and what is left, from the scenes so far."""
        passed = max(self.clock() - self.begin, 1e-9)
        parts = [f"{self.done} of {self.count} scenes"]
        if self.pixels:
            parts.append(f"{self.pixels / 1e6 / passed:.2f} MP/s")
        finished = self.done + self.part
        if finished:
            left = passed / finished * (self.count - finished)
            parts.append(f"{_duration(left)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

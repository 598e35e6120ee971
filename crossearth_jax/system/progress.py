"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(
    what: str, total: int, unit: str, *, quiet: bool = False
) -> Iterator[Callable[[], None]]:
    """Yields a function to call after every unit.

    Args:
      what: is done.
      total: units.
      unit: their name, in the plural.
      quiet: prints nothing.
    """
    console = Console(quiet=quiet)
    if console.is_terminal:
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
        return
    begin = printed = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, printed
        done += 1
        now = time.monotonic()
        if now - printed > SECONDS_BETWEEN_LINES or done == total:
            printed = now
            text = f"{what}: {done} of {total} {unit} in {now - begin:.0f} s"
            console.out(text, highlight=False)

    yield advance

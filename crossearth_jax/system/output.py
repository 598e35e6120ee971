"""Standard output that nobody reads to its end, or that cannot be written.

Imports nothing: the front door needs it before any command.
"""

import os
import select
import sys
from collections.abc import Callable

UNREAD = 141  # exit status, as shells have it


def until_unread(command: Callable[[], int]) -> int:
    """Runs a whole command line; ends quietly where nobody reads on, as in `| head`.

    Returns:
      The command's exit status; 141 where what it prints is not read to its end, as
      shells have it.

    Raises:
      SystemExit: what it prints cannot be written.
    """
    try:
        try:
            return command()
        finally:
            _flush()
    except BrokenPipeError:
        if not reader_is_gone():
            raise
        _silence()
        return UNREAD
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # rich's way out
            return UNREAD
        raise


def reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads."""
    if sys.stdout is None or not hasattr(select, "poll"):  # Windows
        return sys.stdout is not None
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # no file, as in tests
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _flush() -> None:
    """Writes what was printed while an error can still be reported."""
    try:
        if sys.stdout is not None:  # closed by `>&-`
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # of a full disk
        _silence()
        raise SystemExit(f"error: the output cannot be written: {error}") from error


def _silence() -> None:
    """Python would flush once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

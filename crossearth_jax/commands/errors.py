"""How every command ends: one error line, one exit status for each kind of end."""

import argparse
import sys
from collections.abc import Callable
from logging import LogRecord

from absl import logging

from crossearth_jax.system.address_limit import warn_of_address_limit
from crossearth_jax.system.escape import LINE, error_line, terminal
from crossearth_jax.system.output import reader_is_gone

# argparse itself ends with 2 where a command is typed wrongly.
DONE, WRONG_INPUT, INTERRUPTED = 0, 1, 130


def report_stop(again: str) -> None:
    """Prints how a run goes on that was asked to stop and saved.

    Args:
      again: the command.
    """
    print(f"stopped; the same command goes on from here:\n  {again}")


def _shown(record: LogRecord) -> bool:
    """Warnings name files and what is in them, too."""
    record.msg, record.args = terminal(record.getMessage(), LINE, lines=True), ()
    return True


def guarded(
    run: Callable[[argparse.Namespace], int | None],
    options: argparse.Namespace,
    interrupted: str = "stopped",
) -> int:
    """Runs a command; an error of the user's input becomes one line.

    Args:
      run: the command; what it returns is the exit status, None that it is done.
      options: its arguments, with `traceback`.
      interrupted: what to print after Ctrl-C.

    Returns:
      The exit status: 0 done, also where a run was asked to stop and saved; 1 the
      input is wrong; 130 Ctrl-C, as shells have it.
    """
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().addFilter(_shown)
    warn_of_address_limit()
    try:
        return run(options) or DONE
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, ImportError, MemoryError) as error:
        unread = isinstance(error, BrokenPipeError) and reader_is_gone()
        if options.traceback or unread:
            raise
        # Python's own MemoryError says nothing.
        shown = error_line(error) or "got less memory than the input needs"
        print(f"error: {shown}\n(--traceback shows where)", file=sys.stderr)
        return WRONG_INPUT

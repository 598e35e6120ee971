"""What the commands that load a trained run have in common."""

import argparse
import sys
from collections.abc import Callable

from absl import logging

from crossearth_jax.system.compiling import set_up_compiler

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def add_traceback(parser: argparse.ArgumentParser) -> None:
    """Adds the option that `guarded` reads."""
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error came from"
    )


def guarded(
    run: Callable[[argparse.Namespace], int | None],
    options: argparse.Namespace,
    stopped: str = "stopped",
) -> int:
    """Runs a command; an error of the user's input becomes one line.

    Args:
      run: the command; what it returns is the exit status.
      options: its arguments.
      stopped: message after Ctrl-C.
    """
    logging.set_verbosity(logging.WARNING)
    set_up_compiler()
    try:
        return run(options) or 0
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return STOPPED
    except (ValueError, OSError, ImportError) as error:
        if options.traceback:
            raise
        print(f"error: {error}\n(--traceback shows where)", file=sys.stderr)
        return 1

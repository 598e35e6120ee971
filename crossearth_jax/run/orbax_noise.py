"""Hides what Orbax prints when a write fails (a thousand lines, one cause) or reads.

The error itself reaches `checkpoint.Checkpoints`, which reports it in one line.
"""

import functools
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging as absl_logging

READ_ONLY = re.compile("read.only")  # warnings of what we asked for


@functools.cache
def hide() -> None:
    """Hides it from now on; once is enough."""
    absl_logging.get_absl_logger().addFilter(_no_trace_of_orbax)
    logging.getLogger("asyncio").addFilter(_no_unread_error)
    # Looked up once: another hook that comes later may call this one.
    sys.unraisablehook = functools.partial(_no_closed_loop, sys.unraisablehook)


def _no_trace_of_orbax(record: logging.LogRecord) -> bool:
    of_orbax = "orbax" in Path(record.pathname).parts
    return not (of_orbax and (record.exc_info or READ_ONLY.search(record.getMessage())))


def _no_unread_error(record: logging.LogRecord) -> bool:
    """The first of several arrays that fail is raised, the others remain unread."""
    return "exception was never retrieved" not in record.getMessage()


def _no_closed_loop(before: Callable[[Any], Any], problem: Any) -> None:
    """Writes that end after the first one failed call into a loop that is closed."""
    if str(problem.exc_value) != "Event loop is closed":
        before(problem)

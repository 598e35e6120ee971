"""Values of options, read from the command line."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any


def numbers(
    text: str, kind: Callable[[str], Any], counts: Sequence[int], example: str
) -> Any:
    """Comma-separated numbers.

    Args:
      text: of the option.
      kind: of a number, such as int.
      counts: how many there may be.
      example: for the error.

    Raises:
      argparse.ArgumentTypeError: one is no number, or there are more or fewer.
    """
    try:
        found = tuple(kind(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in counts:
        wanted = " or ".join(map(str, counts))
        raise argparse.ArgumentTypeError(
            f"got {text}, expected {wanted} numbers such as {example}"
        )
    return found


def count(text: str) -> int:
    """1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected 1 or more")
    return int(text)


def pixels(text: str) -> int:
    """0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"got {text}, expected 0 or more pixels")
    return int(text)

"""Lists in text files, a line each: read line by line, of bounded length and number."""

from collections.abc import Iterator
from pathlib import Path

MAX_LINE = 2**13  # characters; two paths are shorter
MAX_LINES = 1_000_000


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, content) of every line that is neither empty nor begins with "#".

    Args:
      path: a text file, UTF-8 with or without a byte order mark.

    Raises:
      ValueError: it is not UTF-8, a line is too long, or there are too many; says which
        and does not name the file.
      OSError: it cannot be read.
    """
    number = 0
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE or number > MAX_LINES:
                raise ValueError(
                    f"line {number}: got more than {MAX_LINE:,} characters in a line, "
                    f"or more than {MAX_LINES:,} lines"
                )
            if (line := line.strip()) and not line.startswith("#"):
                yield number, line

"""JSON of bounded size, depth and number of values; all JSON files are read here."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 4 * 2**20  # a report of 100 domains with 20 classes takes 300 kB
MAX_DEPTH = 32
MAX_VALUES = 1_000_000  # an empty list takes three bytes of a file and 56 of memory
MAX_LINE = 2**20  # bytes of a line of .jsonl
MAX_LINES = 64 * 2**20  # of all lines; 30,000 logged steps take 8 MB
MAX_LINE_VALUES = 2_400_000  # of all lines; a logged step has 12
LINE_COSTS = 6  # values; an empty line takes its time, too

Pairs = list[tuple[str, Any]]


def read_json(
    path: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_values: int = MAX_VALUES,
    pairs: Callable[[Pairs], Any] | None = None,
) -> Any:
    """The content of a JSON file.

    Args:
      path: the file, UTF-8.
      max_bytes: a larger file is refused before it is read.
      max_values: one of more values is refused before it is parsed.
      pairs: makes an object of its names and values, `dict` otherwise.

    Raises:
      ValueError: it is too large, nested deeper than 32 or not JSON. The message has
        line and column and does not name the file: the caller says what it expected.
      OSError: it cannot be read.
    """
    text = read_bounded(path, max_bytes)
    return parse_json(text, max_values=max_values, pairs=pairs)


def parse_json(
    text: str | bytes,
    *,
    max_values: int = MAX_VALUES,
    pairs: Callable[[Pairs], Any] | None = None,
) -> Any:
    """As `read_json`, for text at hand."""
    if count_values(text) > max_values:
        raise ValueError(f"got more than {max_values:,} values")
    return _parsed(text, pairs)


def _parsed(text: str | bytes, pairs: Callable[[Pairs], Any] | None = None) -> Any:
    try:
        content = json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    _check_depth(content)
    return content


def count_values(text: str | bytes) -> int:
    """At least as many as a JSON text has; commas inside of strings count too."""
    if isinstance(text, str):
        return sum(map(text.count, "[{,"))
    return sum(map(text.count, (b"[", b"{", b",")))


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file, one a line; empty lines count for nothing.

    Raises:
      ValueError: a line is no JSON object; says which.
      OSError: it cannot be read.
    """
    found = []
    for number, line in bounded_lines(path):
        if not line.strip():
            continue
        try:
            entry = _parsed(line)  # its values are counted
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(entry, dict):
            kind = type(entry).__name__
            raise ValueError(f"line {number}: got a {kind}, expected an object")
        found.append(entry)
    return found


def bounded_lines(
    path: str | Path, max_bytes: int = MAX_LINES, max_values: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """The lines of a .jsonl file with their numbers, as they are.

    Args:
      path: the file.
      max_bytes: of the file.
      max_values: of all lines; None takes `MAX_LINE_VALUES`.

    Raises:
      ValueError: the file, a line or the number of values is beyond the limits above.
      OSError: it cannot be read.
    """
    if os.path.getsize(path) > max_bytes:
        raise ValueError(f"got more than {max_bytes:,} bytes")
    max_values, number = max_values or MAX_LINE_VALUES, 0
    left = max_values
    with open(path, "rb") as file:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            left -= LINE_COSTS + count_values(line)
            if left < 0 or len(line) > MAX_LINE:
                raise ValueError(
                    f"line {number}: got more than {MAX_LINE:,} bytes in a line, or "
                    f"{max_values:,} values in all"
                )
            yield number, line


def read_bounded(path: str | Path, max_bytes: int, errors: str = "strict") -> str:
    """The text of a file that has at most so many bytes; `errors` as for `decode`.

    Raises:
      ValueError: it is larger, or not UTF-8.
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:  # a size can change, or be that of a device
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"got more than {max_bytes:,} bytes")
    return data.decode(errors=errors)


def _check_depth(content: Any) -> None:
    if not isinstance(content, dict | list):
        return
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")

"""metrics.jsonl: losses of logged steps and scores, every bit of them, in order."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from crossearth_jax.system.read_json import bounded_lines, parse_json
from crossearth_jax.system.whole_file import whole_file

LONGEST = 2**30, 2**28  # bytes and values of a log; a line of it is held at a time
SCORE = "/mIoU"  # ends a name in a line of scores, such as "sub/mIoU"


class MetricsFile:
    """Appends lines; those that a full disk does not take wait in memory."""

    def __init__(self, path: Path, start: int) -> None:
        """Opens the file and drops lines of steps that will run again.

        Args:
          path: of the file.
          start: steps already done.
        """
        self.path = path
        self._scored = _cut_after(path, start)
        # Unbuffered, so that it is known what a full disk took of a line.
        self._file = path.open("ab", buffering=0)
        self._unwritten = b""

    def start_was_scored(self) -> bool:
        """Whether the file has scores of the step that the run goes on from."""
        return self._scored

    def add(self, line: Mapping[str, float]) -> None:
        """Adds a line.

        Raises:
          OSError: it is not written yet.
        """
        # repr keeps every bit, so two runs can be compared exactly.
        self._unwritten += json.dumps(dict(line)).encode() + b"\n"
        self._write()

    def close(self) -> None:
        """Closes the file.

        Raises:
          OSError: the last lines are lost.
        """
        try:
            self._write()
        finally:
            self._file.close()

    def _write(self) -> None:
        while self._unwritten:
            written = self._file.write(self._unwritten)
            self._unwritten = self._unwritten[written:]


def by_step(lines: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Lines of the file with losses and scores of a step put together.

    Raises:
      KeyError: a line has no step.
    """
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        found.setdefault(line["step"], {}).update(line)
    return found


def _cut_after(path: Path, start: int) -> bool:
    """Cuts what a killed run wrote after its last checkpoint.

    Returns:
      Whether what is left has scores of step `start`.

    Raises:
      ValueError: the file is damaged.
    """
    if not path.exists():
        return False
    scored = False
    with whole_file(path) as place, place.open("wb") as file:
        try:
            for _, text in bounded_lines(path, *LONGEST):
                with suppress(ValueError, TypeError, KeyError):  # what a kill cut
                    line = parse_json(text)
                    if line["step"] <= start:
                        file.write(text.rstrip(b"\n") + b"\n")
                        scored |= line["step"] == start and _has_scores(line)
        except ValueError as error:
            raise ValueError(
                f"got a damaged {path} ({error}): move it away and start again"
            ) from error
    return scored


def _has_scores(line: Mapping[str, Any]) -> bool:
    return any(name.endswith(SCORE) for name in line)

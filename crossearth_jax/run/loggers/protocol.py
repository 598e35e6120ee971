"""What a logger is told, and what it has to do with it."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

from crossearth_jax.system.whole_file import whole_file

PROJECT = "crossearth_jax"  # where the library's own settings name no other
End = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class RunFacts:
    """What a run is, told before its first step.

    Attributes:
      name: of the run.
      workdir: its folder.
      start: steps already done.
      config: every key, flat: {"train.seed": 42, …}.
      origin: `provenance.collect`'s facts.
      files: to keep beside the curves, such as config.json.
    """

    name: str
    workdir: Path
    start: int
    config: Mapping[str, Any]
    origin: Mapping[str, Any]
    files: Sequence[Path] = ()


class Logger(Protocol):
    """One place that curves go to.

    A method may raise whatever it likes and take its time: the caller reports the
    first error and goes on, see `FanOut`.
    """

    def start(self, run: RunFacts) -> None:
        """Begins, or goes on with the run of this workdir."""
        ...

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values of a step (1-based), by names such as "loss" and "sub/IoU/road"."""
        ...

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Pictures of a step, by names such as "sub/1"."""
        ...

    def files(self, paths: Sequence[Path]) -> None:
        """Results to keep, such as report.json."""
        ...

    def end(self, how: End) -> None:
        """Nothing more comes from this process; a stopped run goes on in another."""
        ...


def kept_id(run: RunFacts, logger: str) -> str | None:
    """The id under which a logger knows the run of this workdir, if it was begun."""
    try:
        text = _id_file(run, logger).read_text(encoding="ascii")[:200].strip()
    except (OSError, ValueError):
        return None
    return text if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", text, re.ASCII) else None


def keep_id(run: RunFacts, logger: str, text: str) -> str:
    """Writes the id down for the starts that follow, and returns it."""
    place = _id_file(run, logger)
    place.parent.mkdir(exist_ok=True)
    with whole_file(place) as partial:
        partial.write_text(text + "\n", encoding="ascii")
    return text


def own_id(run: RunFacts, logger: str) -> str:
    """The kept id, or a new one, for loggers that leave the choice to us."""
    return kept_id(run, logger) or keep_id(run, logger, uuid.uuid4().hex[:12])


def _id_file(run: RunFacts, logger: str) -> Path:
    return run.workdir / "loggers" / f"{logger}.txt"

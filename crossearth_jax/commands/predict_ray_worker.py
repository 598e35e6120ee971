"""A worker of `--ray`: a process on a Ray cluster, with a model of its own."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging import Handler
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from crossearth_jax.commands.predict_jobs import Job
from crossearth_jax.commands.predict_maps import Outcome, map_scene
from crossearth_jax.predict.outputs import Wanted
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import error_line


class Started(NamedTuple):
    """What a worker answers first.

    Attributes:
      name: HOST:PROCESS.
      predictor: the run, without its scores; None if it cannot be loaded here.
      wrong: why it cannot.
    """

    name: str
    predictor: Predictor | None
    wrong: str = ""


class Worker:
    """Maps one scene or block after another.

    Args:
      ready: loads the run.
      folder: in which the command was started; paths are relative to it.
      probe: a file of the command's beside the maps.
      overwrite: replace files that were made differently, or by others.
      traceback: raise what goes wrong.
    """

    def __init__(
        self,
        ready: Callable[[], Predictor],
        folder: Path,
        probe: Path,
        *,
        overwrite: bool,
        traceback: bool,
    ) -> None:
        self.ready, self.folder, self.probe = ready, folder, probe
        self.overwrite, self.traceback = overwrite, traceback

    def start(self) -> Started:
        """Loads the run."""
        name = f"{socket.gethostname()}:{os.getpid()}"
        logging.set_verbosity(logging.WARNING)
        set_up_compiler()
        try:
            for place in (self.folder, self.probe):
                if not place.exists():
                    raise OSError(
                        f"got no {place} on this node, expected inputs, --out and the "
                        "folder of the command on a disk that all nodes share, under "
                        "the same path"
                    )
            os.chdir(self.folder)
            self.predictor = self.ready()
        except (ValueError, OSError, ImportError, RuntimeError) as error:
            if self.traceback:
                raise
            return Started(name, None, error_line(error))
        return Started(name, replace(self.predictor, score_fn=_nowhere))

    def make(self, job: Job, wanted: Wanted) -> Outcome:
        """Makes a map; its warnings go with the outcome to whoever reads them."""
        with _collected() as warnings:
            outcome = map_scene(
                self.predictor,
                job,
                wanted,
                lambda rows, height: None,
                overwrite=self.overwrite,
                traceback=self.traceback,
            )
        return replace(outcome, warnings=tuple(warnings))


@contextmanager
def _collected() -> Iterator[list[str]]:
    """Messages that are logged meanwhile."""
    found: list[str] = []
    handler = Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.get_absl_logger()
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _nowhere(windows: object) -> Any:
    raise RuntimeError("only workers score")

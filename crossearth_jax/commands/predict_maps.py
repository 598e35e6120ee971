"""The maps of a list of scenes: made one by one, told about, and summed up."""

import argparse
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from absl import logging

from crossearth_jax.commands.predict_jobs import Job
from crossearth_jax.commands.predict_progress import Board, TellRows
from crossearth_jax.commands.predict_summary import (
    LEFT_OUT,
    MADE,
    THERE,
    Row,
    read_summary,
    summary_paths,
    write_summary,
)
from crossearth_jax.predict.files import Done, predict_file
from crossearth_jax.predict.outputs import Wanted, class_pixels, expected_of, is_done
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.sources import Source, address_of
from crossearth_jax.system.escape import LINE, terminal


@dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
      job: the scene and its map.
      seconds: that it took.
      done: None if it was left out.
      reason: why it was left out, in one line.
      pixels: of the map by class.
      expected: of the map, with --trust.
      where: the worker, if there are several.
      warnings: that it logged elsewhere.
    """

    job: Job
    seconds: float
    done: Done | None = None
    reason: str = ""
    pixels: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)
    where: str = ""
    warnings: tuple[str, ...] = ()


class Crew(Protocol):
    """Who makes maps: this process, or workers elsewhere."""

    @property
    def predictor(self) -> Predictor:
        """Tells what maps are made of; only who makes them needs its scores."""
        ...

    def make(
        self, jobs: Sequence[Job], wanted: Wanted, board: Board
    ) -> Generator[Outcome, None, None]:
        """Makes maps and yields what became of each, as they finish."""
        ...


def map_scene(
    predictor: Predictor,
    job: Job,
    wanted: Wanted,
    progress: TellRows,
    *,
    overwrite: bool,
    traceback: bool,
) -> Outcome:
    """Makes one map; whatever goes wrong is the reason why it is left out.

    Args:
      predictor: a loaded run.
      job: the scene.
      wanted: what is made of all scenes.
      progress: called with the rows that are done and all rows.
      overwrite: replace files that were made differently, or by others.
      traceback: raise what goes wrong.
    """
    begin = time.perf_counter()
    try:
        done = predict_file(
            predictor,
            job.source,
            job.target,
            job.wanted(wanted),
            progress,
            overwrite=overwrite,
        )
        pixels, expected = class_pixels(job.target), expected_of(job.target)
    except Exception as error:
        if traceback:
            raise
        seconds = time.perf_counter() - begin
        return Outcome(job, seconds, reason=reason_of(error, job.source))
    return Outcome(job, done.seconds, done, pixels=pixels, expected=expected)


@dataclass(frozen=True)
class Alone:
    """This process makes all maps, one after another."""

    predictor: Predictor
    overwrite: bool
    traceback: bool

    def make(
        self, jobs: Sequence[Job], wanted: Wanted, board: Board
    ) -> Generator[Outcome, None, None]:
        """See `Crew`."""
        for job in jobs:
            with board.scene(job.source.name) as progress:
                outcome = map_scene(
                    self.predictor,
                    job,
                    wanted,
                    progress,
                    overwrite=self.overwrite,
                    traceback=self.traceback,
                )
            yield outcome


class Maps:
    """Has a crew make the maps of a share, and keeps what became of them.

    Args:
      jobs: of the share.
      wanted: what is made of all scenes.
      options: of the command.
      share: which one it is, and of how many.
      alone: the list is this one scene, which may then raise.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        wanted: Wanted,
        options: argparse.Namespace,
        share: tuple[int, int],
        alone: bool,
    ) -> None:
        self.jobs, self.wanted, self.options = jobs, wanted, options
        self.alone, self.failed = alone, 0
        self.summary: tuple[Path, Path] | None = None
        self.rows: dict[str, Row] = {}
        if Path(options.out).suffix.lower() not in (".tif", ".tiff"):
            self.summary = summary_paths(Path(options.out), share)
            self.rows = read_summary(self.summary, overwrite=options.overwrite)
        self.before = list(self.rows)

    def make(self, crew: Crew) -> int:
        """1 if a scene was left out.

        Raises:
          ValueError: a map is there that was made with other options: now, not after
            hours.
        """
        ready = [self._is_ready(crew.predictor, job) for job in self.jobs]
        todo = [
            job for is_there, job in zip(ready, self.jobs, strict=True) if not is_there
        ]
        board = Board(len(todo))
        try:
            for is_there, job in zip(ready, self.jobs, strict=True):
                if is_there:
                    shown = terminal(f"{job.source}: already there, {job.target}", LINE)
                    print(shown)
                    there = class_pixels(job.target), expected_of(job.target)
                    self._note(job, THERE, 0.0, "", *there)
            with closing(crew.make(todo, self.wanted, board)) as outcomes:
                for outcome in outcomes:
                    self._take(outcome, board)
        finally:
            if self.summary is not None and self.rows:
                write_summary(self.summary, self._in_order())
        if self.failed:
            print(f"{self.failed} of {len(self.jobs)} scenes left out", file=sys.stderr)
        return 1 if self.failed else 0

    def _is_ready(self, predictor: Predictor, job: Job) -> bool:
        own, overwrite = job.wanted(self.wanted), self.options.overwrite
        try:
            return is_done(predictor, job.source, job.target, own, overwrite=overwrite)
        except OSError:  # of this scene alone; its turn will tell
            return False

    def _take(self, outcome: Outcome, board: Board) -> None:
        done, job = outcome.done, outcome.job
        for text in outcome.warnings:
            logging.warning("%s", text)
        board.finish(0 if done is None else done.pixels)
        if done is None:
            if self.alone:
                raise ValueError(outcome.reason)
            self.failed += 1
            self._note(job, LEFT_OUT, outcome.seconds, outcome.reason)
            reason = terminal(outcome.reason, LINE)
            print(f"left out: {reason}", file=sys.stderr, flush=True)
            return
        about = outcome.pixels, outcome.expected
        self._note(job, MADE, done.seconds, "", *about)
        _report(job.source, done, outcome.where, self.options.timing)
        if board.count > 1:
            print(f"  {board.pace()}", flush=True)

    def _note(
        self,
        job: Job,
        state: str,
        seconds: float = 0.0,
        reason: str = "",
        pixels: Mapping[str, int] | None = None,
        expected: Mapping[str, float] | None = None,
    ) -> None:
        place, seconds = str(job.target), round(seconds, 3)
        found = pixels or {}, expected or {}
        self.rows[place] = Row(str(job.source), place, state, reason, seconds, *found)

    def _in_order(self) -> list[Row]:
        """Rows of before where they were, then as the scenes were given."""
        places = dict.fromkeys([*self.before, *(str(job.target) for job in self.jobs)])
        return [self.rows[place] for place in places if place in self.rows]


def reason_of(error: Exception, source: Source) -> str:
    """One line that begins with the scene, whatever a library raised for it."""
    text = str(error).strip() or type(error).__name__
    if not isinstance(error, ValueError | OSError):
        text = f"{type(error).__name__}: {text}"
    # An address may hold a key.
    text = " ".join(text.split()).replace(address_of(source), str(source))
    return text if str(source) in text else f"{source}: {text}"


def _report(source: Source, done: Done, where: str, timing: bool) -> None:
    speed = done.pixels / 1e6 / done.seconds
    names = ", ".join(str(path) for path in done.files if path.suffix != ".xml")
    place = f" on {where}" if where else ""
    line = f"{source}: {names} ({done.seconds:.1f} s, {speed:.2f} MP/s{place})"
    print(terminal(line, LINE), flush=True)
    if timing:
        read, write = done.waiting.read, done.waiting.write
        share = (read + write) / max(done.scoring, 1e-9)
        rest = done.seconds - done.scoring
        print(
            f"  scoring {done.scoring:.1f} s, of which waiting for files "
            f"{100 * share:.1f} % (read {read:.1f} s, write {write:.1f} s); "
            f"finishing {rest:.1f} s"
        )

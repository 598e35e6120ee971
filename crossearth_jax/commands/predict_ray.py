"""`--ray`: workers on a Ray cluster map scenes and blocks.

A worker has one scene or block at a time. If it dies, another gets that one first, and
a new worker starts where the cluster has room: a death costs one block at most. Files
are renamed when they are whole, so work that is done twice does no harm.
"""

import os
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, Literal

from crossearth_jax.commands.predict_jobs import Job
from crossearth_jax.commands.predict_maps import Outcome, reason_of
from crossearth_jax.commands.predict_progress import EVERY, Board
from crossearth_jax.commands.predict_ray_worker import Started, Worker
from crossearth_jax.predict.outputs import Wanted, made_of
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.scratch import remove_left, scratch_folder
from crossearth_jax.report.table import Section, Table
from crossearth_jax.system import extras
from crossearth_jax.system.escape import CELL, LINE, terminal

TRIES = 3  # workers that may die of one scene, or of starting, one after another
LOOK = 0.5  # seconds between looks at the workers
OBJECTS = 10**8  # bytes of shared memory of a cluster that is started here
GRACE = 10  # seconds in which a worker has to end


@dataclass
class _Member:
    """A worker as the command sees it, also after its end."""

    actor: Any
    state: Literal["starting", "idle", "busy", "died", "refused"] = "starting"
    name: str = "-"
    job: Job | None = None
    maps: int = 0
    left_out: int = 0
    lost: int = 0
    pixels: int = 0
    seconds: float = 0.0

    @property
    def row(self) -> list[str]:
        """Of the table at the end."""
        speed = self.pixels / 1e6 / self.seconds if self.seconds else 0.0
        counts = map(str, (self.maps, self.left_out, self.lost))
        state = self.state if self.state in ("died", "refused") else "up"
        return [self.name, *counts, f"{speed:.2f}", state]


class RayCrew:
    """Workers on a Ray cluster; a context at whose end they end.

    Args:
      address: of the cluster as Ray has it; "" takes one that runs here, or starts one.
      count: workers; None takes one per GPU of the cluster, or per node without GPUs.
      ready: loads the run.
      out: folder or file of the maps.
      overwrite: replace files that were made differently, or by others.
      traceback: raise what goes wrong.

    Raises:
      ImportError: Ray is not installed.
    """

    def __init__(
        self,
        address: str,
        count: int | None,
        ready: Callable[[], Predictor],
        out: Path,
        *,
        overwrite: bool,
        traceback: bool,
    ) -> None:
        self.ray = extras.needed("ray", "--ray", "ray")
        self.address, self.count, self.ready, self.out = address, count, ready, out
        self.how = {"overwrite": overwrite, "traceback": traceback}
        self.members: list[_Member] = []
        self.pending: dict[Any, _Member] = {}  # by Ray's reference to its answer
        self.deaths: Counter[Path] = Counter()  # by map
        self.failed_starts, self.wrong = 0, ""
        self.known: Predictor | None = None
        self.stack = ExitStack()

    def __enter__(self) -> "RayCrew":
        """Starts the workers.

        Raises:
          ValueError: there is no cluster, or no worker can load the run.
        """
        with ExitStack() as stack:
            if not self.ray.is_initialized():
                connect(self.ray, self.address)
                stack.callback(self.ray.shutdown)
            beside = self.out.absolute() / "ray"
            self.probe = stack.enter_context(scratch_folder(beside)) / "lock"
            stack.callback(self._end)
            count, self.gpus = workers_of(self.ray.nodes())
            for _ in range(self.count or count):
                self._hire()
            self._wait_for_first()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the workers, and what they were about."""
        self.stack.close()

    @property
    def predictor(self) -> Predictor:
        """The run as the first worker loaded it, without scores."""
        if self.known is None:
            raise RuntimeError("no worker has started")
        return self.known

    def make(
        self, jobs: Sequence[Job], wanted: Wanted, board: Board
    ) -> Generator[Outcome, None, None]:
        """See `Crew`.

        Raises:
          ValueError: no worker is left.
        """
        queue = deque(jobs)
        while queue or self._are("busy"):
            self._hand_out(queue, wanted)
            if not self.pending:
                raise ValueError(f"no Ray worker is left: {self.wrong}")
            all_here = len(self._are("starting", "idle", "busy"))
            state = f"{len(self._are('busy'))} of {all_here} workers at work"
            with board.scene(state) as progress:
                answers = self._answers()
                progress(0, 1)
            for member, answer in answers:
                outcome = self._outcome(member, answer)
                if outcome is not None:
                    yield outcome
                elif member.job is not None:
                    queue.appendleft(member.job)
        print(self._table().as_text(), flush=True)

    # ---- workers --------------------------------------------------------------------

    def _are(self, *states: str) -> list[_Member]:
        return [member for member in self.members if member.state in states]

    def _hire(self) -> None:
        actor = self.ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=self.gpus,
            scheduling_strategy="SPREAD",
            max_restarts=0,  # whoever dies is replaced here, and its scene made first
        )
        member = _Member(actor.remote(self.ready, Path.cwd(), self.probe, **self.how))
        self.members.append(member)
        self.pending[member.actor.start.remote()] = member

    def _wait_for_first(self) -> None:
        told = time.monotonic()
        while self.known is None:
            self._answers()
            if self.known is None and not self.pending:
                raise ValueError(f"no Ray worker can start: {self.wrong}")
            if time.monotonic() - told > EVERY:
                told = time.monotonic()
                free = self.ray.available_resources()
                room = ", ".join(f"{free.get(k, 0):g} {k}" for k in ("CPU", "GPU"))
                _tell(f"waiting for a worker to start ({room} free in the cluster)")

    def _hand_out(self, queue: deque[Job], wanted: Wanted) -> None:
        for member in self._are("idle"):
            if queue:
                member.job, member.state = queue.popleft(), "busy"
                self.pending[member.actor.make.remote(member.job, wanted)] = member

    def _answers(self) -> list[tuple[_Member, Any]]:
        """What became of scenes: outcomes, or Ray's errors; starts are dealt with."""
        refs = list(self.pending)
        self.ray.wait(refs, timeout=LOOK)  # for the first, then for all that are ready
        found, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0)
        answers = []
        for ref in found:
            member = self.pending.pop(ref)
            try:
                answer = self.ray.get(ref)
            except self.ray.exceptions.RayTaskError as error:
                if self.how["traceback"]:
                    raise
                answer = error
            except self.ray.exceptions.RayError as error:
                answer = error
            if member.state == "busy":
                answers.append((member, answer))
            else:
                self._started(member, answer)
        return answers

    def _started(self, member: _Member, answer: Started | Exception) -> None:
        if isinstance(answer, Exception):
            self._part_with(member, "died")
            self.failed_starts += 1
            self.wrong = f"a worker ended while it started ({_first_line(answer)})"
            _tell(self.wrong)
            if self.failed_starts < TRIES:
                self._hire()
            return
        member.name, found, wrong = answer
        self.failed_starts = 0
        if found is not None and self.known is not None:
            wrong = _difference(made_of(found), made_of(self.known))
        if wrong:
            self.wrong = f"{member.name}: {wrong}"
            _tell(f"not used, {self.wrong}")
            self._part_with(member, "refused")
            return
        member.state = "idle"
        self.known = self.known or found

    def _part_with(
        self, member: _Member, state: Literal["died", "refused"] = "died"
    ) -> None:
        member.state = state
        try:
            self.ray.kill(member.actor)
        except self.ray.exceptions.RayError:
            return  # it is gone already

    def _end(self) -> None:
        """Ends all; after Ctrl-C nothing half made is left."""
        busy = [(ref, m) for ref, m in self.pending.items() if m.state == "busy"]
        for member in self._are("starting", "idle", "busy"):
            self._part_with(member)
        for ref, member in busy:
            self.ray.wait([ref], timeout=GRACE)
            self._clear(member)

    def _clear(self, member: _Member) -> None:
        if member.job is not None:
            remove_left(member.job.target, member.name.rpartition(":")[0])

    # ---- scenes ---------------------------------------------------------------------

    def _outcome(self, member: _Member, answer: Any) -> Outcome | None:
        """None if the scene is to be made again."""
        job = member.job
        if job is None:
            raise RuntimeError("an answer without a scene")
        member.state = "idle"
        if isinstance(answer, Outcome):
            member.seconds += answer.seconds
            if answer.done is None:
                member.left_out += 1
            else:
                member.maps += 1
                member.pixels += answer.done.pixels
            return changed(answer, where=member.name)
        if isinstance(answer, self.ray.exceptions.RayTaskError):
            member.left_out += 1
            cause = getattr(answer, "cause", None) or answer
            return Outcome(job, 0.0, reason=reason_of(cause, job.source))
        return self._after_death(member, job, answer)

    def _after_death(
        self, member: _Member, job: Job, error: Exception
    ) -> Outcome | None:
        member.lost += 1
        self._part_with(member)
        self._clear(member)
        self._hire()
        self.deaths[job.target] += 1
        what = f"{job.source}: worker {member.name} ended ({_first_line(error)})"
        if self.deaths[job.target] < TRIES:
            _tell(f"{what}; another makes it")
            return None
        return Outcome(
            job, 0.0, reason=f"{what}, as did {TRIES - 1} before: is its memory full?"
        )

    def _table(self) -> Table:
        header = ("worker", "maps", "left out", "lost", "MP/s", "state")
        rows = [member.row for member in self.members if member.state != "starting"]
        return Table(header, "lrrrrl", [Section(rows)])


def connect(ray: Any, address: str) -> None:
    """Joins a cluster, or starts one of this machine.

    Raises:
      ValueError: no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {"include_dashboard": False, "object_store_memory": OBJECTS}
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if ":" in address:  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=GRACE).close()
        if address == "":
            try:
                ray.init(address="auto", **quiet)
                return
            except ConnectionError:
                address = "local"
        settings = own if address == "local" else {}
        ray.init(address=address, **quiet, **settings)
    except Exception as error:  # of many kinds
        raise ValueError(
            f"got --ray {address}, where no cluster answers ({_first_line(error)}): "
            "start one with `ray start --head`, or pass --ray local"
        ) from error


def workers_of(nodes: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many workers a cluster has by default, and GPUs of each.

    Args:
      nodes: as `ray.nodes()` lists them.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in alive)
    if gpus:
        return gpus, 1
    return max(1, sum(node.get("CPU", 0) >= 1 for node in alive)), 0


def _difference(own: dict[str, Any], known: dict[str, Any]) -> str:
    """What another worker loaded; empty if it is the same."""
    other = [key for key in known if own.get(key) != known[key]]
    if not other:
        return ""
    key = other[0]
    return (
        f"got {key} {own.get(key)}, expected {known[key]} as the first worker: name a "
        "folder in checkpoints/ of a run that goes on, and install the same everywhere"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return terminal(lines[0] if lines else type(error).__name__, CELL)


def _tell(text: str) -> None:
    print(terminal(f"ray: {text}", LINE), file=sys.stderr, flush=True)

"""One training a workdir: `workdir/lock.json`, held open and locked while it runs.

The operating system lets go of the lock when its process ends, however that ends. On
disks that know no locks, or keep them to one machine, the file's content and its
heartbeat tell instead: a process that nobody sees and whose file no longer changes is
gone.
"""

import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from absl import logging

from crossearth_jax.system import hosts
from crossearth_jax.system.read_json import parse_json

NAME = "lock.json"
BEAT_S = 10.0  # between two signs of life
SILENCE_S = 25.0  # without one, a process on another machine counts as gone
MOST_BYTES = 2**16  # of the file
_BUSY = "busy"
_LOCKED = "locked"
_NO_LOCKS = "no locks"


class Gone(OSError):
    """The workdir was deleted or moved while the run was writing to it."""


class WorkdirLock:
    """Holds a workdir for this run; of several hosts the first holds it.

    Raises:
      ValueError: on entering, another process trains in this workdir.
    """

    def __init__(
        self, workdir: Path, *, beat_s: float = BEAT_S, silence_s: float = SILENCE_S
    ) -> None:
        self._workdir = workdir
        self._path = workdir / NAME
        self._beat_s, self._silence_s = beat_s, silence_s
        self._file: IO[bytes] | None = None
        self._made: list[Path] = []  # folders that did not exist before
        self._end = threading.Event()

    def __enter__(self) -> "WorkdirLock":
        refusal = self._take() if hosts.is_first() else None
        if refusal := hosts.from_first(refusal):
            raise ValueError(refusal)
        if self._file is not None:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        if self._file is None:
            return
        ours = self._is_ours()
        if sys.platform == "win32":  # an open file cannot be deleted there
            self._file.close()
        with suppress(OSError):
            if ours:
                self._path.unlink()
        self._file.close()
        for folder in reversed(self._made):  # a run that wrote nothing leaves nothing
            with suppress(OSError):
                folder.rmdir()

    def check(self) -> None:
        """Cheap, called between steps.

        Raises:
          Gone: the workdir is no longer the one that the run began in.
        """
        if self._file is not None and not self._is_ours():
            raise Gone(
                f"the workdir {self._workdir} is gone: it was deleted, moved or "
                "replaced while the run was writing to it, so nothing that it did "
                "since its last checkpoint is kept: run the same command again"
            )

    def _is_ours(self) -> bool:
        if self._file is None:
            return False
        try:
            there, held = self._path.stat(), os.fstat(self._file.fileno())
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def _beat(self) -> None:
        while not self._end.wait(self._beat_s):
            with suppress(OSError):
                if self._is_ours():
                    os.utime(self._path)

    # ---- taking it --------------------------------------------------------------

    def _take(self) -> str | None:
        """Takes the lock; else the reason why not, in one line."""
        missing = (f for f in (self._workdir, *self._workdir.parents) if not f.exists())
        self._made = list(missing)[::-1]
        self._workdir.mkdir(parents=True, exist_ok=True)
        while True:
            file = self._path.open("a+b")
            state = _lock(file)
            if state == _BUSY:
                owner = _owner(file)
                file.close()
                return self._refusal(owner)
            # Its former holder may have removed the file in the meantime.
            self._file = file
            if self._is_ours():
                break
            file.close()
            self._file = None
        owner = _owner(file)
        if owner and self._lives(owner, locks_hold=state == _LOCKED):
            self._file = None
            file.close()
            return self._refusal(owner)
        if owner:
            logging.info(
                "the run before, process %s on %s, ended without clearing up",
                *(owner["pid"], owner["host"]),
            )
        file.truncate(0)
        file.write(json.dumps(this_process()).encode())
        file.flush()
        return None

    def _refusal(self, owner: dict[str, Any]) -> str:
        who = (
            f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
            if owner
            else "another process"
        )
        return (
            f"got --workdir {self._workdir}, in which {who}, is training, expected one "
            "run at a time: wait for it, stop it, or give another --workdir"
        )

    def _lives(self, owner: dict[str, Any], *, locks_hold: bool) -> bool:
        """Whether the process that a file names still runs, though it is not locked."""
        me = this_process()
        if owner["boot"] == me["boot"]:
            # On one machine, locks tell; containers see no processes of each other.
            if locks_hold or owner["space"] != me["space"]:
                return not locks_hold and self._still_beats()
            return _started(owner["pid"]) == owner["started"]
        return self._still_beats()

    def _still_beats(self) -> bool:
        """Waits for a sign of life; clocks of two machines need not agree."""
        if (before := self._changed()) is None:
            return False
        if abs(time.time() - before) > 3600:  # no clock is wrong by that much
            return False
        logging.warning(
            "another process may still be training in %s: waiting %.0f s for a sign of "
            "life",
            *(self._workdir, self._silence_s),
        )
        end = time.monotonic() + self._silence_s
        while time.monotonic() < end:
            time.sleep(min(1.0, self._silence_s / 5))
            if self._changed() != before:
                return True
        return False

    def _changed(self) -> float | None:
        try:
            with self._path.open("rb") as file:  # opening asks a network disk anew
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return None


def this_process() -> dict[str, Any]:
    """Who holds the lock, so that another process can tell whether it still runs."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "boot": _boot(),
        "space": _pid_space(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _boot() -> str:
    """Tells machines and their restarts apart; names of hosts do not."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _pid_space() -> str:
    """Containers number their processes each for themselves."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; numbers are given again."""
    try:
        # Behind the name in brackets, which may itself hold blanks and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19]


def _owner(file: IO[bytes]) -> dict[str, Any]:
    """What the file says about its holder; empty if it says nothing readable."""
    file.seek(0)
    try:
        owner = parse_json(file.read(MOST_BYTES))
    except ValueError:
        return {}
    if not isinstance(owner, dict) or not this_process().keys() <= owner.keys():
        return {}
    texts = (owner[key] for key in ("host", "boot", "space", "since"))
    sound = type(owner["pid"]) is int and all(isinstance(x, str) for x in texts)
    return owner if sound else {}


def _lock(file: IO[bytes]) -> str:
    """Asks the operating system for the whole file, without waiting."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # behind the content, which others must be able to read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return _BUSY
    except OSError as error:
        logging.debug("no locks here: %s", error)
        return _NO_LOCKS
    return _LOCKED

"""Hidden folders beside results: files appear under their names only when complete."""

import errno
import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

YOUNG = 60  # seconds in which a folder without a lock may still get one
NAME = 100  # characters of a result's name; file systems allow 255 in all


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside the result, on the same disk; gone at the end.

    Folders that killed processes of this machine left behind are removed too. A folder
    in use is locked by its process, since a process number says nothing where
    containers begin with the same one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = _prefix(target, socket.gethostname())
    for left in _left(target, prefix):
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(".tmp", prefix, target.parent))
    try:
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # a file system without locks: nobody else can lock it either
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(target: Path, host: str) -> None:
    """Removes what a process of another machine left that is known to be dead."""
    if target.parent.is_dir():
        for left in _left(target, _prefix(target, host)):
            shutil.rmtree(left, ignore_errors=True)


def _prefix(target: Path, host: str) -> str:
    return f".{target.name[:NAME]}.{host[:NAME]}."


def _left(target: Path, prefix: str) -> list[Path]:
    return [
        path
        for path in target.parent.iterdir()
        if path.name.startswith(prefix) and path.name.endswith(".tmp")
    ]


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return _age(folder) > YOUNG
    except OSError:  # locked, or a file system without locks
        return False


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:  # its process has removed it
        return 0.0


def move(made: Path, target: Path) -> None:
    """Renames a file, which may replace another; across disks it is copied first.

    The target is never half there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(made, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with scratch_folder(target) as scratch:
            copied = scratch / "copy"
            shutil.copy2(made, copied)
            os.replace(copied, target)
        made.unlink()

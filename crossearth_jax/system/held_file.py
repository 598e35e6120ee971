"""A file that one process holds, so that a second gets one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held_file(path: Path, taken: str) -> Iterator[None]:
    """Holds a file, made if it is not there; the system lets go when the process ends.

    Where there are no such locks, on Windows and some disks, nothing is held.

    Args:
      path: of the file, which keeps what is in it.
      taken: the error's text.

    Raises:
      ValueError: another process on this machine holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(taken) from None
        except OSError:  # a disk without locks
            pass
        yield

"""Whether a program is traced for machines other than this one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_portable: ContextVar[bool] = ContextVar("portable", default=False)


def is_portable() -> bool:
    """Whether what is traced must run without what this machine alone may have."""
    return _portable.get()


@contextmanager
def portable() -> Iterator[None]:
    """For programs that go into a file: no cuDNN, no instructions of this processor."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)

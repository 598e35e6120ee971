"""Which machine a program is traced for."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from crossearth_jax.system.compiling import target_device

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


def for_cpu() -> bool:
    """Whether formulas take the forms that suit a CPU, as portable programs do."""
    return is_portable() or target_device().platform == "cpu"


def for_gpu() -> bool:
    """Whether few, large kernels are wanted: a GPU starts each by itself."""
    return not is_portable() and target_device().platform == "gpu"


def for_tpu() -> bool:
    """Whether little code is wanted: a TPU's compiler takes long over every layer."""
    return not is_portable() and target_device().platform == "tpu"

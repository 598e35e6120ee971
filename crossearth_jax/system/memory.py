"""What a process does with memory that it frees.

Only glibc is told; elsewhere, and for accelerators' own memory, nothing changes.
"""

import ctypes
import platform

import jax

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of mallopt(3)
UNLIMITED = -1


def keep_freed_memory() -> None:
    """Freed memory stays with the process, for the next step of the same sizes.

    A step on a CPU computes in one block of memory (3.8 GB for ViT-L). glibc frees such
    a block when the step ends, and the kernel then maps the next step's anew,
    page by page: a tenth to a fifth of its time. Only the main thread's memory can hold
    such a block, so programs on a CPU run in the thread that calls them. To be called
    before JAX is used.
    """
    if library := _glibc():
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, UNLIMITED)


def give_back_freed_memory() -> None:
    """Returns freed memory to the OS once, even where it is kept otherwise."""
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None

"""What the C library does with memory that a program frees; a leaf module.

Only glibc is told; elsewhere, and on accelerators' own memory, nothing changes.
"""

import ctypes
import platform

# Parameters of mallopt(3).
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
UNLIMITED = -1


def keep_freed_memory() -> None:
    """Freed memory stays with the process, for the next step of the same sizes.

    A step on a CPU computes in one block of memory (3.8 GB for ViT-L). glibc gives such
    a block back when the step ends, and the kernel then hands the next step's out anew,
    page by page, which is a tenth to a fifth of its time. To be called before threads
    start: they would have arenas of their own, which cannot hold such a block.
    """
    if library := _glibc():
        library.mallopt(ARENA_MAX, 1)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, UNLIMITED)


def give_back_freed_memory() -> None:
    """Once, whatever is kept otherwise."""
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None

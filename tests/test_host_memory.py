import platform
import subprocess
import sys

import pytest

MIB = 64
PROGRAM = """
import ctypes, resource, threading
from pathlib import Path
from crossearth_jax import host_memory

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.memset.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
library.free.argtypes = (ctypes.c_void_p,)

def use():
    block = library.malloc({mib} << 20)
    library.memset(block, 1, {mib} << 20)
    library.free(block)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if {keep}:
    host_memory.keep_freed_memory()
faults()
again, before = faults(), held()
host_memory.give_back_freed_memory()
print(again, (before - held()) >> 20)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="glibc is told, no other C library"
)


def measured(*, keep: bool) -> tuple[int, int]:
    """Page faults of a thread that uses memory again, and MiB given back in the end."""
    program = PROGRAM.format(mib=MIB, keep=keep)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    again, given_back = map(int, ended.stdout.split())
    return again, given_back


def test_kept_memory_is_not_handed_out_anew_until_it_is_given_back():
    again, given_back = measured(keep=True)
    assert again < 500  # 64 MiB are 16,384 pages
    assert given_back >= MIB - 4


def test_the_c_library_gives_back_by_itself_otherwise():
    """What the function is there for: without it the test above must fail."""
    again, _ = measured(keep=False)
    assert again > 5000

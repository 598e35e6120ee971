import platform
import subprocess
import sys

import jax
import pytest

MIB = 64
PROGRAM = """
import resource
from pathlib import Path
import jax, jax.numpy as jnp
from crossearth_jax.system import memory

if {keep}:
    memory.keep_freed_memory()
add = jax.jit(lambda x: x + 1)
x = jnp.zeros({mib} << 18)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    add(x).block_until_ready()  # freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

for _ in range(4):  # until blocks have found their places
    faults()
# The least of some: another process may take what was kept for a moment.
again, before = min(faults() for _ in range(5)), held()
memory.give_back_freed_memory()
print(again, (before - held()) >> 20)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or jax.default_backend() != "cpu",
    reason="what glibc does for programs on a CPU",
)


def measured(*, keep: bool) -> tuple[int, int]:
    """Page faults of a program that ran before, and MiB given back in the end."""
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


def test_a_limit_of_the_address_space_is_said_once():
    program = """
import resource
from crossearth_jax.system.address_limit import warn_of_address_limit
warn_of_address_limit()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, hard))
warn_of_address_limit()
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    (line,) = ended.stderr.splitlines()
    assert "address-space limit of 8.6 GB" in line and "MemoryMax" in line

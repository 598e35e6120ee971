"""A host that dies or fails ends the others within ten seconds.

Without a model, as `benchmarks.reliability hosts-kill` does it with one.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.reliability.runs import free_address
from crossearth_jax.system.hosts import FAILED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIMIT = 10.0  # seconds

# Meets the other host again and again, as training steps do.
HOST = """
import signal, sys

def fail(number, frame):
    raise RuntimeError("an error of this host alone")

signal.signal(signal.SIGUSR1, fail)
from crossearth_jax.system import hosts
hosts.join(sys.argv[1], 2, int(sys.argv[2]))
with hosts.leave_together():
    while True:
        hosts.gather(None)
        print("met", flush=True)
"""


def start(address, index):
    return subprocess.Popen(
        [sys.executable, "-c", HOST, address, str(index)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("index", "number", "status"),
    [
        # Host 0 also holds the service by which hosts find each other.
        (0, signal.SIGKILL, -signal.SIGKILL),
        (1, signal.SIGUSR1, FAILED),
    ],
)
def test_the_other_ends_soon(index, number, status):
    address = free_address()
    both = [start(address, i) for i in range(2)]
    try:
        assert all(b"met\n" in one.stdout for one in both)  # reads up to that line
        began = time.monotonic()
        both[index].send_signal(number)
        for one in both:
            one.communicate(timeout=60)
        assert time.monotonic() - began < LIMIT
        assert both[index].returncode == status
        assert both[1 - index].returncode != 0
    finally:
        for one in both:
            one.kill()
            one.communicate()

"""What a program needs of a device's memory, what the device has, and running out.

A leaf module. On a CPU the device's memory is the machine's, or what a container gets
of it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax

CGROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
HELPS = (
    "a smaller train.batch_size, a larger train.accumulate, backbone.remat=True, "
    "precision=bfloat16, a smaller data.crop, or train.fsdp over several devices (in a "
    "run that goes on, with --allow-changes and the key)"
)


def needed(compiled: Any) -> int | None:
    """Bytes that a compiled program takes on one device, its arguments included."""
    with suppress(Exception):  # not every backend tells
        found = compiled.memory_analysis()
        own = found.temp_size_in_bytes + found.generated_code_size_in_bytes
        results = found.output_size_in_bytes - found.alias_size_in_bytes
        return own + found.argument_size_in_bytes + results
    return None


def available() -> int | None:
    """Bytes that a program may take on one device."""
    device = jax.local_devices()[0]
    if stats := device.memory_stats():
        return stats.get("bytes_limit")
    if device.platform != "cpu" or not hasattr(os, "sysconf"):
        return None
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(Path(place).read_text()))
    return min(limits)


def most_in_use() -> int | None:
    """The most bytes that this process has taken on one device so far."""
    device = jax.local_devices()[0]
    if stats := device.memory_stats():
        return stats.get("peak_bytes_in_use")
    with suppress(ImportError):  # absent on Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return None


def gigabytes(count: int) -> str:
    """For people: "2.1 GB"."""
    return f"{count / 1e9:.1f} GB"


@contextmanager
def out_of_memory_in_words() -> Iterator[None]:
    """Turns running out of memory into one line with the keys that help.

    Raises:
      ValueError: a device or the machine had too little.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in text:
            raise
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        cause = next(
            (x for x in lines if "RESOURCE_EXHAUSTED" in x), "".join(lines[:1])
        )
        raise ValueError(
            f"got too little memory ({cause[:160] or type(error).__name__}), expected "
            f"room for a step: set {HELPS}"
        ) from error

"""Whether the backward pass computes blocks again, where `backbone.remat` is "auto".

Decided once for a run, by what the step without it needs of a device's memory; kept in
its config.json, so that every resume computes the same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging

from crossearth_jax.config import load as read_config
from crossearth_jax.system import device_memory, hosts
from crossearth_jax.system.escape import quoted

AUTO = "auto"
SHARE = 0.9  # of the device's memory; allocators leave gaps


def as_before(remat: Any, workdir: Path) -> Any:
    """`backbone.remat`, or for "auto" what the run in the workdir decided, if it has.

    Raises:
      ValueError: it is neither True, False nor "auto".
    """
    if remat in (True, False):
        return remat
    if remat != AUTO:
        raise ValueError(
            f'got backbone.remat={quoted(remat)}, expected True, False or "auto"'
        )
    kept = workdir / "config.json"
    return read_config(kept).backbone.remat if kept.exists() else AUTO


def decided(remat: Any, needs: Callable[[], int | None]) -> bool:
    """True or False, also for "auto".

    Args:
      remat: see `as_before`.
      needs: bytes of a device that a step takes that computes nothing again; None where
        the backend does not tell, and then nothing is.
    """
    if remat != AUTO:
        return remat
    need, have = needs(), device_memory.available()
    recompute = bool(hosts.from_first(need and have and need > SHARE * have))
    if need and have:
        logging.info(
            "backbone.remat=auto: activations of blocks %s: with all of them a step "
            "needs %s of the %s of a device",
            "are computed again" if recompute else "are kept",
            *map(device_memory.gigabytes, (need, have)),
        )
    return recompute

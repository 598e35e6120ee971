"""Damaged checkpoints: reported and skipped, or restored with every bit."""

import contextlib
import itertools
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reliability.runs import Failed
from crossearth_jax.models.parameters import dotted
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.train_step import TrainState

OLDER, NEWEST = 3, 6


def small_state(step: int) -> TrainState:
    """Arrays of several sizes and types."""
    rng = np.random.default_rng(step)
    params = {
        name: jnp.asarray(rng.normal(size=size), kind)
        for name, size, kind in (
            ("scale", 3, jnp.float32),
            ("weight", (40, 50), jnp.float32),
            ("half", (16, 16), jnp.bfloat16),
        )
    }
    moments = jax.tree.map(lambda x: 2 * x, params)
    return TrainState(params, moments, jnp.int32(step), jnp.int32(0))


def make_pair(workdir: Path) -> None:
    """Two sealed checkpoints."""
    with closing(Checkpoints(workdir)) as saved:
        for step in (OLDER, NEWEST):
            saved.save(small_state(step))


def measure(folder: Path, samples: int, seed: int) -> None:
    """Damages one file of the newest checkpoint again and again."""
    make_pair(folder / "whole")
    counts: Counter[str] = Counter()
    for number, (path, kind) in enumerate(damaged_copies(folder, samples, seed)):
        found = outcome(folder / "copy", path)
        counts[f"{kind}: {found}"] += 1
        print(f"{number + 1}/{samples}: {path}, {kind}: {found}", flush=True)
        if found == WRONG:
            raise Failed(f"{kind} of {path} silently restored other values")
    print(f"{samples} damaged copies, every file in turn:")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")


REPORTED = "reported, the checkpoint before it restored exactly"
SAME = "restored exactly anyway"
WRONG = "silently restored wrongly"


def damaged_copies(folder: Path, samples: int, seed: int) -> Iterator[tuple[str, str]]:
    """Makes `folder/copy` of `folder/whole` with one damaged file, many times.

    Yields:
      The file, in the newest checkpoint, and what was done to it.
    """
    rng = np.random.default_rng(seed)
    newest = folder / "whole" / "checkpoints" / str(NEWEST)
    files = sorted(p.relative_to(newest) for p in newest.rglob("*") if p.is_file())
    kinds = list(DAMAGES)
    # Every file meets every kind of damage if there are samples enough.
    for number, (kind, file) in enumerate(
        itertools.cycle(itertools.product(kinds, files))
    ):
        if number == samples:
            return
        shutil.rmtree(folder / "copy", ignore_errors=True)
        shutil.copytree(folder / "whole", folder / "copy")
        path = folder / "copy" / "checkpoints" / str(NEWEST) / file
        path.write_bytes(DAMAGES[kind](path.read_bytes(), rng))
        yield file.as_posix(), kind


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    at = rng.integers(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    """A block of zeros, as disks return for a block that was never written."""
    at = rng.integers(len(data))
    zeros = min(512, len(data) - at)
    new = data[:at] + bytes(zeros) + data[at + zeros :]
    return new if new != data else _flip(data, rng)


DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "one bit flipped": _flip,
    "cut short": _cut,
    "a block of zeros": _overwrite,
}


def outcome(workdir: Path, damaged: str) -> str:
    """Restores as a run does when it begins; the damaged file must be named."""
    with closing(Checkpoints(workdir)) as saved, _warnings() as said:
        newest = saved.set_damaged_aside()
        restored = saved.restore(small_state(0), newest)
    if not same(restored, small_state(newest)):
        return WRONG
    if newest == NEWEST:
        return SAME
    start = f"checkpoint of step {NEWEST} skipped: {damaged} is damaged"
    named = any(line.startswith(start) for line in said)
    return REPORTED if named and newest == OLDER else WRONG


def same(state: TrainState, other: TrainState) -> bool:
    """Whether all bytes are equal."""
    a, b = dotted(state), dotted(other)
    return a.keys() == b.keys() and all(
        (x.dtype, np.asarray(x).tobytes()) == (b[k].dtype, np.asarray(b[k]).tobytes())
        for k, x in a.items()
    )


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects what is logged."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("absl")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)

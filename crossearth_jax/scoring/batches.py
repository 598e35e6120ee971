"""Windows through a network, in batches of one fixed shape.

The jitted function compiles once, and no batch runs half empty where one image has
fewer windows than a batch.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from jaxtyping import Array, Float, Float32, Shaped

T = TypeVar("T")


def in_batches(
    function: Callable[[np.ndarray], Shaped[Array | np.ndarray, "b *_"]],
    windows: Iterable[tuple[T, Float[np.ndarray, "_ _ 3"]]],
    batch: int,
) -> Iterator[tuple[T, Float32[np.ndarray, "..."]]]:
    """Calls a function on batches of windows; yields each window's result, in order.

    Args:
      function: windows [batch, h, w, 3] → results [batch, ...].
      windows: whatever tells a window apart, and its pixels.
      batch: windows per call; a group of one shape that ends before repeats its last.

    Raises:
      ValueError: the results are not one for each window.
    """
    calls = (
        ([name for name, _ in group], function(filled([w for _, w in group], batch)))
        for group in _groups(windows, batch)
    )
    for names, sent in one_behind(calls):
        results = np.asarray(sent, np.float32)
        if len(results) != batch:
            raise ValueError(
                f"got {len(results)} results, expected {batch}, one for each window"
            )
        yield from zip(names, results, strict=False)


def one_behind(calls: Iterable[T]) -> Iterator[T]:
    """Yields each item only after the next one was made.

    JAX returns before a result is computed, so a result is fetched only after the
    next call was sent, and the host works while the device does.
    """
    held: list[T] = []
    for call in calls:
        yield from held
        held = [call]
    yield from held


def filled(
    windows: list[Float[np.ndarray, "h w 3"]], batch: int
) -> Float[np.ndarray, "b h w 3"]:
    """At most `batch` windows as an array; the last is repeated where some lack."""
    return np.stack([*windows, *windows[-1:] * (batch - len(windows))])


def _groups(
    windows: Iterable[tuple[T, np.ndarray]], batch: int
) -> Iterator[list[tuple[T, np.ndarray]]]:
    """At most `batch` neighbours of one shape."""
    group: list[tuple[T, np.ndarray]] = []
    for one in windows:
        if group and group[0][1].shape != one[1].shape:
            yield group
            group = []
        group.append(one)
        if len(group) == batch:
            yield group
            group = []
    if group:
        yield group

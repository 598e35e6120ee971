"""Calls with a time limit: a read from a dead network disk would wait forever."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from crossearth_jax.data.image_budget import check_large_file
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pixel_limit import MAX_PIXELS, TooLargeError

TIMEOUT_S = 300.0  # for one file

T = TypeVar("T")


def read_in_time(
    file: Path | Packed, timeout_s: float = TIMEOUT_S, max_pixels: int = MAX_PIXELS
) -> bytes:
    """The content of an image file.

    Raises:
      ValueError: it cannot be read, or not within `timeout_s` seconds, or it has far
        more bytes or pixels than `max_pixels` allows.
    """
    try:
        return within(timeout_s, partial(_content, file, max_pixels))
    except TooLargeError as error:
        raise ValueError(f"{file}: {error}") from error
    except TimeoutError as error:
        raise ValueError(
            f"{file}: {error}, expected its content: check the disk or the network "
            'mount, raise data.timeout_s, or set data.on_corrupt="skip"'
        ) from error
    except OSError as error:
        raise ValueError(
            f"{file}: cannot be read ({error}), expected an image: copy it again, or "
            'set data.on_corrupt="skip"'
        ) from error


def _content(file: Path | Packed, max_pixels: int) -> bytes:
    if isinstance(file, Path):
        check_large_file(file, max_pixels)
    return file.read_bytes()


def within(timeout_s: float, function: Callable[[], T]) -> T:
    """Calls a function in its own thread, 0.05 ms more than a plain call.

    Raises:
      TimeoutError: it took longer. Nothing can end a read that hangs: its thread stays,
        but does not keep the process from ending.
    """
    results: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((function(), None))
        except BaseException as error:  # belongs to the caller, whatever it is
            results.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        outcome = results.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(f"got nothing within {timeout_s:g} s") from None
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]

"""Reading, computing and writing at the same time, with bounded queues between.

Reader and writer are threads: GDAL and XLA release the interpreter lock.
"""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()
POLL = 0.1  # seconds after which a waiting thread checks whether to stop


@dataclass
class Waiting:
    """Seconds that the computing thread waited for files.

    One batch is still on the device meanwhile, so the device waits no longer.
    """

    read: float = 0.0
    write: float = 0.0


def read_ahead(
    items: Iterable[T], waiting: Waiting, depth: int = 2
) -> Generator[T, None, None]:
    """Runs an iterable in a thread, at most `depth` items ahead.

    An error of the iterable is raised here. Closing the iterator ends the thread.
    """
    ready: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def run() -> None:
        try:
            for item in items:
                if not _put(ready, (item, None), stop):
                    return
            _put(ready, (_END, None), stop)
        except BaseException as error:
            _put(ready, (_END, error), stop)

    thread = threading.Thread(target=run, name="reader", daemon=True)
    thread.start()
    try:
        while True:
            begin = time.perf_counter()
            item, error = ready.get()
            waiting.read += time.perf_counter() - begin
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


@contextmanager
def write_behind(
    write: Callable[[T], None], waiting: Waiting, depth: int = 2
) -> Iterator[Callable[[T], None]]:
    """Yields a function that hands items to a writing thread, at most `depth` waiting.

    Everything is written when the block ends; an error of `write` is raised at the next
    item or at the end. If the block itself fails, what waits is dropped.
    """
    waiting_items: queue.Queue = queue.Queue(depth)
    stop = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            while (item := _get(waiting_items, stop)) is not _END:
                write(item)
        except BaseException as error:
            failed.append(error)
            stop.set()

    def put(item: T) -> None:
        begin = time.perf_counter()
        accepted = _put(waiting_items, item, stop)
        waiting.write += time.perf_counter() - begin
        if not accepted:
            raise failed[0]

    thread = threading.Thread(target=run, name="writer", daemon=True)
    thread.start()
    try:
        yield put
        if _put(waiting_items, _END, stop):
            thread.join()
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]


def _put(place: queue.Queue, item: object, stop: threading.Event) -> bool:
    """False if it was told to stop."""
    while not stop.is_set():
        try:
            place.put(item, timeout=POLL)
            return True
        except queue.Full:
            continue
    return False


def _get(place: queue.Queue, stop: threading.Event) -> Any:
    """`_END` if it was told to stop."""
    while not stop.is_set():
        try:
            return place.get(timeout=POLL)
        except queue.Empty:
            continue
    return _END

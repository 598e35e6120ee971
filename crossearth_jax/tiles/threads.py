"""Pieces of a scene cut by several threads: GDAL releases the interpreter lock."""

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from crossearth_jax.tiles.cut import CutTile, Piece, cutter
from crossearth_jax.tiles.scene_labels import SceneLabels
from crossearth_jax.tiles.settings import TileSettings


def cut_all(
    labels: SceneLabels,
    pieces: Sequence[Piece],
    asked: TileSettings,
    classes: tuple[int, int | None],
    out: Path,
    workers: int,
) -> Iterator[CutTile]:
    """Yields what became of every tile, in the order in which they are done.

    An error of a thread is raised here; the others stop behind their tile.

    Args:
      labels: of the scene.
      pieces: to cut.
      asked: settings.
      classes: their number, and id of the background.
      out: gets train/ and val/.
      workers: threads.
    """
    left, stop = deque(pieces), threading.Event()
    found: queue.Queue[CutTile | BaseException | None] = queue.Queue()

    def run() -> None:
        try:
            with cutter(labels.scene, labels, asked, classes, out) as one:
                while not stop.is_set():
                    try:
                        piece = left.popleft()
                    except IndexError:
                        break
                    for tile in one.cut(piece):
                        found.put(tile)
                        if stop.is_set():
                            break
            found.put(None)
        except BaseException as error:
            found.put(error)

    threads = [
        threading.Thread(target=run, name=f"tiles-{i}", daemon=True)
        for i in range(min(workers, len(pieces)))
    ]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            item = found.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:  # a thread has ended
                running -= 1
            else:
                yield item
    finally:
        stop.set()
        for thread in threads:
            thread.join()

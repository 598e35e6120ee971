"""Records to training batches with Grain, the same on any number of hosts and threads.

The order and every random draw follow from (seed, position in the stream) alone. So
the whole state of the data is the step number: `start_step` resumes it bitwise.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, cast

import grain
import jax
import numpy as np
from absl import flags
from jax.tree_util import GetAttrKey
from jaxtyping import Array, UInt8

from crossearth_jax.data import transforms
from crossearth_jax.data.datasets import (
    FolderSource,
    Record,
    Source,
)
from crossearth_jax.data.order import EveryRecord, Order
from crossearth_jax.data.timed import TIMEOUT_S, within
from crossearth_jax.pixels.imagenet import IMAGENET_GREY

START_S = 60.0  # that worker processes may take to start
REASON_BYTES = 500  # of an error message that a worker hands over
SCALES_FROM = ("shortest_edge", "native")


@dataclass(frozen=True)
class Batch:
    """What one training step sees; a JAX pytree.

    Attributes:
      image: [B, H, W, 3], 0-255, not normalised.
      label: [B, H, W] class ids, 255 = ignore.
    """

    image: UInt8[np.ndarray | Array, "B H W 3"]
    label: UInt8[np.ndarray | Array, "B H W"]


def _unflatten(_: None, children: Iterable[Any]) -> Batch:
    """Past `__init__`: JAX also builds batches of shapes and shardings."""
    batch = object.__new__(Batch)
    for name, child in zip(("image", "label"), children, strict=True):
        object.__setattr__(batch, name, child)
    return batch


jax.tree_util.register_pytree_with_keys(
    Batch,
    lambda b: (
        [(GetAttrKey("image"), b.image), (GetAttrKey("label"), b.label)],
        None,
    ),
    _unflatten,
)


@dataclass(frozen=True)
class Augment:
    """Training augmentation (method §8): resize, crop, flip, distort colours, pad.

    Attributes:
      crop: side of the result, pixels.
      ratios: scale factors to draw from.
      scale_from: what a factor of 1 is: "shortest_edge", an image whose shortest edge
        is one crop, as the authors train, or "native", the file's own pixels.
      max_ratio: bound of the longest edge, in crops ("shortest_edge").
      cat_max_ratio: largest share of one class in a crop; 1 turns the limit off.
      flip: mirror left and right, half of the time.
      photometric: distort brightness, contrast, saturation and hue.
    """

    crop: int = 512
    ratios: tuple[float, ...] = transforms.RATIOS
    max_ratio: float = 4.0
    cat_max_ratio: float = 0.75
    flip: bool = True
    photometric: bool = True
    scale_from: str = "shortest_edge"

    def __post_init__(self) -> None:
        if self.scale_from not in SCALES_FROM:
            raise ValueError(
                f'got data.scale_from="{self.scale_from}", expected '
                f"{' or '.join(SCALES_FROM)}"
            )
        numbers = [r for r in self.ratios if isinstance(r, int | float)]
        good = [r for r in numbers if 1 / 64 <= r <= 64]  # false for nan too
        if not self.ratios or len(good) < len(self.ratios):
            raise ValueError(
                f"got data.scales={self.ratios}, expected one or more factors, each "
                "from 1/64 to 64, such as (0.5, 1.0, 2.0)"
            )
        if self.crop < 1:
            raise ValueError(f"got data.crop={self.crop}, expected at least 1 pixel")

    def __call__(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        label: UInt8[np.ndarray, "H W"],
        rng: np.random.Generator,
    ) -> tuple[UInt8[np.ndarray, "S S 3"], UInt8[np.ndarray, "S S"]]:
        """Applies all of it; the result is crop x crop."""
        crop = self.crop
        image, label = self._cropped(image, label, rng)
        if self.flip:
            image, label = transforms.random_flip(image, label, rng)
        if self.photometric:
            image, label = transforms.photometric_distortion(image, label, rng)
        return transforms.pad_to_crop(image, label, crop=crop, fill=IMAGENET_GREY)

    def _cropped(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        label: UInt8[np.ndarray, "H W"],
        rng: np.random.Generator,
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """A window of at most crop x crop at a drawn scale."""
        drawn = {"crop": self.crop, "ratios": self.ratios}
        share = self.cat_max_ratio
        if self.scale_from == "native":
            return transforms.native_crop(
                image, label, rng, **drawn, cat_max_ratio=share
            )
        image, label = transforms.random_resize(
            image, label, rng, **drawn, max_ratio=self.max_ratio
        )
        return transforms.random_crop(
            image, label, rng, crop=self.crop, cat_max_ratio=share
        )


def train_batches(
    source: Source,
    augment: Augment,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    host_index: int = 0,
    host_count: int = 1,
    num_threads: int = 2,
    num_workers: int = 0,
    prefetch: int = 2,
    order: Order | None = None,
) -> "Batches":
    """Endless batches of this host; every record comes once per epoch, reshuffled.

    Epochs run into each other, so a batch may be larger than the source.

    Args:
      source: records.
      augment: their augmentation.
      batch_size: of all hosts together.
      seed: of order and augmentation.
      start_step: the first batch to yield, 0 for a new run.
      host_index: this host, 0 to host_count - 1.
      host_count: hosts; together they see the stream of a single host.
      num_threads: that decode and augment, per process.
      num_workers: processes beside this one; 0 is best unless augmentation dominates.
      prefetch: batches held ready, at least one a thread.
      order: of the records, if it is another one.

    Returns:
      NumPy batches; `close()` them to stop threads and workers.

    Raises:
      ValueError: a size is invalid.
    """
    if start_step < 0:
        raise ValueError(f"got start_step={start_step}, expected 0 or more")
    order = order or EveryRecord(len(source))
    records = order.stream(seed).random_map(_Load(source, augment))
    batches = _batched(records, batch_size, host_index, host_count)[start_step:]
    stream = _read_ahead(batches, num_threads, num_workers, max(prefetch, num_threads))
    names = partial(
        batch_names,
        source,
        batch_size=batch_size,
        seed=seed,
        host_index=host_index,
        host_count=host_count,
        order=order,
    )
    # Every read has its own time-out; this one is for workers that are stuck.
    files = 2 * batch_size // host_count
    per_file = source.timeout_s if isinstance(source, FolderSource) else TIMEOUT_S
    return Batches(stream, source, start_step, names, START_S + files * per_file)


def _read_ahead(
    batches: grain.MapDataset[Any], num_threads: int, num_workers: int, prefetch: int
) -> grain.IterDataset[Any]:
    """Reads by threads, in processes of their own if there are workers."""
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    stream = batches.to_iter_dataset(options)
    if num_workers < 1:
        return stream
    if not flags.FLAGS.is_parsed():  # Grain's workers read flags
        flags.FLAGS.mark_as_parsed()
    return stream.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=num_workers),
        worker_init_fn=_end_with_parent,
    )


class Batches(Iterator[Batch]):
    """Batches that count the records that could not be used.

    Attributes:
      skipped: records in the batches so far that were placeholders of files that could
        not be used (`data.on_corrupt="skip"`); a file counts in every epoch. Their
        names and reasons are in the source's `skipped`.
    """

    def __init__(
        self,
        stream: grain.IterDataset[Any],
        source: Source,
        step: int,
        names: Callable[..., tuple[str, ...]],
        timeout_s: float,
    ) -> None:
        """Made by `train_batches`."""
        self.skipped = 0
        self._iterator = iter(stream)
        self._source = source
        self._step = step
        self._names = names
        self._timeout_s = timeout_s

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
          ValueError: a file cannot be used, or too many were skipped.
          TimeoutError: nothing comes.
          ChildProcessError: a worker process died.
        """
        try:
            batch = within(self._timeout_s, partial(next, self._iterator))
        except TimeoutError as error:
            raise TimeoutError(
                f"step {self._step}: {error} from the readers of "
                f"{', '.join(self._names(step=self._step))}, expected a batch: look "
                "for stopped processes, or set data.workers=0"
            ) from error
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise ChildProcessError(
                f"step {self._step}: a data worker died ({error}): run the same "
                "command again; with fewer data.workers if memory was short"
            ) from error
        self._step += 1
        self._count(batch)
        # Workers hand over shared memory that lives only as long as its array.
        return Batch(np.array(batch["image"]), np.array(batch["label"]))

    def _count(self, batch: dict[str, Any]) -> None:
        """Workers note unusable files in copies of the source, each for itself."""
        for index, reason in zip(batch["index"], batch["reason"], strict=True):
            if reason:
                self.skipped += 1
                if isinstance(self._source, FolderSource):
                    name = self._source.names[index]
                    self._source.note_skip(name, reason.decode(errors="replace"))

    def close(self) -> None:
        """Stops threads and workers."""
        self._iterator.close()

    def __del__(self) -> None:
        self.close()


def batch_names(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    step: int,
    host_index: int = 0,
    host_count: int = 1,
    order: Order | None = None,
) -> tuple[str, ...]:
    """The names of the records in this host's batch of a step; reads no image."""
    records = (order or EveryRecord(len(source))).stream(seed)
    batch = _batched(records, batch_size, host_index, host_count)[step]
    indices = cast(Sequence[int], batch)  # Grain's None is for filtered streams
    return tuple(source.names[i] for i in indices)


def eval_records(
    source: Source, *, num_threads: int = 2, prefetch: int = 4
) -> Iterator[Record]:
    """All records in order, read ahead by threads; placeholders come along."""
    pool = ThreadPoolExecutor(num_threads)
    try:
        reads = (pool.submit(source.__getitem__, i) for i in range(len(source)))
        ahead = deque(islice(reads, prefetch))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(islice(reads, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batched(
    stream: grain.MapDataset[Any], batch_size: int, host_index: int, host_count: int
) -> grain.MapDataset[Any]:
    """This host's share of every batch.

    Hosts are cut out after the random draws, so that all of them together see what
    a single host would see, pixel by pixel.
    """
    if batch_size < 1 or batch_size % host_count:
        raise ValueError(
            f"got batch_size={batch_size} for {host_count} host(s), expected a multiple"
        )
    if not 0 <= host_index < host_count:
        raise ValueError(f"got host_index={host_index}, expected 0 to {host_count - 1}")
    mine = stream[host_index::host_count]
    return mine.batch(batch_size // host_count, drop_remainder=True)


@dataclass(frozen=True)
class _Load:
    """Index to arrays; a class, because workers must be able to unpickle it."""

    source: Source
    augment: Augment

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        record = self.source[index]
        image, label = self.augment(record.image, record.label, rng)
        return {
            "image": image,
            "label": label,
            "index": np.int64(index),
            "reason": np.array(record.reason.encode(), f"S{REASON_BYTES}"),
        }


def _end_with_parent(worker: int, workers: int) -> None:
    """Makes a worker leave signals to its parent, and end when the parent is gone.

    Grain's workers would otherwise outlive a killed run for good.
    """
    del worker, workers
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

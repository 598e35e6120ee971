"""What goes wrong with files and processes during a run: errors and counts, no hang."""

import multiprocessing
import os
import signal
import threading
import time
from itertools import islice

import pytest
from noise_pairs import write_pairs

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import find_pairs
from crossearth_jax.data.pipeline import (
    Augment,
    Batches,
    batch_names,
    eval_records,
    train_batches,
)
from crossearth_jax.data.timed import within

TWO = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))
COUNT = 12


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path, (20, 20), COUNT)


def source_of(folder, **kwargs):
    pairs = find_pairs(folder / "images", folder / "labels")
    return FolderSource(pairs, TWO, "ids", **kwargs)


def stream_of(source, **kwargs):
    return train_batches(source, Augment(crop=16), batch_size=4, seed=0, **kwargs)


@pytest.fixture
def pipe(folder):
    """Opening image t05 waits for a writer, as on a dead network disk."""
    path = folder / "images/t05.png"
    path.unlink()
    os.mkfifo(path)
    yield path
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def remove(folder):
    (folder / "images/t05.png").unlink()


def empty_label(folder):
    (folder / "labels/t05.png").write_bytes(b"")


def cut(folder):
    path = folder / "images/t05.png"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, r"images/t05.png: cannot be read .*No such file"),
        (empty_label, r"labels/t05.png: got an empty file \(0 bytes\)"),
        (cut, r"images/t05.png: cannot be decoded"),
    ],
)
def test_a_file_that_breaks_during_the_run_stops_it_or_is_counted(
    folder, damage, message
):
    strict, lenient = source_of(folder), source_of(folder, on_corrupt="skip")
    streams = stream_of(strict), stream_of(lenient)
    for stream in streams:
        next(stream)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        list(islice(streams[0], 12))
    # Batches that were read ahead may still have had the file.
    list(islice(streams[1], 11))
    assert 2 <= streams[1].skipped <= 4
    assert list(lenient.skipped) == ["t05"]


@pytest.mark.slow
def test_a_read_that_hangs_ends_the_run_and_is_named(folder, pipe):
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"t05.png: got nothing within 0.8 s.*timeout"):
        list(islice(stream_of(source_of(folder, timeout_s=0.8)), 3))
    with pytest.raises(ValueError, match=r"t05.png: got nothing within 0.8 s"):
        list(eval_records(source_of(folder, timeout_s=0.8)))
    assert time.monotonic() - start < 5


@pytest.mark.slow
def test_a_read_that_hangs_is_skipped_and_waited_for_once(folder, pipe):
    source = source_of(folder, on_corrupt="skip", timeout_s=0.8)
    batches = stream_of(source)
    start = time.monotonic()
    list(islice(batches, 30))
    assert batches.skipped == 10 and list(source.skipped) == ["t05"]
    assert time.monotonic() - start < 5


@pytest.mark.slow
def test_workers_hand_over_what_they_skip_and_their_death_is_an_error(folder, pipe):
    source = source_of(folder, on_corrupt="skip", timeout_s=0.8)
    batches = stream_of(source, num_workers=1)
    list(islice(batches, 6))
    assert batches.skipped == 2
    assert "got nothing within 0.8 s" in source.skipped["t05"]
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match=r"step \d+: a data worker died .*-9"):
        list(islice(batches, 100))
    batches.close()


class Stuck:
    """An iterator of a worker that was stopped, e.g. by a debugger."""

    def __init__(self):
        self.end = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self.end.wait()

    def close(self):
        self.end.set()


def test_a_stuck_worker_is_an_error_that_names_the_files(folder):
    source = source_of(folder)

    def names(step):
        return batch_names(source, batch_size=4, seed=0, step=step)

    batches = Batches(Stuck(), source, 7, names, 0.1)
    with pytest.raises(
        TimeoutError, match=r"step 7: got nothing within 0.1 s"
    ) as error:
        next(batches)
    assert ", ".join(names(7)) in str(error.value)
    batches.close()


def test_within_hands_over_results_and_errors():
    assert within(1, lambda: 5) == 5
    with pytest.raises(KeyError, match="x"):
        within(1, lambda: {}["x"])
    end = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, end.wait)
    end.set()

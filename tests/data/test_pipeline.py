import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noise_pairs import write_pairs

import crossearth_jax
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource, Record
from crossearth_jax.data.folders import parse_domain
from crossearth_jax.data.pipeline import (
    Augment,
    Batch,
    batch_names,
    eval_records,
    train_batches,
)

CROP = 24
TWO = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))
AUGMENT = Augment(crop=CROP)


@dataclass
class Scenes:
    """Random scenes whose label is one class per record: the label tells the index."""

    count: int
    size: int = 32

    def __len__(self):
        return self.count

    @property
    def names(self):
        return [f"scene{i}" for i in range(self.count)]

    def fingerprint(self):
        return str(self.names)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (self.size, self.size + 8, 3), np.uint8)
        label = np.full(image.shape[:2], index, np.uint8)
        return Record(image, label, f"scene{index}")


def batches(count, source=None, augment=AUGMENT, **kwargs):
    kwargs = {"batch_size": 4, "seed": 3} | kwargs
    return list(islice(train_batches(source or Scenes(10), augment, **kwargs), count))


def indices(batch):
    return [int(label.min()) for label in batch.label]


def same(a, b):
    return all(
        np.array_equal(x.image, y.image) and np.array_equal(x.label, y.label)
        for x, y in zip(a, b, strict=True)
    )


def test_batch_is_a_pytree_of_plain_arrays():
    (batch,) = batches(1)
    assert type(batch.image) is np.ndarray
    assert batch.image.shape == (4, CROP, CROP, 3) and batch.image.dtype == np.uint8
    assert batch.label.shape == (4, CROP, CROP) and batch.label.dtype == np.uint8
    mean = jax.jit(lambda b: jnp.mean(b.image) + jnp.mean(b.label))(batch)
    assert mean == pytest.approx(batch.image.mean() + batch.label.mean(), rel=1e-4)
    shapes = jax.tree.map(lambda x: x.shape, batch)
    assert jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple)) == [
        (4, CROP, CROP, 3),
        (4, CROP, CROP),
    ]
    assert isinstance(shapes, Batch)


def test_every_record_once_per_epoch_in_another_order():
    stream = [i for b in batches(15) for i in indices(b)]
    epochs = [stream[k : k + 10] for k in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 6


def test_augmentation_is_new_in_every_epoch():
    source = Scenes(1)
    images = [b.image[0].tobytes() for b in batches(8, source, batch_size=1)]
    assert len(set(images)) == 8


def test_seed_decides_everything():
    assert same(batches(5), batches(5))
    assert not same(batches(5), batches(5, seed=4))


def test_threads_change_nothing():
    reference = batches(6, num_threads=0)
    assert same(reference, batches(6, num_threads=1))
    assert same(reference, batches(6, num_threads=3, prefetch=4))


@pytest.mark.parametrize("start", [1, 2, 7])
def test_resuming_continues_bitwise(start):
    assert same(batches(9)[start:], batches(9 - start, start_step=start))


def test_hosts_together_see_what_one_host_sees():
    whole = batches(6)
    for hosts in (2, 4):
        parts = [batches(6, host_index=h, host_count=hosts) for h in range(hosts)]
        for step, batch in enumerate(whole):
            for host in range(hosts):
                part = parts[host][step]
                assert np.array_equal(part.image, batch.image[host::hosts])
                assert np.array_equal(part.label, batch.label[host::hosts])


def test_source_smaller_than_the_batch():
    for batch in batches(3, Scenes(3), batch_size=8):
        assert set(Counter(indices(batch)).values()) <= {2, 3, 4}
        assert batch.image.shape[0] == 8


def test_names_of_a_batch():
    options = {"batch_size": 4, "seed": 3, "host_index": 1, "host_count": 2}
    for step, batch in enumerate(batches(7, **options)):
        names = batch_names(Scenes(10), step=step, **options)
        assert names == tuple(f"scene{i}" for i in indices(batch))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 3, "host_count": 2}, "batch_size=3 for 2 host"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"host_index": 1}, "host_index=1"),
        ({"start_step": -1}, "start_step=-1"),
        ({"source": Scenes(0)}, "without records"),
    ],
)
def test_wrong_sizes_fail_before_the_first_batch(wrong, message):
    arguments = {"source": Scenes(10), "batch_size": 4, "seed": 3} | wrong
    with pytest.raises(ValueError, match=message):
        train_batches(arguments.pop("source"), AUGMENT, **arguments)


def test_augment_fits_any_image_into_the_crop():
    for shape in ((5, 90), (CROP, CROP), (70, 61)):
        image = np.full((*shape, 3), 200, np.uint8)
        label = np.ones(shape, np.uint8)
        for seed in range(20):
            out, out_label = AUGMENT(image, label, np.random.default_rng(seed))
            assert out.shape == (CROP, CROP, 3)
            padded = out_label == 255
            assert (out[padded] == (124, 116, 104)).all()
            assert (out_label[~padded] == 1).all() and not padded.all()


def test_augmentation_can_be_switched_off():
    still = Augment(
        crop=32, ratios=(1.0,), flip=False, photometric=False, cat_max_ratio=1.0
    )
    record = Scenes(1)[0]
    square = record.image[:, :32].copy(), record.label[:, :32].copy()
    out, label = still(*square, np.random.default_rng(0))
    np.testing.assert_array_equal(out, square[0])
    np.testing.assert_array_equal(label, square[1])


def folder(root, count=12):
    return parse_domain(str(write_pairs(root, (30, 40), count))).find_pairs()


def test_a_skipped_file_leaves_all_other_records_as_they_were(tmp_path):
    pairs = folder(tmp_path)
    whole = batches(6, FolderSource(pairs, TWO, "ids"))
    (tmp_path / "images/t05.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"t05.png.*0 bytes"):
        batches(3, FolderSource(pairs, TWO, "ids"))
    source = FolderSource(pairs, TWO, "ids", on_corrupt="skip")
    holey = batches(6, source)
    assert list(source.skipped) == ["t05"]
    counting = train_batches(source, AUGMENT, batch_size=4, seed=3)
    lost = 0
    for step, (full, rest) in enumerate(zip(whole, holey, strict=True)):
        names = batch_names(source, batch_size=4, seed=3, step=step)
        next(counting)
        assert counting.skipped == lost + names.count("t05")
        for i, name in enumerate(names):
            if name == "t05":
                lost += 1
                assert (rest.label[i] == 255).all()
            else:
                assert np.array_equal(full.image[i], rest.image[i])
    assert lost == 2


def test_eval_records_are_all_in_order(tmp_path):
    records = list(eval_records(Scenes(9), num_threads=3, prefetch=2))
    assert [r.name for r in records] == Scenes(9).names
    pairs = folder(tmp_path)
    (tmp_path / "images/t05.png").write_bytes(b"")
    source = FolderSource(pairs, TWO, "ids", on_corrupt="skip")
    assert [r.name for r in eval_records(source) if not r.valid] == ["t05"]
    with pytest.raises(ValueError, match="0 bytes"):
        list(eval_records(FolderSource(pairs, TWO, "ids")))


WORKERS_THEN_HANG = """
import multiprocessing, sys, time
from itertools import islice
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import parse_domain
from crossearth_jax.data.pipeline import Augment, train_batches
if __name__ == "__main__":
    pairs = parse_domain(sys.argv[1]).find_pairs()
    two = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))
    source = FolderSource(pairs, two, "ids", on_corrupt="skip")
    augment = Augment(crop=24)
    stream = train_batches(source, augment, batch_size=4, seed=3, num_workers=2)
    for batch in islice(stream, 6):
        print(batch.image.sum(), batch.label.sum())
    print(*source.skipped)
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_workers_give_the_same_and_die_with_a_killed_parent(tmp_path):
    pairs = folder(tmp_path)
    (tmp_path / "images/t05.png").write_bytes(b"")
    script = tmp_path / "script.py"
    script.write_text(WORKERS_THEN_HANG)
    root = os.path.dirname(crossearth_jax.__path__[0])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": root},
    )
    try:
        lines = [parent.stdout.readline().split() for _ in range(8)]
        source = FolderSource(pairs, TWO, "ids", on_corrupt="skip")
        expected = [
            [str(b.image.sum()), str(b.label.sum())] for b in batches(6, source)
        ]
        assert lines[:6] == expected
        assert lines[6] == ["t05"]  # counted in the parent, too
        workers = [int(pid) for pid in lines[7]]
        assert len(workers) >= 2 and all(map(alive, workers))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))

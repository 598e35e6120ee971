r"""Training crops a second from PNG files and from packed splits.

    python -m benchmarks.input --json input.json

Draws its own images, of the file size of aerial photographs, and runs the training
pipeline of `crossearth_jax.data` over numbers of worker processes and threads, with a
PyTorch DataLoader (same decoding, same NumPy augmentation) beside it where PyTorch is
installed. Settings take turns, so that a change of the machine's load hits all of them.
Files are in the page cache: this is the processor's share of the work, not the disk's.
On a shared machine `--patience SECONDS` waits for the others and measures again where
they came back.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import parse_domain
from crossearth_jax.data.pack import pack_split
from crossearth_jax.data.pipeline import Augment, train_batches
from crossearth_jax.report.table import Section, Table
from crossearth_jax.system.whole_file import whole_file

CLASSES = 6
BATCH = 8
OTHERS = 0.15  # cores that other programs may use while the machine counts as idle
GRID = tuple((w, t) for w in (0, 1, 2) for t in (1, 2, 4))
PACKAGES = ("grain", "jax", "numpy", "opencv-python-headless", "pillow", "torch")


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
      reader: "png", "packed", or "torch" (a DataLoader over the PNG files).
      workers: processes.
      threads: in each process; a DataLoader has one.
    """

    reader: str
    workers: int
    threads: int


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes:
      crops_per_s: by the clock.
      crops_per_cpu_s: by the processor time of this process and its workers; NaN where
        /proc is missing.
      others: cores that other programs used meanwhile; NaN where /proc is missing.
    """

    crops_per_s: float
    crops_per_cpu_s: float
    others: float


def draw_images(folder: Path, count: int, size: int) -> int:
    """Writes `count` pairs below a folder; returns the mean bytes of an image.

    Smooth ground with sensor noise: about half of its pixels' bytes as a PNG, as tiles
    of Potsdam have it. The label is the largest of a few smooth fields.
    """
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)

    def smooth(cells: int, channels: int) -> np.ndarray:
        field = rng.normal(size=(cells, cells, channels)).astype(np.float32)
        return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)

    for i in range(count):
        noise = rng.normal(0, 3, (size, size, 3))
        ground = 120 + 30 * smooth(12, 3) + 12 * smooth(size // 8, 3)
        image = (ground + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"images/{i:04d}.png")
        label = smooth(10, CLASSES).argmax(axis=2).astype(np.uint8)
        Image.fromarray(label).save(folder / f"labels/{i:04d}.png")
    sizes = [p.stat().st_size for p in (folder / "images").iterdir()]
    return round(statistics.mean(sizes))


def make_source(place: Path) -> FolderSource:
    """Records of a folder or an archive."""
    names = tuple(f"class {k}" for k in range(CLASSES))
    colours = tuple((40 * k, 0, 0) for k in range(CLASSES))
    pairs = parse_domain(str(place)).find_pairs()
    return FolderSource(pairs, ClassSet(names, colours), "ids")


def measure(
    source: FolderSource, augment: Augment, setting: Setting, *, crops: int, warm: int
) -> Speed:
    """Times `crops` crops after `warm` others, read in batches of 8."""
    open_stream = _torch_batches if setting.reader == "torch" else _our_batches
    stream = open_stream(source, augment, setting)
    for _ in islice(stream, -(-warm // BATCH)):
        pass
    batches = -(-crops // BATCH)
    before = _clocks()
    for _ in islice(stream, batches):
        pass
    wall, ours, all_ = (after - b for after, b in zip(_clocks(), before, strict=True))
    stream.close()
    crops = batches * BATCH
    return Speed(crops / wall, crops / ours, max(0.0, all_ - ours) / wall)


def measure_undisturbed(
    measure_once: Callable[[], Speed], *, patience_s: float
) -> Speed:
    """Measures again while others were busy, for `patience_s` seconds at most."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end and not _idle():
        time.sleep(2)
    while (speed := measure_once()).others > OTHERS and time.monotonic() < end:
        while time.monotonic() < end and not _idle():
            time.sleep(2)
    return speed


def _idle(seconds: float = 2.0) -> bool:
    """Whether the machine has nothing else to do; True where that is unknown."""
    before = _clocks()
    time.sleep(seconds)
    wall, ours, all_ = (after - b for after, b in zip(_clocks(), before, strict=True))
    return not (all_ - ours) / wall > OTHERS


def _clocks() -> tuple[float, float, float]:
    """Seconds: wall clock, processor time of ours, of all programs."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return time.perf_counter(), _cpu_seconds(), float("nan")
    user, nice, system, _, _, irq, softirq = map(
        int, stat.read_text().split("\n", 1)[0].split()[1:8]
    )
    everyone = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), _cpu_seconds(), everyone


def _our_batches(
    source: FolderSource, augment: Augment, setting: Setting
) -> Iterator[Any]:
    return train_batches(
        source,
        augment,
        batch_size=BATCH,
        seed=0,
        num_threads=setting.threads,
        num_workers=setting.workers,
    )


@dataclass(frozen=True)
class _TorchRecords:
    """Map-style dataset: decodes and augments as the training pipeline does."""

    source: FolderSource
    augment: Augment

    def __len__(self) -> int:
        return 1_000_000  # the loader shuffles no further than a run lasts

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        record = self.source[index % len(self.source)]
        rng = np.random.default_rng(index)
        image, label = self.augment(record.image, record.label, rng)
        # PyTorch takes no views with gaps between the rows.
        return np.ascontiguousarray(image), np.ascontiguousarray(label)


def _torch_batches(
    source: FolderSource, augment: Augment, setting: Setting
) -> Iterator[Any]:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)  # more only spin while batches are stacked
    loader = DataLoader(
        _TorchRecords(source, augment),
        BATCH,
        num_workers=setting.workers,
        multiprocessing_context="spawn" if setting.workers else None,
    )
    yield from loader


def _cpu_seconds() -> float:
    """Processor time of this process and its living workers."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        try:
            stat = Path(f"/proc/{child.pid}/stat").read_text()
        except OSError:
            return float("nan")
        user, system = stat.rsplit(")", 1)[1].split()[11:13]
        total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def settings(readers: Sequence[str], grid: Sequence[tuple[int, int]]) -> list[Setting]:
    """Every reader over the grid of (workers, threads); PyTorch has no threads."""
    ours = [Setting(r, w, t) for r in readers if r != "torch" for w, t in grid]
    workers = dict.fromkeys(w for w, _ in grid)
    return ours + [Setting("torch", w, 1) for w in workers if "torch" in readers]


def machine() -> dict[str, Any]:
    """Processor, load and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **versions,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Median (lowest to highest) of every setting, as Markdown.

    The last column has the most cores that other programs used during a measurement.
    """
    found = [
        (
            row["reader"],
            str(row["workers"]),
            str(row["threads"]),
            _spread(row["crops_per_s"]),
            f"{statistics.median(row['crops_per_cpu_s']):.0f}",
            f"{max(row['others']):.1f}",
        )
        for row in rows
    ]
    header = ("reader", "workers", "threads", "crops/s", "crops per core-second")
    return Table((*header, "others"), "lrrrrr", [Section(found)]).as_markdown()


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:.0f} ({min(values):.0f} to {max(values):.0f})"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures everything; returns what `--json` writes."""
    readers = list(options.readers)
    if "torch" in readers and not _has_torch():
        print("PyTorch is not installed: measured without it")
        readers.remove("torch")
    augment = Augment(crop=options.crop)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "train"
        size = draw_images(folder, options.count, options.size)
        archive = pack_split(folder)
        places = {"png": folder, "torch": folder, "packed": archive}
        sources = {reader: make_source(places[reader]) for reader in readers}
        before = machine()
        rows = [
            {**asdict(s), "crops_per_s": [], "crops_per_cpu_s": [], "others": []}
            for s in settings(readers, options.grid)
        ]
        for _ in range(options.repeats):
            for row in rows:
                setting = Setting(row["reader"], row["workers"], row["threads"])
                once = partial(
                    measure,
                    sources[setting.reader],
                    augment,
                    setting,
                    crops=options.crops,
                    warm=options.warm,
                )
                speed = measure_undisturbed(once, patience_s=options.patience)
                for name, value in asdict(speed).items():
                    row[name].append(value)
                print(f"{setting} {speed}", file=sys.stderr)
    given = {k: v for k, v in vars(options).items() if k != "json"}
    return {
        "machine": before,
        "load_after": os.getloadavg()[0],
        "options": given,
        "bytes_per_image": size,
        "rows": rows,
    }


def _has_torch() -> bool:
    try:
        import torch.utils.data  # noqa: F401
    except ImportError:
        return False
    return True


def _pair(text: str) -> tuple[int, int]:
    workers, threads = text.split("x")
    return int(workers), int(threads)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options; see --help."""
    parser = argparse.ArgumentParser(prog="benchmarks.input", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=96, help="images to draw")
    parser.add_argument("--size", type=int, default=512, help="their side, pixels")
    parser.add_argument("--crop", type=int, default=512, help="side of a crop")
    parser.add_argument("--crops", type=int, default=240, help="timed, each setting")
    parser.add_argument("--warm", type=int, default=64, help="crops before those")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over all")
    parser.add_argument(
        "--readers", nargs="+", default=["png", "packed", "torch"], help="which"
    )
    parser.add_argument(
        "--grid", nargs="+", type=_pair, default=GRID, help="WORKERSxTHREADS, e.g. 0x2"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        help="seconds to wait for an idle machine before and after a measurement",
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, measures, prints the table."""
    options = parse(argv)
    result = run(options)
    about = result["machine"]
    print(
        f"\n{about['processor']}, {about['cores']} cores, load {about['load']:.1f} "
        f"before, {result['load_after']:.1f} after; {options.crop}² crops from "
        f"{options.size}² PNG of {result['bytes_per_image'] / 1000:.0f} kB; median of "
        f"{options.repeats} (lowest to highest)\n\n{table(result['rows'])}"
    )
    if options.json:
        with whole_file(options.json) as place:
            place.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

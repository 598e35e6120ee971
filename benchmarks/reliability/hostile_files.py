"""Small sound files of weights and runs from strangers, and how each is read."""

import hashlib
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from crossearth_jax import config
from crossearth_jax.commands.compare import make_sheets
from crossearth_jax.data.classes import ClassSet, load_classes, save_classes
from crossearth_jax.data.prepare.manifest import Journal, read_manifest
from crossearth_jax.earth_style.statistics import EarthStatistics
from crossearth_jax.models.parameters import read_weights as read_trained
from crossearth_jax.report import sheet
from crossearth_jax.report.experiments import read_experiment
from crossearth_jax.report.score_table import score_table
from crossearth_jax.run import lock, provenance, seal
from crossearth_jax.run.metrics import _cut_after as _keep
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.counts import (
    Confidence,
    DomainCounts,
    ImageCounts,
    read_counts,
    write_counts,
)
from crossearth_jax.system.read_json import read_json_lines
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import open_weights
from weights_convert.files.torch_legacy import MAGIC, VERSION
from weights_convert.files.torch_write import write_torch
from weights_convert.inspect_file import inspect, table
from weights_convert.output import write_safetensors

CLASSES = ClassSet(("ground", "house"), ((0, 0, 0), (200, 40, 40)))
TENSORS = {
    "backbone.blocks.0.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "backbone.blocks.0.bias": np.ones(4, np.float16),
}


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
      name: of the file, which may decide how it is read.
      make: writes a sound one.
      read: reads all of it, as the commands do.
      is_json: whether values inside it can be exchanged.
      inside: "zip", "npz", "png" or "safetensors" if parts of it can be.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    is_json: bool = False
    inside: str = ""


def _torch_zip(path: Path) -> None:
    lazy = {key: LazyTensor.of(array) for key, array in TENSORS.items()}
    write_torch(path, {"meta": {"epoch": 3, "about": "x"}, "state_dict": lazy})


def _torch_legacy(path: Path) -> None:
    _torch_zip(path)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("archive/data.pkl")
        storages = [archive.read(f"archive/data/{i}") for i in range(len(TENSORS))]
    system = {"little_endian": True, "protocol_version": VERSION}
    parts = [pickle.dumps(part, 2) for part in (MAGIC, VERSION, system)]
    parts += [content, pickle.dumps([str(i) for i in range(len(storages))], 2)]
    for data, array in zip(storages, TENSORS.values(), strict=True):
        parts += [struct.pack("<Q", len(data) // array.itemsize), data]
    path.write_bytes(b"".join(parts))


def _safetensors(path: Path) -> None:
    lazy = {key: LazyTensor.of(array) for key, array in TENSORS.items()}
    write_safetensors(path, lazy, {"kind": '"dinov2"'})


def _npz(path: Path) -> None:
    np.savez_compressed(path, **TENSORS)


def read_weights(path: Path) -> None:
    """Lists a weight file and reads all its tensors."""
    table(inspect(path))
    for tensor in open_weights(path).tensors.values():
        tensor.read()


def _class_content() -> dict:
    entries = zip(CLASSES.names, CLASSES.palette, strict=True)
    return {
        "classes": [{"name": name, "color": [*colour]} for name, colour in entries],
        "encoding": "ids",
        "ignore": 255,
        "ids": {"0": "ground", "7": 1},
        "foreground": "house",
    }


def _class_yaml(path: Path) -> None:
    lines = ["classes:"]
    for entry in _class_content()["classes"]:
        lines.append(f"  - name: {entry['name']}\n    color: {entry['color']}")
    lines += ["encoding: ids  # numbers", "ignore: 255", 'ids: {0: ground, 7: "house"}']
    path.write_text("\n".join(lines) + "\n")


def report() -> dict:
    """The content of a report.json."""
    share = dict(zip(CLASSES.names, (0.5, None), strict=True))
    entry = {"mIoU": 0.5, "mF1": 0.6, "overall_accuracy": 0.7, "IoU": share}
    entry |= {"images": 2, "skipped": ["a.png"], "confusion": [[3, 1], [2, 4]]}
    domains = {
        "here": {"role": "source", **entry},
        "far": {"role": "unseen", "foreground_IoU": 0.3, **entry},
    }
    about = {"step": 20, "name": "folder"}
    return {"classes": list(CLASSES.names), "domains": domains, "about": about}


def _report(path: Path) -> None:
    path.write_text(json.dumps(report()))
    (path.parent / "config.json").write_text(json.dumps(config.default().to_dict()))


def read_report(path: Path) -> None:
    """Reads a run's scores and prints their tables."""
    found = read_experiment(path.parent).report
    scores = score_table(found)
    scores.as_text(), scores.as_markdown(), scores.as_csv(), scores.as_html()


def _compared(path: Path) -> None:
    """Compares a run with the paper, as the command and a page do."""
    read_report(path)
    for show in sheet.FORMATS.values():
        show(make_sheets([path.parent]))


def _of_a_run(path: Path) -> None:
    _report(path.parent / "report.json")


def _config(path: Path) -> None:
    path.write_text(json.dumps(config.default().to_dict()))


def _settings(path: Path) -> None:
    read_settings(config.load(path))


def _seal(path: Path) -> None:
    (path.parent / "part").write_bytes(b"numbers")
    seal.write(path.parent, {"step": 3, "frozen": "abc"})


def _resealed(path: Path) -> None:
    """Reads a seal whose digest fits whatever was put into it."""
    text = path.read_text(errors="replace").partition("\n")[2]
    path.write_text(f"{seal._hash(text.encode())}\n{text}")
    seal.damage(path.parent)
    seal.read(path.parent)


def _metrics(path: Path) -> None:
    lines = [{"step": i, "loss": 1.5 / i, "learning_rate": 1e-4} for i in range(1, 9)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _counts(path: Path) -> None:
    images = (ImageCounts.of(0, "a.png", np.array([[3, 1], [2, 4]])),)
    bins = Confidence(np.arange(20), np.arange(20) // 2, np.arange(20) * 0.5)
    write_counts(path.parent, path.stem, DomainCounts(2, images, bins))


def read_all_counts(path: Path) -> None:
    """Reads counts and computes what a report takes from them."""
    counts = read_counts(path.parent, path.stem)
    if counts is not None:
        counts.total(), counts.costs(), counts.own_miou()


def read_converted(path: Path) -> None:
    """Reads weights as training does."""
    read_trained(path)


def _statistics(path: Path) -> None:
    EarthStatistics(np.zeros(100, np.float32), np.eye(100, dtype=np.float32)).save(path)


def _lock(path: Path) -> None:
    path.write_text(json.dumps(lock.this_process() | {"pid": 2**22 + 1}))


def _take_lock(path: Path) -> None:
    with lock.WorkdirLock(path.parent, beat_s=0.01, silence_s=0.01):
        pass


def _export(path: Path) -> None:
    """A function of windows that has no weights, and its sidecar."""
    windows = jax.ShapeDtypeStruct((1, 8, 8, 3), np.uint8)
    program = jax.export.export(jax.jit(lambda x: x[..., :2] / 255))(windows)
    blob = bytes(program.serialize())
    (path.parent / "model.stablehlo").write_bytes(blob)
    about = {"file": "model.stablehlo", "sha256": hashlib.sha256(blob).hexdigest()}
    about |= {"weights": None, "crop": 8, "stride": 4, "batch": 1}
    about |= {"classes": list(CLASSES.names), "palette": [[0, 0, 0], [200, 40, 40]]}
    path.write_text(json.dumps(about))


def read_sidecar(path: Path) -> None:
    """Loads an export as the example does, which is a program of its own."""
    place = Path(__file__).parents[2] / "examples"
    sys.path.insert(0, str(place))
    try:
        import run_exported
    finally:
        sys.path.remove(str(place))
    run_exported.load_or_exit(path)


FILES = {
    "torch zip": Format("a.pth", _torch_zip, read_weights, inside="zip"),
    "torch legacy": Format("b.pth", _torch_legacy, read_weights),
    "safetensors": Format(
        "a.safetensors", _safetensors, read_weights, inside="safetensors"
    ),
    "npz": Format("a.npz", _npz, read_weights, inside="npz"),
    "class YAML": Format("classes.yaml", _class_yaml, ClassSet.from_file),
    "class JSON": Format(
        "c.json",
        lambda path: path.write_text(json.dumps(_class_content())),
        ClassSet.from_file,
        True,
    ),
    "classes.json": Format(
        "classes.json", lambda path: save_classes(CLASSES, path), load_classes, True
    ),
    "config.json": Format("config.json", _config, _settings, True),
    "report.json": Format("report.json", _report, _compared, True),
    "config.json of a run": Format("config.json", _of_a_run, _compared, True),
    "provenance.json": Format(
        "provenance.json",
        lambda path: provenance.write({"seed": 1}, path.parent, 0),
        lambda path: provenance.read(path.parent),
        True,
    ),
    "manifest.json": Format(
        "manifest.json",
        lambda path: path.write_text('{"sources": [], "counts": {"a": 1}}'),
        lambda path: read_manifest(path.parent),
        True,
    ),
    "journal": Format(
        ".prepare.jsonl",
        lambda path: Journal(path.parent).begin({"data_set": "x", "tile": 1}, []),
        lambda path: Journal(path.parent).read(),
    ),
    "seal.json": Format(seal.NAME, _seal, _resealed),
    "metrics.jsonl": Format("metrics.jsonl", _metrics, read_json_lines),
    "counts": Format("far.npz", _counts, read_all_counts, inside="npz"),
    "converted weights": Format(
        "w.safetensors", _safetensors, read_converted, inside="safetensors"
    ),
    "Earth statistics": Format(
        "earth.npz", _statistics, EarthStatistics.load, inside="npz"
    ),
    "lock.json": Format("lock.json", _lock, _take_lock, True),
    "checkpoint's log": Format("metrics.jsonl", _metrics, lambda path: _keep(path, 5)),
    "sidecar": Format("model.json", _export, read_sidecar, True),
}

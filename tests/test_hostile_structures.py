"""Files that say more than they should: each is refused in one line that says what."""

import argparse
import io
import json
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.reliability import hostile_structures as made
from benchmarks.reliability.hostile_attacks import _torch
from benchmarks.reliability.hostile_files import (
    _take_lock,
    read_all_counts,
    read_converted,
    read_sidecar,
    read_weights,
    report,
)
from benchmarks.reliability.hostile_inputs import (
    _again,
    read_archive,
    read_both,
    read_lists,
    read_packed,
)
from crossearth_jax import config
from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.replay import _check_batch
from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.data.folders import Pair, find_pairs
from crossearth_jax.data.image_budget import check_large_file
from crossearth_jax.data.packed import FORMAT, MAX_INDEX
from crossearth_jax.data.pipeline import Augment
from crossearth_jax.data.prepare.manifest import Journal
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.earth_style.statistics import EarthStatistics
from crossearth_jax.earth_style.weights import load_style_networks
from crossearth_jax.predict.stac import items_of
from crossearth_jax.report.check_report import check_report
from crossearth_jax.run.lock import this_process
from crossearth_jax.run.metrics import _cut_after
from crossearth_jax.run_settings import check_crop
from crossearth_jax.system import read_json
from crossearth_jax.system.escape import error_line
from crossearth_jax.system.read_json import parse_json
from crossearth_jax.system.read_npz import read_npz
from crossearth_jax.tiles.journal import _tiles_of
from weights_convert.files.restricted_unpickler import MAX_VALUE

pytestmark = pytest.mark.slow

DEEP = made.text("[" * 100_000)


def jpeg_in_tiff(path):
    """A TIFF whose strip is a JPEG of 200 passes over 10 x 10 pixels."""
    stream = io.BytesIO()
    Image.new("L", (10, 10)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    at = data.rindex(b"\xff\xda")
    data = data[:at] + data[at:-2] * 200 + data[-2:]
    made.tiff((258, 3, 1, 8), (259, 3, 1, 7), data=data)(path)


def cut_program(path):
    path.with_name("m").write_bytes(b"abc")
    path.write_text(
        json.dumps({"file": "m", "bytes": 9, "sha256": "", "weights": None})
    )


def passes(path):
    stream = io.BytesIO()
    Image.new("L", (32, 32)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    at = data.rindex(b"\xff\xda")
    path.write_bytes(data[:at] + data[at:-2] * 101 + data[-2:])


def header_of_many_sizes(path):
    header = b'{"a":{"shape":[' + b"1," * 100_000
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def long_names(path):
    _torch(b"\x80\2}X" + struct.pack("<L", 9_000) + b"\n\x1b\x1b" * 3_000 + b"Ns.")(
        path
    )


def many_members(path):
    table = made.contents(180_000)
    end = struct.pack("<4s4H2LH", b"PK\5\6", *[0] * 4, len(table), 0, 0)
    path.write_bytes(table + end)


def member_with_line_break(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Train/a\nerror: b\x1b[31m.png", b"x")


def lock(**change):
    return made.text(json.dumps(this_process() | change))


def sidecar(path):
    (path.parent / "a\x1b[31m").write_bytes(b"x")
    path.write_text(json.dumps({"file": "a\x1b[31m", "sha256": "", "weights": None}))


def headers(path):
    check_headers([Pair(path, path, "a")])


def indexed(*files):
    return made.indexed(json.dumps({"format": FORMAT, "files": files}).encode())


def wide_text(path):
    text = "\U0001f600".encode() + b"x" * MAX_VALUE
    _torch(b"\x80\2X" + struct.pack("<L", len(text)) + text + b".")(path)


FRACTIONS = made.tiff((282, 5, 7_000_000, 200), (258, 3, 1, 8), data=bytes(2**21))
CASES = {  # name: (file, how it is made, how it is read, what is said)
    "sparse_png": ("a.png", made.sparse(made.png(), 10**10), read_both, "for 10 x 10"),
    "sparse_junk": ("a.png", made.sparse(b"x", 10**10), read_both, "cannot be read"),
    "sparse_tiff": ("a.tif", made.sparse(b"II*\0", 10**10), read_both, "cannot be"),
    "pieces": (
        "a.png",
        lambda p: p.write_bytes(made.png(made._piece(b"tEXt", b"a\0b") * 100_001)),
        read_both,
        "more than 100,000 pieces",
    ),
    "exif": (
        "a.png",
        lambda p: p.write_bytes(made.png(made._piece(b"eXIf", bytes(2**20 + 1)))),
        read_both,
        "bytes of EXIF data",
    ),
    "passes": ("a.jpg", passes, read_both, "more than 100 passes"),
    "strip": (
        "a.tif",
        made._unpacks(8, lambda: made.zlib.compress(bytes(2**20))),
        read_both,
        "a strip or tile of more than 800 bytes",
    ),
    "lzma_strip": (
        "a.tif",
        made._unpacks(34925, lambda: made.lzma.compress(bytes(2**20))),
        read_both,
        "a strip or tile of more than 800 bytes",
    ),
    "short_strip": (
        "a.tif",
        made.tiff((256, 4, 1, 9_000), (257, 4, 1, 9_000), (258, 3, 1, 64)),
        read_both,
        "bytes of pixels in",
    ),
    "fractions": ("a.tif", FRACTIONS, read_both, "tags have millions of values"),
    "fractions_headers": ("a.tif", FRACTIONS, headers, "tags have millions"),
    "bands": (
        "a.tif",
        made.tiff((277, 3, 1, 65_535), (258, 3, 1, 64), (339, 3, 1, 2)),
        read_both,
        "65535 bands",
    ),
    "members": ("Train.zip", many_members, read_archive, "table of contents"),
    "hidden_members": ("a.pth", made.hidden_members, read_weights, "table of contents"),
    "no_lzma": ("Train.zip", made._no_lzma, read_archive, "damaged archive"),
    "line_break": ("Train.zip", member_with_line_break, read_archive, r"\\nerror"),
    "arrays": ("a.npz", made._arrays(5_001), read_weights, "expected at most 5,000"),
    "few_arrays": ("a.npz", made._arrays(65), EarthStatistics.load, "in 65 arrays"),
    "sizes": ("a.safetensors", header_of_many_sizes, read_converted, "100,000 values"),
    "style": ("a.safetensors", DEEP, load_style_networks, "got a damaged"),
    "nan": (
        "a.npz",
        lambda p: np.savez(p, mean=np.full(100, np.nan), sqrt=np.eye(100)),
        EarthStatistics.load,
        "not finite",
    ),
    "text": ("a.pth", wide_text, read_weights, "got a value of"),
    "names": ("a.pth", long_names, read_weights, "got the entries"),
    "stac": ("a.json", DEEP, lambda p: items_of(str(p)), "nested deeper"),
    "summary": ("summary.json", DEEP, lambda p: _again(p), None),
    "lock": ("lock.json", DEEP, _take_lock, None),
    "lock_pid": ("lock.json", lock(pid="../x"), _take_lock, None),
    "lock_host": ("lock.json", lock(host=[{}]), _take_lock, None),
    "log": (
        "a.jsonl",
        made.sparse(b"{", 2**34),
        lambda p: _cut_after(p, 1),
        "damaged",
    ),
    "journal": (
        ".prepare.jsonl",
        made.sparse(b"{", 2**34),
        lambda p: Journal(p.parent).read(),
        "damaged",
    ),
    "list": ("a.txt", made.sparse(b"a", 2**34), read_lists, "8,192 characters"),
    "list_home": ("a.txt", made.text("~nobody/a b"), read_lists, "line 1: got .*~no"),
    "list_long": ("a.txt", made.text("a" * 5_000 + " b"), read_lists, "line 1: got"),
    "packed_deep": (
        "a.array_record",
        made.indexed(b"[" * 10**5),
        read_packed,
        "deeper",
    ),
    "packed_numbers": ("a.array_record", indexed(1, 2), read_packed, "no pairs"),
    "packed_long": (
        "a.array_record",
        made.indexed(b'["' + bytes(MAX_INDEX) + b'"]'),
        read_packed,
        "got an index of 50,331,652 bytes",
    ),
    "tiff_passes": ("a.tif", jpeg_in_tiff, read_both, "more than 100 passes"),
    "tiles": (
        "done-1-of-1.jsonl",
        made.sparse(b"{", 2**34),
        lambda p: list(_tiles_of(p)),
        "its tiles are cut again",
    ),
    "program": ("a.json", made._sparse_program, read_sidecar, "it has 10,000,000,000"),
    "program_cut": ("a.json", cut_program, read_sidecar, "it has 3 bytes"),
    "packed_names": (
        "a.array_record",
        indexed(["\x1b", 1], ["b", 1]),
        read_packed,
        "no pairs",
    ),
    "packed_junk": ("a.array_record", made.text("x" * 999), read_packed, "no records"),
    "sidecar": ("a.json", DEEP, read_sidecar, "got no sidecar"),
    "sidecar_name": ("a.json", sidecar, read_sidecar, r"'a\\x1b\[31m' is damaged"),
}
COUNTS = {
    "classes": {"num_classes": np.int64(10**9)},
    "no_class": {"num_classes": np.int64(-1)},
    "beyond": {"cells": np.array([0, 1, 2, 60_000])},
    "negative": {"cells": np.array([0, 1, 2, -1])},
    "nan": {"cells": np.array([0, 1, 2, np.nan])},
    "lengths": {"lengths": np.array([3])},
    "wrapped": {"lengths": np.array([2**62, 2**62, 2**62, 2**62, 4])},
    "places": {"places": np.array([np.inf])},
    "names": {"names": np.frombuffer(b"[1]", "u1")},
    "bins": {"bin_total": np.full(20, np.nan)},
    "text": {"bin_right": np.array("x")},
}


@pytest.mark.parametrize("case", CASES)
def test_it_ends_in_one_line(tmp_path, case):
    name, write, read, message = CASES[case]
    write(tmp_path / name)
    if message is None:  # what is no content of ours counts for nothing
        assert read(tmp_path / name) is None
        return
    with pytest.raises((ValueError, SystemExit), match=message) as caught:
        read(tmp_path / name)
    line = error_line(caught.value)
    assert line.isprintable() and len(line) < 1_000


@pytest.mark.parametrize("case", COUNTS)
def test_counts_of_another_shape(tmp_path, case):
    made.counts()(tmp_path / "far.npz")
    read_all_counts(tmp_path / "far.npz")
    made.counts(**COUNTS[case])(tmp_path / "far.npz")
    with pytest.raises(ValueError, match=r"far.npz, which cannot be read"):
        read_all_counts(tmp_path / "far.npz")


def test_values_of_json_are_counted_before_they_are_made(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="more than 1,000,000 values"):
        parse_json(b"[" + b"[]," * 500_000 + b"[]]")
    monkeypatch.setattr(read_json, "MAX_LINE_VALUES", 400)
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" * 58)
    with pytest.raises(ValueError, match=r"line 58: .*400 values in all"):
        read_json.read_json_lines(tmp_path / "a.jsonl")


def test_scores_of_a_report_are_counted():
    classes = [f"c{i}" for i in range(255)]
    entry = report()["domains"]["far"] | {"IoU": dict.fromkeys(classes, 0.5)}
    domains = dict.fromkeys(map(str, range(100)), entry)
    with pytest.raises(ValueError, match="100 domains of 255 classes"):
        check_report({"classes": classes, "domains": domains, "about": {}})


def test_line_breaks_in_names_of_files(tmp_path):
    for side in ("images", "labels"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a\nb.png").write_bytes(b"x")
    for read in (
        lambda: find_pairs(tmp_path / "images", tmp_path / "labels"),
        lambda: RawFiles(tmp_path),
    ):
        with pytest.raises(ValueError, match=r"control characters \(e.g. '.*a\\nb"):
            read()


def test_too_little_memory_is_one_line(capsys):
    def fail(options):
        raise MemoryError

    assert guarded(fail, argparse.Namespace(traceback=False)) == 1
    assert capsys.readouterr().err.startswith("error: got less memory than")


def test_large_images_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("crossearth_jax.data.image_budget.LARGE", 1_000)
    for name in ("a.png", "a.jpg", "a.tif"):
        pixels = np.random.default_rng(0).integers(0, 256, (50, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        check_large_file(tmp_path / name)
        label = read_label(tmp_path / name, indexed=True)
        image = read_image(tmp_path / name)
        assert np.array_equal(image, np.repeat(label[..., None], 3, axis=2))
        assert name == "a.jpg" or np.array_equal(label, pixels)


def test_a_dumped_batch_of_another_shape():
    image, label = np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.uint8)
    _check_batch(SimpleNamespace(image=image, label=label))
    for other in (label[0], label.astype(int), label[:, :2]):
        with pytest.raises(ValueError, match="and labels"):
            _check_batch(SimpleNamespace(image=image, label=other))


def test_rasters_beyond_memory(tmp_path):
    pytest.importorskip("rasterio")
    path = tmp_path / "a.vrt"
    made._vrt(2**31 - 1, "Byte")(path)
    with pytest.raises(ValueError, match="2,147,483,647 columns"):
        made._scene(path)
    made._vrt(10, "UInt32", made._COLOURS)(path)
    with pytest.raises(ValueError, match="a colour table for uint32 values"):
        made._scene(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("decoder.encoder_layers", 10**9), ("rein.rank", 10**12), ("decoder.width", -1)],
)
def test_networks_that_would_take_hours(tmp_path, key, value):
    section, _, name = key.partition(".")
    content = config.default().to_dict()
    content[section][name] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    for read in (
        lambda: config.load(tmp_path / "config.json"),
        lambda: config.with_changes({key: value}),
    ):
        with pytest.raises(ValueError, match=f"{key}={value}, expected 0 to"):
            read()


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("cells", b"x", "other things than arrays"),
        ("cells.npy", b"\x93NUMPY\1\0\2\0{(", "multi-line|EOF|header"),
    ],
)
def test_members_that_are_no_arrays(tmp_path, member, content, message):
    """Found by mutations inside of archives."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(member, content)
    with pytest.raises(ValueError, match=message):
        read_npz(tmp_path / "a.npz")


def test_scales_that_are_no_numbers():
    with pytest.raises(ValueError, match=r"got data.scales=\(\(1.0,\),\)"):
        Augment(ratios=((1.0,),))


def test_numbers_that_are_absent(tmp_path):
    content = config.default().to_dict()
    content["eval"]["batch"] = None
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"eval.batch=null, expected a number"):
        config.load(tmp_path / "config.json")


@pytest.mark.parametrize(("crop", "patch"), [(512, 0), (0, 16), (100, 16)])
def test_crops_that_patches_do_not_fill(crop, patch):
    with pytest.raises(ValueError, match="expected a multiple of twice the patch"):
        check_crop(crop, patch)

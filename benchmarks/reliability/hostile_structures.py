"""Files whose structure takes memory or time: images, archives, tables and lists.

Each is small or sparse on the disk, and sound at the first look.
"""

import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.hostile_files import (
    read_all_counts,
    read_converted,
    read_sidecar,
    read_weights,
)
from benchmarks.reliability.hostile_inputs import (
    read_archive,
    read_both,
    read_lists,
    read_packed,
)
from crossearth_jax.commands.predict_summary import read_summary
from crossearth_jax.data.pack import FORMAT, OPTIONS
from crossearth_jax.data.packed import array_record
from crossearth_jax.data.prepare.manifest import Journal, read_manifest
from crossearth_jax.earth_style.weights import load_style_networks
from crossearth_jax.predict.scene import Reading, open_scene
from crossearth_jax.predict.stac import items_of
from crossearth_jax.system.read_json import read_json_lines
from crossearth_jax.tiles.journal import _tiles_of
from crossearth_jax.tiles.parquet import check_parquet

Write = Callable[[Path], object]


def sparse(head: bytes, size: int) -> Write:
    """A file of `size` bytes that begins with `head` and holds zeros."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(head)
            file.truncate(size)

    return write


def text(content: str) -> Write:
    """A text file."""
    return lambda path: path.write_text(content)


def repeated(piece: bytes, times: int, head: bytes = b"", tail: bytes = b"") -> Write:
    """A file of one piece again and again."""
    return lambda path: path.write_bytes(head + piece * times + tail)


def _piece(kind: bytes, content: bytes) -> bytes:
    end = struct.pack(">L", zlib.crc32(kind + content))
    return struct.pack(">L", len(content)) + kind + content + end


def png(*pieces: bytes) -> bytes:
    """A PNG of 10 x 10 pixels with more pieces before its pixels."""
    head = struct.pack(">2L5B", 10, 10, 8, 0, 0, 0, 0)
    parts = [_piece(b"IHDR", head), *pieces, _piece(b"IDAT", zlib.compress(bytes(110)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, _piece(b"IEND", b"")])


def passes(path: Path) -> None:
    """A JPEG of 100 megapixels that is painted over 2,000 times."""
    stream = io.BytesIO()
    Image.new("L", (9_990, 9_990)).save(stream, "JPEG", progressive=True, quality=10)
    data = stream.getvalue()
    at = data.rindex(b"\xff\xda")
    path.write_bytes(data[:at] + data[at:-2] * 2_000 + data[-2:])


def _passes_in_tiff(path: Path) -> None:
    passes(path)
    kind = [(256, 4, 1, 9_990), (257, 4, 1, 9_990), (259, 3, 1, 7), (258, 3, 1, 8)]
    tiff(*kind, (278, 4, 1, 9_990), data=path.read_bytes())(path)


def _sparse_program(path: Path) -> None:
    """An export whose program has 10 GB on no disk."""
    about = {"file": "a.stablehlo", "sha256": "", "bytes": 10**10, "weights": None}
    path.write_text(json.dumps(about))
    sparse(b"", 10**10)(path.with_name("a.stablehlo"))


def _houses(path: Path) -> None:
    """A million times one polygon of 10 kB, which Parquet keeps once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = pa.array([bytes(10_000)])
    indices = pa.array(np.zeros(1_000_000, np.int32))
    table = pa.table({"geometry": pa.DictionaryArray.from_arrays(indices, shape)})
    pq.write_table(table, path)


def tiff(*tags: tuple[int, int, int, int], data: bytes = b"") -> Write:
    """A TIFF of 10 x 10 pixels; a tag is a code, a type, a count and a value."""
    usual = [(256, 4, 1, 10), (257, 4, 1, 10), (262, 3, 1, 1), (277, 3, 1, 1)]
    strip = [(273, 4, 1, 200), (278, 4, 1, 10), (279, 4, 1, len(data) or 100)]
    given = {tag[0]: tag for tag in [*usual, *strip, *tags]}
    entries = b"".join(struct.pack("<HHLL", *given[code]) for code in sorted(given))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(given)) + entries + bytes(4)
    return lambda path: path.write_bytes(head.ljust(200, b"\0") + data)


def _unpacks(compression: int, pack: Callable[[], bytes]) -> Write:
    """64-bit numbers in a strip that becomes far more than 10 x 10 of them."""
    kind = [(258, 3, 1, 64), (259, 3, 1, compression), (339, 3, 1, 2)]
    return lambda path: tiff(*kind, data=pack())(path)


def contents(count: int) -> bytes:
    """The table of contents of a zip archive, 50 bytes for each of its members."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, *[0] * 7, 7, *[0] * 6)
    return b"".join(entry + b"%07d" % number for number in range(count))


def _members(path: Path) -> None:
    table = contents(400_000)
    end = struct.pack("<4s4H2LH", b"PK\5\6", *[0] * 4, len(table), 0, 0)
    path.write_bytes(table + end)


def hidden_members(path: Path) -> None:
    """Members counted in the 64-bit record, behind which a false one shows none."""
    table = contents(400_000)
    sizes = 400_000, 400_000, len(table), 0
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *sizes)
    place = b"PK\6\7" + bytes(4) + b"PK\6\6" + bytes(4) + struct.pack("<L", 1)
    full = 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *full, 50)
    path.write_bytes(b"PK\3\4" + table + record + place + end + bytes(50))


def _no_lzma(path: Path) -> None:
    """A member said to be LZMA, which it is not."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Train/a.png", b"\x09\x04\x05\x00" + b"\xff" * 200)
    data, table = bytearray(path.read_bytes()), path.read_bytes().index(b"PK\1\2")
    data[8:10] = data[table + 10 : table + 12] = struct.pack("<H", 14)
    path.write_bytes(data)


def _one_member(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Train/a.png", png() + bytes(159_000_000))


def _arrays(count: int) -> Write:
    """An archive of empty arrays."""

    def write(path: Path) -> None:
        stream = io.BytesIO()
        np.save(stream, np.zeros(0, np.float32))
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(count):
                archive.writestr(f"{number}.npy", stream.getvalue())

    return write


def counts(**arrays: np.ndarray) -> Write:
    """Counts of one image in which some arrays are others."""
    usual = {"num_classes": np.int64(2), "names": np.frombuffer(b'["a"]', "u1")}
    usual |= {"places": np.array([0]), "lengths": np.array([4])}
    usual |= {"cells": np.arange(4), "pixels": np.arange(4)}
    usual |= {f"bin_{name}": np.zeros(20) for name in ("pixels", "right", "total")}
    return lambda path: np.savez_compressed(path, **(usual | arrays))


def indexed(index: bytes) -> Write:
    """A packed split with an index of one's own."""

    def write(path: Path) -> None:
        writer = array_record().ArrayRecordWriter(str(path), OPTIONS)
        for record in (b"a", b"b", index):
            writer.write(record)
        writer.close()

    return write


def _scene(path: Path) -> None:
    with open_scene(path, Reading()) as scene:
        scene.read_rows(0, 1)


def _vrt(width: int, kind: str, band: str = "") -> Write:
    return text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="10">'
        f'<VRTRasterBand dataType="{kind}" band="1">{band}</VRTRasterBand></VRTDataset>'
    )


_LISTS = repeated(b"[],", 5_000_000, b"[", b"[]]")
_DEEP = repeated(b"[", 10**6)
_COLOURS = (
    "<ColorInterp>Palette</ColorInterp><ColorTable>"
    '<Entry c1="1" c2="2" c3="3" c4="255"/></ColorTable>'
)
_SIZES = repeated(
    b"1,", 10**7, struct.pack("<Q", 2 * 10**7 + 60) + b'{"a":{"dtype":"F32","shape":['
)

STRUCTURES: dict[str, tuple[str, Write, Callable[[Path], object]]] = {
    "PNG, sparse 10 GB": ("a.png", sparse(png(), 10**10), read_both),
    "PNG, 3 million pieces": (
        "b.png",
        lambda path: path.write_bytes(png(_piece(b"tEXt", b"a\0b") * 3_000_000)),
        read_both,
    ),
    "JPEG, 2,000 passes": ("a.jpg", passes, read_both),
    "TIFF, a JPEG of 2,000 passes": ("e.tif", _passes_in_tiff, read_both),
    "TIFF, a strip of 1 GB": (
        "a.tif",
        _unpacks(8, lambda: zlib.compress(bytes(2**30), 1)),
        read_both,
    ),
    "TIFF, the same as LZMA": (
        "b.tif",
        _unpacks(34925, lambda: lzma.compress(bytes(2**28), preset=0)),
        read_both,
    ),
    "TIFF, 7 million fractions": (
        "c.tif",
        tiff((282, 5, 7_000_000, 200), (258, 3, 1, 8), data=bytes(56_000_000)),
        read_both,
    ),
    "TIFF, 65,535 bands": (
        "d.tif",
        tiff((277, 3, 1, 65_535), (258, 3, 1, 64), (339, 3, 1, 2)),
        read_both,
    ),
    "zip, 400,000 members": ("Train.zip", _members, read_archive),
    "zip, members behind a record": ("Train.zip", hidden_members, read_archive),
    "zip, a member of 159 MB": ("Train.zip", _one_member, read_archive),
    "zip, no LZMA": ("Train.zip", _no_lzma, read_archive),
    "npz, 20,000 arrays": ("a.npz", _arrays(20_000), read_weights),
    "safetensors, 10 million sizes": (
        "a.safetensors",
        _SIZES,
        read_converted,
    ),
    "style, 10 million sizes": (
        "a.safetensors",
        _SIZES,
        load_style_networks,
    ),
    "counts, 250 MB of cells": (
        "far.npz",
        counts(cells=np.zeros(250_000_000, np.uint8)),
        read_all_counts,
    ),
    "counts, a billion classes": (
        "far.npz",
        counts(num_classes=np.int64(10**9)),
        read_all_counts,
    ),
    "JSON lines, 20 million": (
        "a.jsonl",
        repeated(b"{}\n", 20_000_000),
        read_json_lines,
    ),
    "journal, sparse 16 GB": (
        ".prepare.jsonl",
        sparse(b"{", 2**34),
        lambda path: Journal(path.parent).read(),
    ),
    "manifest, 15 MB of lists": (
        "manifest.json",
        _LISTS,
        lambda path: read_manifest(path.parent),
    ),
    "STAC, 15 MB of lists": ("a.json", _LISTS, lambda path: items_of(str(path))),
    "STAC, a million deep": (
        "a.json",
        _DEEP,
        lambda path: items_of(str(path)),
    ),
    "summary, sparse 16 GB": (
        "summary.json",
        sparse(b"{", 2**34),
        lambda path: read_summary((path, path.with_suffix(".csv")), overwrite=False),
    ),
    "list, 16 million lines": ("a.txt", repeated(b"a b\n", 2**24), read_lists),
    "list, a line of 64 MB": ("a.txt", repeated(b"a", 2**26), read_lists),
    "list, sparse 16 GB": ("a.txt", sparse(b"a", 2**34), read_lists),
    "packed, 15 MB of lists": (
        "a.array_record",
        indexed(b"[" + b"[]," * 5_000_000 + b"[]]"),
        read_packed,
    ),
    "packed, an index of 60 MB": (
        "a.array_record",
        indexed(b'["' + bytes(60_000_000) + b'"]'),
        read_packed,
    ),
    "packed, names that are numbers": (
        "a.array_record",
        indexed(json.dumps({"format": FORMAT, "files": [1, 2]}).encode()),
        read_packed,
    ),
    "sidecar, a million deep": ("a.json", _DEEP, read_sidecar),
    "program, sparse 10 GB": ("a.json", _sparse_program, read_sidecar),
    "tiles, sparse 16 GB": (
        "done-1-of-1.jsonl",
        sparse(b"{", 2**34),
        lambda path: list(_tiles_of(path)),
    ),
    "GeoParquet, a million times one": ("a.parquet", _houses, check_parquet),
    "sidecar, sparse 16 GB": ("a.json", sparse(b"{", 2**34), read_sidecar),
    "VRT, 2 billion columns": ("a.vrt", _vrt(2**31 - 1, "Byte"), _scene),
    "VRT, 4 billion colours": ("a.vrt", _vrt(10, "UInt32", _COLOURS), _scene),
}

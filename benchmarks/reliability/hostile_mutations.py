"""Sound files, changed at random: bytes, numbers, pieces, values of JSON, insides.

Bytes changed inside of a zip archive or a PNG only meet its checksum. So members,
arrays, headers and pieces are changed, too, and put back with checksums that fit.
"""

import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from benchmarks.reliability.hostile_files import Format

_NUMBERS = (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
_WORDS = (b"[" * 500, b"{" * 50, b"\x1b[31m", b"../../", b"NaN", b"1e999", b'"', b"\0")
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 255, 10**30, 0.5, -1e308, float("nan")),
    *("", "x", "..", "a/b", "\x1b[31m", "x" * 3_000, "=cmd", "<script>", "\ud800"),
    *([], [[]], [None], [1, 2, 3], {}, {"a": 1}, {"": {}}, [[[[[[[[[]]]]]]]]]),
)
_ARRAYS: tuple[np.ndarray, ...] = (
    *(np.array(value) for value in (0, -1, 10**9, np.nan, np.inf, "x", 1j, True)),
    *(np.zeros(0), np.zeros((2, 2), int), np.arange(-3, 3), np.full(20, np.nan)),
    *(np.array([2**62, 2**62]), np.arange(4, dtype=">u2"), np.array(["a", "b"])),
    *(np.zeros((100, 100)), np.zeros(3, "M8[s]"), np.zeros((1,) * 20)),
)


def mutated(kind: Format, sound: bytes, draw: random.Random) -> bytes:
    """One mutation or several of a sound file."""
    if kind.is_json and draw.random() < 0.7:
        content = json.loads(sound)
        for _ in range(draw.choice([1, 1, 2])):
            content = _exchanged(content, draw)
        return json.dumps(content).encode("utf-8", "surrogatepass")
    if kind.inside and draw.random() < 0.6:
        return _INSIDE[kind.inside](sound, draw)
    return _changed(sound, draw)


def _changed(sound: bytes, draw: random.Random) -> bytes:
    data = bytearray(sound)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        _mutate(data, draw)
    return bytes(data)


def _mutate(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice([1, 4, 30, 200]))
    match draw.randrange(7):
        case 0 if at < len(data):
            data[at] = draw.randrange(256)
        case 1 if at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end] * draw.choice([1, 1, 50])
        case 4:
            piece = draw.choice(_NUMBERS)
            data[at : at + len(piece)] = piece
        case 5:
            data[at:at] = draw.choice(_WORDS)
        case _:
            del data[at:]


def _exchanged(content: Any, draw: random.Random) -> Any:
    """A copy in which one value, at any depth, is another, absent or twice there."""
    if not isinstance(content, dict | list) or not content or draw.random() < 0.15:
        return draw.choice(_VALUES)
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = draw.choice(keys)
    copy = content.copy()
    match draw.randrange(6):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[draw.choice(["x", "..", "", "\x1b[31m", "y" * 300])] = copy[key]
        case 1 if isinstance(copy, list):
            copy.append(copy[key])
        case _:
            copy[key] = _exchanged(copy[key], draw)
    return copy


def _in_zip(sound: bytes, draw: random.Random) -> bytes:
    """One member changed, and its checksum with it."""
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        members = [(entry, archive.read(entry)) for entry in archive.infolist()]
    chosen, made = draw.randrange(len(members)), io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number, (entry, content) in enumerate(members):
            if number == chosen:
                content = _in_any(content, draw)
            kept = zipfile.ZipInfo(entry.filename)
            kept.compress_type = entry.compress_type
            archive.writestr(kept, content)
    return made.getvalue()


def _in_any(content: bytes, draw: random.Random) -> bytes:
    is_png = content.startswith(_PNG) and draw.random() < 0.7
    return (_in_png if is_png else _changed)(content, draw)


def _in_npz(sound: bytes, draw: random.Random) -> bytes:
    """One array exchanged, cut, absent or of another type."""
    if draw.random() < 0.3:
        return _in_zip(sound, draw)
    with np.load(io.BytesIO(sound)) as file:
        arrays = dict(file)
    key = draw.choice(list(arrays))
    match draw.randrange(5):
        case 0:
            del arrays[key]
        case 1:
            kind = draw.choice(["f4", "i8", "u1", "c8", "?", ">i4"])
            arrays[key] = arrays[key].astype(kind)
        case 2:
            size = arrays[key].size
            arrays[key] = np.resize(arrays[key], draw.randrange(2 * size + 2))
        case _:
            arrays[key] = draw.choice(_ARRAYS)
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    return made.getvalue()


def _in_safetensors(sound: bytes, draw: random.Random) -> bytes:
    """A value of the header exchanged, its length with it."""
    (length,) = struct.unpack("<Q", sound[:8])
    table = _exchanged(json.loads(sound[8 : 8 + length]), draw)
    header = json.dumps(table).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + sound[8 + length :]


_PNG = b"\x89PNG\r\n\x1a\n"


def _in_png(sound: bytes, draw: random.Random) -> bytes:
    """One piece changed, twice there or absent; lengths and checksums fit."""
    at, pieces = len(_PNG), []
    while at < len(sound):
        (length,) = struct.unpack_from(">L", sound, at)
        pieces.append((sound[at + 4 : at + 8], sound[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = draw.randrange(len(pieces))
    kind, content = pieces[chosen]
    match draw.randrange(5):
        case 0:
            del pieces[chosen]
        case 1:
            pieces.insert(draw.randrange(len(pieces)), (kind, content))
        case 2:
            kind = draw.choice([b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"acTL", b"zTXt"])
            pieces.insert(1, (kind, draw.randbytes(draw.choice([0, 3, 50]))))
        case 3 if kind == b"IDAT":
            pixels = _changed(zlib.decompress(content), draw)
            pieces[chosen] = kind, zlib.compress(pixels)
        case _:
            pieces[chosen] = kind, _changed(content, draw)
    made = [_PNG]
    for kind, content in pieces:
        end = struct.pack(">L", zlib.crc32(kind + content))
        made += [struct.pack(">L", len(content)), kind, content, end]
    return b"".join(made)


_INSIDE = {
    "zip": _in_zip,
    "npz": _in_npz,
    "safetensors": _in_safetensors,
    "png": _in_png,
}

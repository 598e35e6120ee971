"""Files made to take memory, time or the terminal, each with its time and memory.

Run as a program, it reads the files of a folder one by one and prints a line of JSON
for each: what it took above the imports, and how it ended.
"""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.hostile_files import read_weights
from benchmarks.reliability.hostile_inputs import read_archive, read_both
from benchmarks.reliability.hostile_structures import STRUCTURES
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.system.escape import error_line
from crossearth_jax.system.read_json import read_json
from weights_convert.files.torch_legacy import MAGIC, VERSION

LIMIT_MB, LIMIT_S = 300, 2.0
_SET, _DICT = b"cbuiltins\nset\n", b"ccollections\nOrderedDict\n"


@dataclass(frozen=True)
class Taken:
    """How a file was refused.

    Attributes:
      name: of the attack.
      size: of the file, bytes.
      seconds: of processor time.
      megabytes: of memory above what the program took before.
      said: the error; "" where the file was read.
    """

    name: str
    size: int
    seconds: float
    megabytes: float
    said: str

    @property
    def held(self) -> bool:
        """Whether it was refused within the limits and in a short message."""
        small = self.seconds < LIMIT_S and self.megabytes < LIMIT_MB
        is_line = 0 < len(self.said) < 1_000 and self.said.isprintable()
        return small and is_line


def _again(builder: bytes, argument: bytes, times: int = 60_000) -> bytes:
    """A pickle that calls a builder with one memoised argument, again and again."""
    calls = b"h\1h\0\x85R" * times
    return b"\x80\2" + argument + b"q\0" + builder + b"q\1" + calls + b"."


def _numbers(count: int) -> bytes:
    return b"](" + b"".join(b"J" + struct.pack("<i", i) for i in range(count)) + b"e"


def _pairs(count: int) -> bytes:
    pairs = (b"J" + struct.pack("<i", i) + b"N\x86" for i in range(count))
    return b"](" + b"".join(pairs) + b"e"


def _torch(content: bytes) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", content)

    return write


def _legacy(content: bytes) -> Callable[[Path], object]:
    heads = [pickle.dumps(x, 2) for x in (MAGIC, VERSION, {"little_endian": True})]
    return lambda path: path.write_bytes(b"".join(heads) + content)


def _axes(count: int) -> Callable[[Path], object]:
    entry = {"dtype": "F32", "shape": [1] * count, "data_offsets": [0, 4]}
    header = json.dumps({"a": entry}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(4)
    return lambda path: path.write_bytes(data)


def _lists(path: Path) -> None:
    header = b'{"a":[' + b"[]," * 1_390_000 + b"[]]}"
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def _strings() -> bytes:
    text = b"X" + struct.pack("<L", 2**20) + b"x" * 2**20
    return b"\x80\2](" + text * 60 + b"e."


def _wide() -> bytes:
    """One character that makes four bytes of each of the others."""
    text = "\U0001f600".encode() + b"x" * 60 * 2**20
    return b"\x80\2X" + struct.pack("<L", len(text)) + text + b"."


def _sparse(path: Path) -> None:
    """A terabyte of which next to nothing is on the disk."""
    size = 2**40
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({"a": entry}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def _references() -> str:
    """Nine lists in nine lists in nine …: 380 bytes for 58 MB of text."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for one, other in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{other}: &{other} [{', '.join([f'*{one}'] * 9)}]")
    return "\n".join([*lines, "classes: *h\n"])


def _large_member(path: Path) -> None:
    """A zip archive whose only image says that it has 4 GB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Train/images/a.png", bytes(5 * 2**20))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", 2**32 - 16)
    path.write_bytes(data)


def _pixels(path: Path) -> None:
    Image.new("1", (30_000, 30_000)).save(path)


def _zeros(path: Path) -> None:
    np.savez_compressed(path, a=np.zeros(2**27, np.uint8))


ATTACKS: dict[
    str, tuple[str, Callable[[Path], object], Callable[[Path], object]]
] = {  # name: (file name, how it is made, how it is read)
    "pickle, sets of one list": (
        "a.pth",
        _torch(_again(_SET, _numbers(100_000))),
        read_weights,
    ),
    "pickle, tables of one list": (
        "b.pth",
        _torch(_again(_DICT, _pairs(50_000))),
        read_weights,
    ),
    "pickle, a million lists": (
        "c.pth",
        _torch(b"\x80\2" + b"]" * 10**6 + b"."),
        read_weights,
    ),
    "the same before PyTorch 1.6": (
        "d.pth",
        _legacy(_again(_SET, _numbers(100_000))),
        read_weights,
    ),
    "safetensors, 50,000 axes": ("a.safetensors", _axes(50_000), read_weights),
    "safetensors, a million axes": ("b.safetensors", _axes(1_000_000), read_weights),
    "safetensors, 4 MB of lists": ("d.safetensors", _lists, read_weights),
    "safetensors, a sparse terabyte": ("c.safetensors", _sparse, read_weights),
    "npz, 128 MB of zeros": ("a.npz", _zeros, read_weights),
    "YAML, references": ("a.yaml", _text(_references()), ClassSet.from_file),
    "YAML, 20,000 deep": ("b.yaml", _text("a: " + "[" * 20_000), ClassSet.from_file),
    "JSON, 4 MB of lists": ("c.json", _text("[" + "[]," * 1_390_000), read_json),
    "pickle, 60 MB of text": ("e.pth", _torch(_strings()), read_weights),
    "JSON, a million deep": ("a.json", _text("[" * 10**6), read_json),
    "JSON, 10 MB of a name": ("b.json", _text('{"' + "x" * 10**7 + '": 1}'), read_json),
    "zip, a member of 4 GB": ("Train.zip", _large_member, read_archive),
    "PNG, 30,000 x 30,000": ("a.png", _pixels, read_both),
    "pickle, 60 MB of wide text": ("f.pth", _torch(_wide()), read_weights),
    **STRUCTURES,
}


def taken(folder: Path) -> list[Taken]:
    """Writes all files, reads them in a process of its own, and says what it took."""
    for name, (file, write, _) in ATTACKS.items():
        (folder / name.replace(" ", "_")).mkdir(parents=True, exist_ok=True)
        write(folder / name.replace(" ", "_") / file)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability.hostile_attacks", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise ValueError(f"the reading process ended: {done.stderr[-1_000:]}")
    return [Taken(**json.loads(line)) for line in done.stdout.splitlines()]


def _each(folder: Path) -> Iterator[Taken]:
    for name, (file, _, read) in ATTACKS.items():
        path = folder / name.replace(" ", "_") / file
        _forget_peak()
        begin, before, said = time.process_time(), _peak_mb(), ""
        try:
            read(path)
        except (ValueError, OSError, SystemExit) as error:
            said = error_line(error)
        seconds = time.process_time() - begin
        yield Taken(name, path.stat().st_size, seconds, _peak_mb() - before, said)


def _peak_mb() -> float:
    """The most memory since `_forget_peak`, where the system tells."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    for one in _each(Path(sys.argv[1])):
        print(json.dumps(vars(one)))

"""How long the table of contents of a zip archive is, told before it is read."""

from pathlib import Path
from struct import Struct
from typing import BinaryIO
from zipfile import BadZipFile

_END = Struct("<4s4H2LH")  # end of the table of contents
_END64, _PLACE64 = 56, 20  # bytes of the same with 64 bits, and of what follows it


def check_directory(path: Path, max_bytes: int) -> None:
    """Refuses a table of contents that would take long to read: 12 us an entry.

    Args:
      path: the archive.
      max_bytes: of the table; an entry takes 47 to 150.

    Raises:
      BadZipFile: it is longer, or there is none.
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        check_directory_of(file, max_bytes)


def check_directory_of(file: BinaryIO, max_bytes: int) -> None:
    """As `check_directory`, of an open file that can be read in any order."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - 2**16))
    tail = file.read()
    if (at := tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)) < 0:
        raise BadZipFile("it has no table of contents")
    length = _END.unpack_from(tail, at)[5]
    place = tail[max(0, at - _PLACE64) : at]
    if place.startswith(b"PK\6\7"):
        # Pythons differ in which they believe: what is before it or where it says.
        before = tail[max(0, at - _PLACE64 - _END64) :]
        file.seek(min(int.from_bytes(place[8:16], "little"), size))
        said = _length64(before), _length64(file.read(_END64))
        length = max(length % (2**32 - 1), *said)
    if length > max_bytes:
        raise BadZipFile(f"its table of contents has {length:,} bytes")


def _length64(record: bytes) -> int:
    return int.from_bytes(record[40:48], "little") if record[:4] == b"PK\6\6" else 0

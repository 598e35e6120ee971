"""Reads the archive of a split: one file instead of tens of thousands.

Network disks take longer to open a file than to read it. The archive is an ArrayRecord:
records 2i and 2i + 1 are image and label i, byte for byte as they were in their files;
the last record is the index. `pack.py` writes it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

from crossearth_jax.system.escape import quoted, terminal
from crossearth_jax.system.read_json import parse_json

if TYPE_CHECKING:  # absent on Windows, and slow to import for folders
    from array_record.python.array_record_module import ArrayRecordReader

SUFFIX = ".array_record"
FORMAT = "crossearth_jax 1"
NAME = 300  # characters of a name
MAX_VALUES = 3_000_000  # of the index; 500,000 pairs
MAX_INDEX = 48 * 2**20  # bytes of it; ArrayRecord takes 3.5 times as much to read it


@dataclass(frozen=True)
class Packed:
    """A file inside an archive; to readers the same as a `Path`.

    Attributes:
      archive: the archive.
      record: number of the record.
      name: as the file was called, e.g. "images/t01.png".
      size: bytes.
    """

    archive: Path
    record: int
    name: str
    size: int

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    @property
    def suffix(self) -> str:
        """The name's last part, with its point."""
        return PurePosixPath(self.name).suffix

    def read_bytes(self) -> bytes:
        """The file's content.

        Raises:
          OSError: the archive cannot be read here; ArrayRecord's checksum included.
        """
        try:
            (content,) = _open(self.archive).read([self.record])
        except (RuntimeError, IndexError, ValueError) as error:
            raise OSError(f"damaged archive {self.archive}: {error}") from error
        if len(content) != self.size:
            raise OSError(f"damaged archive {self.archive}: {len(content)} bytes")
        return content


def packed_files(archive: Path) -> tuple[tuple[Packed, Packed], ...]:
    """(image, label) of every pair in an archive, in its order; reads the index only.

    Raises:
      ImportError: there is no ArrayRecord, as on Windows.
      ValueError: it is missing, cut off, or not an archive of ours.
    """
    index = _index(archive)
    files = [
        Packed(archive, record, name, size)
        for record, (name, size) in enumerate(index["files"])
    ]
    return tuple(zip(files[0::2], files[1::2], strict=True))


def _index(archive: Path) -> dict[str, Any]:
    try:
        archive.open("rb").close()  # ArrayRecord takes a missing file for an empty one
        _open.cache_clear()  # it may have been packed again
        reader = _open(archive)
        # A file that was cut off has no records.
        if not (records := reader.num_records()):
            raise ValueError("it has no records")
        (text,) = reader.read([records - 1])
        if len(text) > MAX_INDEX:
            raise ValueError(
                f"got an index of {len(text):,} bytes: at most {MAX_INDEX:,}"
            )
        index = parse_json(text, max_values=MAX_VALUES)
        if index["format"] != FORMAT or len(index["files"]) + 1 != records:
            raise ValueError(f"its index says {quoted(index['format'])}")
        if records % 2 == 0 or not all(map(_is_entry, index["files"])):
            raise ValueError("its index lists no pairs of files")
    except ImportError:
        raise
    except Exception as error:  # the content decides what goes wrong
        reason = terminal(str(error), 200)
        raise ValueError(
            f"{archive}: cannot be read as a packed split ({reason}), expected what "
            "`crossearth prepare --pack` writes: pack or copy it again"
        ) from error
    return index


def _is_entry(entry: Any) -> bool:
    """Whether it is a name that can be shown, and a size."""
    if not isinstance(entry, list) or [type(part) for part in entry] != [str, int]:
        return False
    name, size = entry
    return name.isprintable() and len(name) <= NAME and size >= 0


def array_record() -> ModuleType:
    """The library that reads and writes archives.

    Raises:
      ImportError: it is not installed, as on Windows; tells what to do.
    """
    try:
        import array_record.python.array_record_module as library
    except ImportError as error:
        raise ImportError(
            f"got no array_record ({error}), expected it for packed splits: "
            "pip install array_record (Linux, macOS), or use the folders themselves"
        ) from error
    return library


@cache
def _open(archive: Path) -> "ArrayRecordReader":
    """One reader for each archive and process; it may be shared by threads."""
    return array_record().ArrayRecordReader(
        str(archive),
        options="readahead_buffer_size:0",  # records are read in any order
        file_reader_buffer_size=32768,
    )

"""Zip and tar archives opened for reading, also those that lie in other archives.

An archive that is stored in another without compression is read through a slice of the
outer file. A compressed one is unpacked to a temporary file first, in each process.
"""

import bz2
import gzip
import io
import lzma
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from crossearth_jax.data.prepare.formats import why_not_whole
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.zip_directory import check_directory_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_DIRECTORY = 8 * 2**20  # bytes of an archive's table of contents
MAX_MEMBERS = 60_000  # of an archive; the largest data set has 30,000
PIECE = 2**22  # bytes unpacked at a time
IN_MEMORY = 2**26  # bytes of an unpacked archive, before it goes to a file
MAX_GROWTH = 20  # times; scenes that are compressed without loss grow by 2 to 5
MAX_OPEN = 32
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(OSError, MemoryError, struct.error),
)
_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar")


class NoRoomError(ValueError):
    """An archive that cannot be unpacked here, whatever it holds."""


def archive_suffix(name: str) -> str:
    """The ending by which a file is an archive that is read, ".zip"; "" for others."""
    endings = (end for end in (".zip", *_TARS) if name.lower().endswith(end))
    return next((name[-len(end) :] for end in endings), "")


class _Slice(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, owner: "Archive", start: int, size: int) -> None:
        self.owner = owner  # which closes the file when nobody needs it any more
        self.start, self.size, self.place = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        place = offset + (0, self.place, self.size)[whence]
        if place < 0:
            raise OSError(f"got place {place} in a file")
        self.place = place
        return place

    def readinto(self, buffer: "Buffer", /) -> int:
        view = memoryview(buffer)
        left = max(0, self.size - self.place)
        self.owner.file.seek(self.start + self.place)
        found = self.owner.file.read(min(len(view), left))
        view[: len(found)] = found
        self.place += len(found)
        return len(found)


class Archive(ABC):
    """An open archive, which closes its file when it is forgotten."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    @abstractmethod
    def sizes(self) -> Iterator[tuple[str, int]]:
        """Names of the files in it, and their bytes."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file in it."""

    @abstractmethod
    def nested(self, name: str) -> BinaryIO:
        """A file in it that can be read in any order."""

    def __del__(self) -> None:
        self.file.close()

    def _slice(self, start: int, size: int) -> BinaryIO:
        if start + size > self.file.seek(0, io.SEEK_END):
            raise zipfile.BadZipFile("it ends within a member")
        return io.BufferedReader(_Slice(self, start, size), 2**16)


class _Zip(Archive):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        check_directory_of(file, MAX_DIRECTORY)
        self.zip = zipfile.ZipFile(file)
        _check_number(len(self.zip.infolist()))

    def sizes(self) -> Iterator[tuple[str, int]]:
        for info in self.zip.infolist():
            if info.filename and not info.is_dir():
                yield info.filename, info.file_size

    def open(self, name: str) -> IO[bytes]:
        return self.zip.open(name)

    def nested(self, name: str) -> BinaryIO:
        info = self.zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            if (size := info.file_size) > _most(info.compress_size):
                raise zipfile.BadZipFile(f"it grows from {info.compress_size:,} bytes")
            with self.zip.open(info) as stream:
                return _unpacked(stream, size)
        self.file.seek(info.header_offset)
        header = self.file.read(30)
        if len(header) < 30 or not header.startswith(b"PK\3\4"):
            raise zipfile.BadZipFile("a member has no header")
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:])
        start = info.header_offset + len(header) + name_bytes + extra_bytes
        return self._slice(start, info.file_size)


class _Tar(Archive):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.tar = tarfile.open(fileobj=file, mode="r:")
        self.infos: dict[str, tarfile.TarInfo] = {}
        for number, info in enumerate(self.tar, 1):
            _check_number(number)
            if info.isreg():  # neither folders nor links
                self.infos[info.name] = info

    def sizes(self) -> Iterator[tuple[str, int]]:
        return ((name, info.size) for name, info in self.infos.items())

    def open(self, name: str) -> IO[bytes]:
        stream = self.tar.extractfile(self.infos[name])
        assert stream is not None  # of a regular file
        return stream

    def nested(self, name: str) -> BinaryIO:
        info = self.infos[name]
        return self._slice(info.offset_data, info.size)


def open_archive(path: Path, within: tuple[str, ...] = ()) -> Archive:
    """An archive with its index, kept open for its many members.

    Args:
      path: of the outermost archive.
      within: names of the archive in it, of one in that, and so on.

    Raises:
      ValueError: it is damaged, or not what its name says.
    """
    stat = path.stat()
    return _open_version(path, within, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=MAX_OPEN)
def _open_version(
    path: Path, within: tuple[str, ...], changed: int, size: int
) -> Archive:
    outer = open_archive(path, within[:-1]) if within else None
    name = within[-1] if within else path.name
    try:
        file = outer.nested(name) if outer else path.open("rb")
        return _opened(file, archive_suffix(name))
    except NoRoomError as error:
        raise ValueError(f"{_shown(path, within)}: {error}") from error
    except (*DAMAGED, NotImplementedError, RuntimeError, ValueError) as error:
        kind = "zip" if archive_suffix(name).lower() == ".zip" else "tar"
        why = why_not_whole(path, within, kind, size, error)
        raise ValueError(f"{_shown(path, within)}: {why}") from error


def _opened(file: BinaryIO, suffix: str) -> Archive:
    try:
        if suffix.lower() == ".zip":
            return _Zip(file)
        if suffix.lower() == ".tar":
            return _Tar(file)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return _Tar(_decompressed(file, suffix.lower(), _most(size)))
    except BaseException:
        file.close()
        raise


def _decompressed(file: BinaryIO, suffix: str, most: int) -> BinaryIO:
    kinds = {"gz": gzip.open, "bz": bz2.open, "xz": lzma.open}
    opened = next(kinds[key] for key in kinds if key in suffix)
    with file, opened(file) as stream:
        return _unpacked(stream, most)


def _unpacked(stream: IO[bytes], most: int) -> BinaryIO:
    """A temporary file with at most so many bytes."""
    whole = tempfile.SpooledTemporaryFile(IN_MEMORY)
    try:
        done = 0
        while piece := stream.read(PIECE):
            done += len(piece)
            if done > most:
                raise zipfile.BadZipFile(f"it grows beyond {most:,} bytes")
            _check_room(done)
            whole.write(piece)
        whole.seek(0)
        return whole  # pyright: ignore[reportReturnType]
    except BaseException:
        whole.close()
        raise


def _check_room(done: int) -> None:
    place = tempfile.gettempdir()
    if done > IN_MEMORY and shutil.disk_usage(place).free < 2 * PIECE:
        raise NoRoomError(
            f"got no room in {place} to unpack it, expected as much as it holds: set "
            "TMPDIR to a folder on a larger disk, or extract it yourself"
        )


def _most(size: int) -> int:
    return MAX_GROWTH * size + IN_MEMORY


def _check_number(count: int) -> None:
    if count > MAX_MEMBERS:
        raise ValueError(f"it has {count:,} members")


def _shown(path: Path, within: tuple[str, ...]) -> str:
    return f"{path} [{terminal('/'.join(within))}]" if within else str(path)

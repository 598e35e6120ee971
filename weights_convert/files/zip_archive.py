"""Zip archives of weights: a checked table of contents and checked contents."""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.system.escape import quoted
from crossearth_jax.system.zip_directory import check_directory

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error)
_CHUNK = 4 * 2**20
_LOCAL_HEADER = 30  # bytes before an entry's name; the last four are two lengths
_LENGTHS = struct.Struct("<2H")  # of the name and of the extra field
_PATCHED, _HIDDEN = 1 << 5, 1 << 6  # flag bits that Python's reader does not take
_GROWTH = 16  # how much larger than the file numbers may be that were deflated
_SMALL = 2**26  # bytes that may grow more: constant arrays deflate well
_MAX_DIRECTORY = 4 * 2**20  # bytes of the table of contents; an entry takes 60 to 150


def open_zip(path: Path, *, compressed: bool) -> zipfile.ZipFile:
    """Opens an archive after checking its table of contents.

    Args:
      path: a zip file.
      compressed: whether deflated entries are acceptable.

    Raises:
      ValueError: truncation, or an entry that no honest writer of weights makes
        (leaving the folder, link, encryption, duplicate, sizes beyond the file).
    """
    try:
        check_directory(path, _MAX_DIRECTORY)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(
            f"got a truncated or damaged zip archive ({error}): download it again"
        ) from error
    entries = archive.infolist()
    for entry in entries:
        if reason := _suspicious(entry, compressed):
            raise ValueError(f"got the zip entry {quoted(entry.filename)}: {reason}")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("got a zip archive with two entries of one name")
    on_disk, size = path.stat().st_size, sum(entry.file_size for entry in entries)
    if size > (max(_SMALL, _GROWTH * on_disk) if compressed else on_disk):
        raise ValueError(
            f"got a zip archive of {on_disk} bytes that declares {size} bytes of data"
        )
    return archive


def _suspicious(entry: zipfile.ZipInfo, compressed: bool) -> str | None:
    name = entry.orig_filename
    if name.startswith("/") or ".." in name.split("/") or re.search(r"[\\:\0]", name):
        return "its path leaves the archive's folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "it is a symbolic link"
    if entry.flag_bits & 1:
        return "it is encrypted"
    if entry.flag_bits & (_PATCHED | _HIDDEN):
        return "it is patched data or its table is encrypted"
    if entry.compress_type == zipfile.ZIP_STORED:
        return "its sizes disagree" if entry.compress_size != entry.file_size else None
    if not compressed or entry.compress_type != zipfile.ZIP_DEFLATED:
        return "it is compressed, which torch.save never does"
    return None


@contextmanager
def _damage(archive: zipfile.ZipFile, name: str) -> Iterator[None]:
    """Turns what damaged bytes raise into one kind of error that names the file."""
    try:
        yield
    except (*_DAMAGED, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"{archive.filename}: got damaged data in {quoted(name)} ({error}): get "
            "the file again"
        ) from error


def read_entry(archive: zipfile.ZipFile, name: str) -> UInt8[np.ndarray, "bytes"]:
    """Reads one entry, once in memory and compared with its CRC-32."""
    out = np.empty(archive.getinfo(name).file_size, np.uint8)
    filled, view = 0, out.data
    with _damage(archive, name), archive.open(name) as stream:
        stream = cast(zipfile.ZipExtFile, stream)  # typeshed knows IO[bytes] only
        while count := stream.readinto(view[filled : filled + _CHUNK]):
            filled += count
        if filled != len(out):
            raise EOFError("it ends too early")
    return out


def check_entry(archive: zipfile.ZipFile, name: str) -> None:
    """Compares one entry with its CRC-32 without holding it."""
    with _damage(archive, name), archive.open(name) as stream:
        while stream.read(_CHUNK):
            pass


def read_range(
    archive: zipfile.ZipFile, name: str, start: int, stop: int
) -> UInt8[np.ndarray, "bytes"]:
    """Reads bytes `start:stop` of an uncompressed entry, without a checksum."""
    begin = archive.getinfo(name).header_offset
    assert archive.filename is not None  # as `open_zip` opens it
    with _damage(archive, name), open(archive.filename, "rb") as file:
        file.seek(begin + _LOCAL_HEADER - 4)
        begin += _LOCAL_HEADER + sum(_LENGTHS.unpack(file.read(4)))
        file.seek(begin + start)
        out = np.fromfile(file, np.uint8, stop - start)
        if len(out) != stop - start:
            raise EOFError("it ends too early")
    return out

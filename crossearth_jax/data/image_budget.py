"""What an image file would make its decoder do, told from its structure alone.

Decoders follow what a file says: millions of chunks, tags of millions of values,
thousands of passes over one picture, or a strip that unpacks to a thousand times its
size. None of it is in files that programs write; none of it shows in width and height.
"""

import lzma
import math
import re
import struct
import zlib
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

import tifffile

from crossearth_jax.data.pixel_limit import (
    MAX_PIXEL_BYTES,
    MAX_PIXELS,
    TooLargeError,
    check_size,
    open_image,
)

LARGE = 2**26  # bytes; a smaller file is read without a look at its header
MAX_CHUNKS = 100_000  # of a PNG; 300 MB in pieces of 8 kB are 40,000
MAX_EXIF = 2**20  # bytes
MAX_SCANS = 100  # of a JPEG; progressive ones have some 10
MAX_TAGS = 2_000_000  # values of a TIFF's directories; offsets of tiles are the most
MAX_FRAMES = 64  # directories that are looked through
MAX_BANDS = 1_000
# Cost of a value by TIFF's types: bytes and text are taken whole, fractions one by one.
_COST = {1: 1 / 16, 2: 1 / 16, 6: 1 / 16, 7: 1 / 16, 5: 16, 10: 16}
_ENTRY = 16  # cost of a tag
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # of a JPEG, behind coded pixels
# Bytes that one byte can become, by TIFF's compressions; 20,000 for others.
_COMPRESSION, _JPEG = 259, {6, 7}  # TIFF's tag, and its values for JPEG
_WHOLE = {3: "H", 4: "L", 16: "Q"}  # TIFF's types of whole numbers
_GROWTH = {1: 1, 8: 1_100, 32946: 1_100, 32773: 64}


def check_structure(data: bytes | mmap, *, header: bool = False) -> None:
    """Refuses a PNG, JPEG or TIFF that says more than an image needs.

    Args:
      data: the file.
      header: look no further than opening the file does, up to the pixels.

    Raises:
      TooLargeError: says of what there is too much.
    """
    head = data[:8]
    with suppress(struct.error, IndexError):  # cut off: the decoder says so
        if head == b"\x89PNG\r\n\x1a\n":
            _check_png(data, header)
        elif head.startswith(b"\xff\xd8\xff"):
            _check_jpeg(data, header)
        elif head[:2] in (b"II", b"MM"):
            _check_tiff(data, header)


def check_large_file(path: Path, max_pixels: int = MAX_PIXELS) -> None:
    """Refuses a large file by its header, before it is read whole.

    Raises:
      TooLargeError: more pixels than `max_pixels`, or far more bytes than its pixels.
      OSError: it is no image.
    """
    size = path.stat().st_size
    if size <= LARGE:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        check_structure(data, header=True)
    try:
        with open_image(path, max_pixels=max_pixels) as image:
            width, height = image.size
    except TooLargeError:
        raise
    except Exception as error:  # of pixel types that Pillow does not know
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OSError(str(error)[:200]) from error
        width, height = _size_of_tiff(path)
        check_size(width, height, max_pixels)
    check_bytes(size, width, height)


def _size_of_tiff(path: Path) -> tuple[int, int]:
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return page.imagewidth, page.imagelength
    except Exception as error:
        raise OSError(str(error)[:200]) from error


def check_bytes(size: int, width: int, height: int) -> None:
    """Refuses a file that is far larger than its pixels.

    Raises:
      TooLargeError: it is.
    """
    if size > LARGE + width * height * MAX_PIXEL_BYTES:
        raise TooLargeError(f"got {size:,} bytes for {width} x {height} pixels")


def check_segments(page: tifffile.TiffPage, data: bytes) -> None:
    """Refuses strips and tiles that unpack to more than their pixels, or to far less.

    Raises:
      TooLargeError: one does.
      ValueError: the page says nothing of its pixels.
    """
    if page.samplesperpixel > MAX_BANDS:
        raise TooLargeError(f"got {page.samplesperpixel} bands: at most {MAX_BANDS}")
    if page.dtype is None:
        raise ValueError("it says nothing of its pixels")
    most = math.prod(page.chunks) * page.dtype.itemsize
    growth = _GROWTH.get(int(page.compression), 20_000)
    if page.nbytes > growth * sum(page.databytecounts) + 2**20:
        raise TooLargeError(f"got {page.nbytes:,} bytes of pixels in {len(data):,}")
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if count > 2 * most + 2**16 or _grows(
            data[start : start + count], int(page.compression), most
        ):
            raise TooLargeError(f"got a strip or tile of more than {most:,} bytes")


def _grows(packed: bytes, compression: int, most: int) -> bool:
    """Whether a strip unpacks to more than `most` bytes; no more are unpacked."""
    with suppress(zlib.error, lzma.LZMAError, EOFError):  # the decoder says so
        if compression in (8, 32946):
            return len(zlib.decompressobj().decompress(packed, most + 1)) > most
        if compression == 34925:
            return len(lzma.LZMADecompressor().decompress(packed, most + 1)) > most
    return False


def _check_png(data: bytes | mmap, header: bool) -> None:
    at = 8
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">L4s", data, at)
        if kind == b"eXIf" and length > MAX_EXIF:
            raise TooLargeError(f"got {length:,} bytes of EXIF data")
        if kind == b"IEND" or (header and kind == b"IDAT"):
            return
        at += 12 + length
    raise TooLargeError(f"got a PNG of more than {MAX_CHUNKS:,} pieces")


def _check_jpeg(data: bytes | mmap, header: bool) -> None:
    at, scans = 2, 0
    while (found := _MARKER.search(data, at)) is not None:
        at, marker = found.end(), found[0][1]
        if marker == 0xD9:  # the end
            return
        if marker == 0xDA:
            scans += 1
            if header:
                return
        if scans > MAX_SCANS:
            raise TooLargeError(f"got a JPEG of more than {MAX_SCANS} passes")
        at += max(2, struct.unpack_from(">H", data, at)[0])


def _check_tiff(data: bytes | mmap, header: bool) -> None:
    order = "<" if data[:2] == b"II" else ">"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == 43  # 64-bit offsets
    number, entry, offset = ("Q", "HHQ8x", "Q") if is_big else ("H", "HHL4x", "L")
    at = struct.unpack_from(order + offset, data, 8 if is_big else 4)[0]
    left = float(MAX_TAGS)
    for _ in range(MAX_FRAMES):
        if at == 0:
            return
        count = struct.unpack_from(order + number, data, at)[0]
        at += struct.calcsize(order + number)
        tags = {}
        for _ in range(count):
            code, kind, values = struct.unpack_from(order + entry, data, at)
            left -= _ENTRY + values * _COST.get(kind, 1)
            if left < 0:
                raise TooLargeError("got a TIFF whose tags have millions of values")
            at += struct.calcsize(order + entry)
            tags[code] = kind, values, at
        if not header:
            _check_jpegs(data, tags, order, offset)
        at = struct.unpack_from(order + offset, data, at)[0]


def _check_jpegs(
    data: bytes | mmap,
    tags: dict[int, tuple[int, int, int]],
    order: str,
    offset: str,
) -> None:
    """The passes of a directory's strips or tiles, where they are JPEGs.

    Args:
      data: the file.
      tags: type, number of values and end of every entry.
      order: of bytes.
      offset: type of a place in the file.
    """

    def values(code: int) -> tuple[int, ...]:
        kind, count, end = tags.get(code, (0, 0, 0))
        if kind not in _WHOLE:
            return ()
        form, field = f"{order}{count}{_WHOLE[kind]}", struct.calcsize("=" + offset)
        at = end - field
        if struct.calcsize(form) > field:
            (at,) = struct.unpack_from(order + offset, data, at)
        return struct.unpack_from(form, data, at)

    if not set(values(_COMPRESSION)) & _JPEG:
        return
    for starts, sizes in ((273, 279), (324, 325)):  # of strips, of tiles
        for start, size in zip(values(starts), values(sizes), strict=False):
            with suppress(struct.error, IndexError):  # the decoder says so
                _check_jpeg(data[start : start + size], header=False)

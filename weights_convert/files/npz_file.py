"""Reads NumPy's `.npz` archives array by array, never with pickle."""

import io
import math
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from crossearth_jax.system.escape import cut, quoted
from weights_convert.files.lazy_tensor import (
    MAX_AXES,
    LazyTensor,
    are_counts,
    fits_memory,
)
from weights_convert.files.zip_archive import open_zip, read_entry

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MOST = 1_000  # bytes of a header, of which 128 are usual; NumPy takes 10,000
_ARRAYS = 5_000  # of an archive; opening one takes 0.2 ms
_DAMAGE = (
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> dict[str, LazyTensor]:
    """Lists the arrays of an archive without reading them.

    Args:
      path: a file of `numpy.savez` or `savez_compressed`; it must stay in place while
        its arrays are read.

    Raises:
      ValueError: damage, or arrays of Python objects, records or text.
    """
    try:
        archive = open_zip(path, compressed=True)
        names = archive.namelist()
        if len(names) > _ARRAYS:
            raise ValueError(f"got {len(names):,} arrays, expected at most {_ARRAYS:,}")
        return {name.removesuffix(".npy"): _array(archive, name) for name in names}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _array(archive: zipfile.ZipFile, name: str) -> LazyTensor:
    begin, shape, fortran, dtype = _header(archive, name)
    if dtype.kind not in "biufc":
        kind = quoted(str(dtype))
        raise ValueError(
            f"got {quoted(name)} of type {kind}, expected an array of numbers"
        )
    if len(shape) > MAX_AXES or not are_counts(shape) or not fits_memory(shape):
        raise ValueError(
            f"got {quoted(name)} of shape {quoted(shape)}, expected at most {MAX_AXES} "
            "counts"
        )
    end = begin + math.prod(shape) * dtype.itemsize
    if end != (size := archive.getinfo(name).file_size):
        raise ValueError(
            f"got {size} bytes in {quoted(name)}, its header declares {end}"
        )
    native = dtype.newbyteorder("=")

    def load() -> np.ndarray:
        numbers = read_entry(archive, name)[begin:].view(dtype)
        array = numbers.reshape(shape, order="F" if fortran else "C")
        return array.astype(native, order="C", copy=False)

    return LazyTensor(shape, native, load)


def _header(
    archive: zipfile.ZipFile, name: str
) -> tuple[int, tuple[int, ...], bool, np.dtype]:
    """Size of the header in bytes, shape, column-major order, element type."""
    try:
        with archive.open(name) as entry, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers of Python 2
            stream = io.BytesIO(entry.read(_MOST))
            version = np.lib.format.read_magic(stream)
            if version not in _READERS:
                raise ValueError(f"version {version}")
            shape, fortran, dtype = _READERS[version](stream)
            return stream.tell(), shape, fortran, dtype
    except _DAMAGE as error:
        reason = cut(str(error), 200)
        raise ValueError(
            f"got a damaged header in {quoted(name)} ({reason})"
        ) from error

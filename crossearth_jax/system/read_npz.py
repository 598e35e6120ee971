"""NumPy's `.npz` archives of results, of bounded size and never with pickle."""

import lzma
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from crossearth_jax.system.zip_directory import check_directory

MAX_BYTES = 2**26  # counts of 100,000 images take 30 MB
MAX_ARRAYS = 64
_MAX_DIRECTORY = 2**14  # bytes of the table of contents
_DAMAGE = (
    *(lzma.LZMAError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
    *(EOFError, MemoryError, RecursionError, OverflowError, ValueError),
    *(TypeError, KeyError, SyntaxError, RuntimeError),
)


def read_npz(path: str | Path, *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays of an archive.

    Args:
      path: the file.
      max_bytes: of all arrays together, as the archive declares them: more is refused
        before anything is read.

    Raises:
      ValueError: damage, too large, or arrays of Python objects. The message does not
        name the file: the caller says what it expected.
      OSError: it cannot be read.
    """
    try:
        check_directory(Path(path), _MAX_DIRECTORY)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
        if size > max_bytes or len(entries) > MAX_ARRAYS:
            raise ValueError(f"it declares {size:,} bytes in {len(entries)} arrays")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds other things than arrays")
        return arrays
    except _DAMAGE as error:
        raise ValueError(str(error)[:200]) from error

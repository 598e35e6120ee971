"""A look at a safetensors file before the `safetensors` package reads it.

The package takes a header of 100 MB, which becomes gigabytes of names and shapes, and
its errors are no `ValueError`.
"""

import struct
from pathlib import Path

import numpy as np
from safetensors import safe_open

from crossearth_jax.system.read_json import parse_json

MAX_HEADER = 4 * 2**20  # bytes; a table of 2,000 tensors takes 250 kB
MAX_VALUES = 100_000  # of the header; a tensor has 7
SPARSE = 2**30  # bytes of a file of which most must be on the disk


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file.

    Raises:
      ValueError: see `check_file`, or an element type that NumPy does not know. The
        message does not name the file.
      OSError: it cannot be read.
    """
    check_file(Path(path))
    try:
        with safe_open(path, framework="np") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:  # the package has kinds of its own
        raise ValueError(str(error)[:200]) from error


def check_file(path: Path) -> None:
    """Refuses a file with a header that is damaged, or larger than weights need.

    Raises:
      ValueError: says what is wrong, without the file's name.
      OSError: it cannot be read.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        if length > MAX_HEADER:
            raise ValueError(f"got a header of {length} bytes, at most {MAX_HEADER}")
        header = parse_json(file.read(length), max_values=MAX_VALUES)
    if not isinstance(header, dict):
        raise ValueError("got a header that is not a table")
    refuse_holes(path)


def refuse_holes(path: Path) -> None:
    """Refuses a large file of which next to nothing is on the disk.

    Raises:
      ValueError: it is sparse, as an unfinished download is.
    """
    about = path.stat()
    blocks = getattr(about, "st_blocks", 0) * 512  # 0: the file system does not say
    if about.st_size > SPARSE and 0 < blocks < about.st_size // 64:
        raise ValueError(
            f"got {about.st_size:,} bytes, of which {blocks:,} are on the disk: the "
            "download was not finished"
        )

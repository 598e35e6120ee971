"""Reads safetensors files: a JSON table of contents before the raw numbers.

The `safetensors` package is not used to read: its NumPy side does not know bfloat16,
and its Flax side turns 64-bit numbers into 32-bit ones.
"""

import math
import struct
from pathlib import Path

import numpy as np

from crossearth_jax.system.escape import cut, quoted
from crossearth_jax.system.read_json import parse_json
from crossearth_jax.system.safetensors_file import MAX_HEADER, MAX_VALUES, refuse_holes
from weights_convert.files.lazy_tensor import (
    MAX_AXES,
    LazyTensor,
    are_counts,
    fits_memory,
)
from weights_convert.files.torch_objects import DTYPES

_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}

KINDS = {DTYPES[name]: kind for kind, name in _NAMES.items()}
"""The format's name of each element type."""


def read_safetensors(path: Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Lists the tensors of a file without reading them.

    Args:
      path: a `.safetensors` file; it must stay in place while tensors are read.

    Returns:
      The tensors by name, and the file's metadata.

    Raises:
      ValueError: a damaged header, or tensors that overlap, leave gaps or do not end
        with the file.
    """
    try:
        header, begin = _header(path)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("got metadata that is not a table")
        entries = {name: _entry(name, fields) for name, fields in header.items()}
        end = 0
        for start, stop, _, _ in sorted(entries.values(), key=lambda entry: entry[:2]):
            if start != end:
                raise ValueError(f"got overlapping tensors or a gap at byte {start}")
            end = stop
        if begin + end != (size := path.stat().st_size):
            raise ValueError(f"got {size} bytes, expected {begin + end} by the header")
        refuse_holes(path)
    except ValueError as error:
        reason = cut(str(error), 500)
        raise ValueError(f"{path}: damaged safetensors file: {reason}") from error
    tensors = {
        name: _lazy(path, begin + start, dtype, shape)
        for name, (start, _, dtype, shape) in entries.items()
    }
    return tensors, metadata


def _header(path: Path) -> tuple[dict, int]:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        if length > MAX_HEADER:
            raise ValueError(f"got a header of {length} bytes, at most {MAX_HEADER}")
        header = parse_json(file.read(length), max_values=MAX_VALUES, pairs=_unique)
    if not isinstance(header, dict):
        raise ValueError("got a header that is not a table")
    return header, 8 + length


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(table := dict(pairs)) < len(pairs):
        raise ValueError("got a name twice in the header")
    return table


def _entry(name: str, fields: object) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    """Start, stop, element type and shape of one tensor."""
    match fields:
        case {"dtype": str(kind), "shape": list(sizes), "data_offsets": [start, stop]}:
            counts = [start, stop, *sizes]
        case _:
            raise ValueError(f"got no dtype, shape and data_offsets for {quoted(name)}")
    if kind not in _NAMES:
        raise ValueError(f"got the element type {kind[:20]!r} for {quoted(name)}")
    if len(sizes) > MAX_AXES:
        axes = len(sizes)
        raise ValueError(f"got {axes} axes for {quoted(name)}, at most {MAX_AXES}")
    if not are_counts(counts) or not fits_memory(sizes):
        raise ValueError(f"got sizes of {quoted(name)} that are not counts")
    dtype = DTYPES[_NAMES[kind]]
    if stop - start != math.prod(sizes) * dtype.itemsize:
        raise ValueError(f"got {stop - start} bytes for {quoted(name)}, not its shape")
    return start, stop, dtype, tuple(sizes)


def _lazy(path: Path, at: int, dtype: np.dtype, shape: tuple[int, ...]) -> LazyTensor:
    def load() -> np.ndarray:
        count = math.prod(shape) * dtype.itemsize
        data = np.fromfile(path, np.uint8, count, offset=at)
        if len(data) != count:
            raise ValueError(f"{path}: it became shorter while it was read")
        return data.view(dtype).reshape(shape)

    return LazyTensor(shape, dtype, load)

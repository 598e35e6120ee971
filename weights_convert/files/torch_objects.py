"""What the pickle of a PyTorch checkpoint may name: storages, tensors, containers.

Both of PyTorch's file formats hold such pickles; where the numbers of a storage lie is
their own matter, see `torch_zip` and `torch_legacy`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol, cast

import ml_dtypes
import numpy as np

from weights_convert.files.lazy_tensor import (
    MAX_AXES,
    LazyTensor,
    are_counts,
    fits_memory,
)
from weights_convert.files.restricted_unpickler import (
    Builder,
    Inert,
    expect,
    inert,
    key,
)

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(kind)
    for name, kind in {
        "float64": np.float64,
        "float32": np.float32,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
        "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
        "float8_e5m2": ml_dtypes.float8_e5m2,
        "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
        "float8_e8m0fnu": ml_dtypes.float8_e8m0fnu,
        "complex128": np.complex128,
        "complex64": np.complex64,
        "int64": np.int64,
        "int32": np.int32,
        "int16": np.int16,
        "int8": np.int8,
        "uint64": np.uint64,
        "uint32": np.uint32,
        "uint16": np.uint16,
        "uint8": np.uint8,
        "bool": np.bool_,
    }.items()
}
"""PyTorch's names of the element types that NumPy (with `ml_dtypes`) can hold."""

STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
"""Element type of each of PyTorch's storage classes."""

# Classes whose objects mmengine, mmcv and training scripts leave beside the weights.
_FOREIGN = """
argparse Namespace
lightning.fabric.utilities.data AttributeDict
lightning.pytorch.utilities.parsing AttributeDict
lightning_fabric.utilities.data AttributeDict
pytorch_lightning.utilities.parsing AttributeDict
mmcv.utils.config ConfigDict
mmengine.config.config ConfigDict
mmengine.logging.history_buffer HistoryBuffer
numpy ndarray
numpy._core.multiarray _reconstruct
numpy._core.multiarray scalar
numpy._core.numeric _frombuffer
numpy.core.multiarray _reconstruct
numpy.core.multiarray scalar
pathlib PosixPath
pathlib._local PosixPath
torch device
"""


@dataclass(frozen=True)
class Storage:
    """One entry of raw numbers, and the element type its tensors start from."""

    entry: str
    dtype: np.dtype
    nbytes: int


class Numbers(Protocol):
    """Where the bytes of storages lie."""

    def read(self, entry: str, start: int, stop: int) -> np.ndarray:
        """Bytes `start:stop` of an entry."""
        ...


def known_names(archive: Numbers) -> dict[str, object]:
    """Everything that the pickle of a checkpoint may import."""

    def tensor_v2(
        storage: object,
        offset: object,
        shape: object,
        strides: object,
        requires_grad: object = False,
        hooks: object = None,
        metadata: object = None,
    ) -> LazyTensor:
        return _tensor(archive, storage, None, (offset, shape, strides), metadata)

    def tensor_v3(
        storage: object,
        offset: object,
        shape: object,
        strides: object,
        requires_grad: object,
        hooks: object,
        dtype: object,
        metadata: object = None,
    ) -> LazyTensor:
        if not isinstance(dtype, np.dtype):
            raise ValueError("got a tensor without an element type")
        return _tensor(archive, storage, dtype, (offset, shape, strides), metadata)

    foreign = _FOREIGN.strip().splitlines()
    known: dict[str, object] = {name: inert(name) for name in foreign}
    known |= {f"torch {name}": dtype for name, dtype in DTYPES.items()}
    known |= {f"torch {n}": DTYPES[kind] for n, kind in STORAGE_TYPES.items()}
    builders = {
        "torch._utils _rebuild_tensor": tensor_v2,
        "torch._utils _rebuild_tensor_v2": tensor_v2,
        "torch._utils _rebuild_tensor_v3": tensor_v3,
        "torch._utils _rebuild_parameter": lambda data, grad, hooks: data,
        "torch Size": lambda sizes: tuple(expect(sizes, tuple)),
        "collections OrderedDict": _ordered_dict,
        "builtins set": lambda items=(): {key(item) for item in items},
        "builtins complex": lambda real, imag: complex(
            expect(real, float), expect(imag, float)
        ),
        "_codecs encode": _encode,
        "numpy dtype": _numpy_dtype,
    }
    known |= {name: Builder(name, build) for name, build in builders.items()}
    known["torch.storage UntypedStorage"] = DTYPES["uint8"]
    return known


def _ordered_dict(pairs: Any = ()) -> OrderedDict:
    # What is no sequence of pairs raises what is reported as a malformed pickle.
    return OrderedDict((key(name), value) for name, value in pairs)


def _encode(text: object, encoding: object) -> bytes:
    if expect(encoding, str) != "latin1":  # as which pickle writes bytes
        raise ValueError("got a pickle that encodes text, expected bytes as latin1")
    return expect(text, str).encode("latin1")


def _numpy_dtype(kind: object, *flags: object) -> Inert:
    if "O" in expect(kind, str):
        raise ValueError("got a NumPy array of Python objects in a pickle")
    return Inert("numpy dtype", (kind, *flags))


def _tensor(
    archive: Numbers,
    storage: object,
    dtype: np.dtype | None,
    geometry: tuple[object, object, object],
    metadata: object,
) -> LazyTensor:
    """Checks a tensor's geometry against its storage; reads nothing."""
    storage = expect(storage, Storage)
    dtype = dtype or storage.dtype
    flags = expect(metadata or {}, dict)
    if set(flags) - {"conj", "neg"} or (flags and dtype.kind not in "fc"):
        raise ValueError("got a tensor with unknown metadata")
    offset, shape, strides = _counts(*geometry)
    available = storage.nbytes // dtype.itemsize
    start, stop = _extent(offset, shape, strides, available)
    steps = [stride * dtype.itemsize for stride in strides]

    def load() -> np.ndarray:
        # NumPy checks once more that the view stays inside the buffer.
        first, last = start * dtype.itemsize, stop * dtype.itemsize
        buffer = archive.read(storage.entry, first, last)
        view = np.ndarray(shape, dtype, buffer, strides=steps)
        array = np.asarray(view, order="C")
        array = np.conj(array) if flags.get("conj") else array
        return np.negative(array) if flags.get("neg") else array

    return LazyTensor(shape, dtype, load)


def _counts(
    offset: object, shape: object, strides: object
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Passes an offset and two tuples of equally many counts, refuses the rest."""
    shape, strides = expect(shape, tuple), expect(strides, tuple)
    if max(len(shape), len(strides)) > MAX_AXES:
        raise ValueError(f"got a tensor of more than {MAX_AXES} axes")
    numbers = (offset, *shape, *strides)
    if not are_counts(numbers):
        raise ValueError("got a tensor whose shape, strides or offset are not counts")
    if len(shape) != len(strides):
        raise ValueError(f"got {len(strides)} strides for a shape of {len(shape)} axes")
    return cast(int, offset), shape, strides


def _extent(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], available: int
) -> tuple[int, int]:
    """First and last element (exclusive) of a tensor; refuses impossible geometry."""
    count = math.prod(shape)
    if count == 0 and fits_memory(shape):
        return 0, 0
    span = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count == 0 or count > available or offset + span > available:
        raise ValueError(
            f"got a tensor of shape {shape}, strides {strides} and offset {offset} in "
            f"a storage of {available} elements: it does not fit, or repeats elements "
            "(call .contiguous() before saving)"
        )
    return offset, offset + span

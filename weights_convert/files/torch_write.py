"""Writes a PyTorch checkpoint (`.pth`) without PyTorch.

The pickle is put together from its opcodes: plain containers, text, numbers, and
tensors as `torch.save` stores them. `torch.load(weights_only=True)` reads it.
"""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crossearth_jax.system.whole_file import whole_file
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.torch_objects import DTYPES, STORAGE_TYPES

_STORAGES = {DTYPES[kind]: name for name, kind in reversed(STORAGE_TYPES.items())}
_ROOT = "archive"


def write_torch(path: Path, content: Mapping[str, object]) -> None:
    """Writes nested dicts of text, numbers, lists and `LazyTensor`s.

    Tensors are read one at a time. A broken write leaves an older file as it was.

    Raises:
      ValueError: something else is among the content.
    """
    stored: list[LazyTensor] = []
    pickled = pickle.PROTO + b"\x02" + _object(content, stored) + pickle.STOP
    with (
        whole_file(path) as place,
        zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(f"{_ROOT}/data.pkl", pickled)
        archive.writestr(f"{_ROOT}/byteorder", "little")
        for number, tensor in enumerate(stored):
            entry = zipfile.ZipInfo(f"{_ROOT}/data/{number}")
            entry.file_size = tensor.nbytes  # tells zipfile when to use zip64
            with archive.open(entry, "w") as file:
                array = np.asarray(tensor.read(), order="C")
                file.write(array.reshape(-1).view(np.uint8).data)
        archive.writestr(f"{_ROOT}/version", "3\n")


def _object(value: object, stored: list[LazyTensor]) -> bytes:
    """Opcodes that build a value; tensors are also put into `stored`."""
    match value:
        case bool():
            return pickle.NEWTRUE if value else pickle.NEWFALSE
        case None:
            return pickle.NONE
        case int():
            digits = pickle.encode_long(value)
            return pickle.LONG1 + struct.pack("<B", len(digits)) + digits
        case float():
            return pickle.BINFLOAT + struct.pack(">d", value)
        case str():
            text = value.encode()
            return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
        case list():
            items = b"".join(_object(item, stored) for item in value)
            return pickle.EMPTY_LIST + pickle.MARK + items + pickle.APPENDS
        case Mapping():
            items = b"".join(
                _object(part, stored) for item in value.items() for part in item
            )
            return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
        case LazyTensor():
            return _tensor(value, stored)
    raise ValueError(
        f"got a {type(value).__name__} for a checkpoint, expected plain data"
    )


def _tensor(tensor: LazyTensor, stored: list[LazyTensor]) -> bytes:
    """Calls PyTorch's own rebuilding function on a storage of its own."""
    if tensor.dtype not in _STORAGES:
        raise ValueError(
            f"got a tensor of {tensor.dtype}, which PyTorch stores differently"
        )
    strides = np.cumprod([1, *tensor.shape[:0:-1]])[::-1] if tensor.shape else ()
    storage = _tuple(
        _object("storage", []),
        _global("torch", _STORAGES[tensor.dtype]),
        _object(str(len(stored)), []),
        _object("cpu", []),
        _object(tensor.nbytes // tensor.dtype.itemsize, []),
    )
    stored.append(tensor)
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _object(0, []),
        _tuple(*(_object(int(n), []) for n in tensor.shape)),
        _tuple(*(_object(int(n), []) for n in strides)),
        _object(False, []),
        _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,
    )
    rebuild = _global("torch._utils", "_rebuild_tensor_v2")
    return rebuild + arguments + pickle.REDUCE


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()

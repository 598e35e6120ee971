"""One way to open every kind of weight file: by content, lazily, nothing executed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from crossearth_jax.system.escape import quoted
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.npz_file import read_npz
from weights_convert.files.safetensors_file import read_safetensors
from weights_convert.files.torch_legacy import read_torch_legacy
from weights_convert.files.torch_zip import read_torch_zip
from weights_convert.files.zip_archive import open_zip

Format = Literal["torch-zip", "torch-legacy", "safetensors", "npz"]

_WRAPPERS = ("state_dict", "model")


@dataclass(frozen=True)
class WeightFile:
    """The tensors of one file.

    Attributes:
      path: the file; it must stay in place while tensors are read.
      format: what the file's content, not its name, says it is.
      tensors: every tensor by its full name.
      wrapper: the top-level entries whose tensors these are: () for a bare table,
        one name for a wrapped state_dict; several when the file holds several
        tables, of which each name is then put before its tensors' names.
      metadata: all other top-level entries, unread (plain containers, `Inert`
        stand-ins and perhaps tensors, such as an optimiser's).
    """

    path: Path
    format: Format
    tensors: dict[str, LazyTensor]
    wrapper: tuple[str, ...]
    metadata: dict

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole file, in hex; computed when first asked for."""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_weights(
    path: str | Path, *, wrapper: str | None = None, allow_nonfinite: bool = False
) -> WeightFile:
    """Opens a weight file and lists its tensors; reads no numbers yet.

    Args:
      path: a PyTorch (`.pth`, `.pt`, `.bin`), safetensors or NumPy `.npz` file.
      wrapper: the top-level entry to take where several hold weights.
      allow_nonfinite: whether NaN and infinity may come out of `LazyTensor.read`.

    Raises:
      ValueError: not such a file, damaged, hostile, or without an unambiguous table
        of tensors. NaN, infinity and damage inside a tensor are found, with the
        same error, when it is read.
    """
    path = Path(path)
    kind = detect_format(path)
    if kind == "safetensors":
        tensors, metadata = read_safetensors(path)
        names = ()
    elif kind == "npz":
        tensors, metadata, names = read_npz(path), {}, ()
    else:
        content = (
            read_torch_zip(path) if kind == "torch-zip" else read_torch_legacy(path)
        )
        try:
            names, tensors, metadata = _unwrap(content, wrapper)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if not allow_nonfinite:
        tensors = {k: _finite(path, k, tensor) for k, tensor in tensors.items()}
    return WeightFile(path, kind, tensors, names, metadata)


def detect_format(path: Path) -> Format:
    """Tells a weight file's format from its first bytes.

    Raises:
      ValueError: not a regular file, or no known format.
    """
    if not path.is_file():
        found = "no regular file" if path.exists() else "no such file"
        raise ValueError(f"{path}: got {found}, expected a weight file: check the path")
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(b"PK\x03\x04"):
        try:
            with open_zip(path, compressed=True) as archive:
                names = archive.namelist()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        npz = names and all(name.endswith(".npy") for name in names)
        return "npz" if npz else "torch-zip"
    if head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"\x80"):
        return "torch-legacy"
    raise ValueError(
        f"{path}: got a file that starts with {head[:8]!r}, expected a PyTorch "
        "checkpoint, safetensors or .npz: download it again"
    )


def _unwrap(
    content: object, wrapper: str | None
) -> tuple[tuple[str, ...], dict[str, LazyTensor], dict]:
    """Finds the tables of tensors at the top of a checkpoint."""
    if not isinstance(content, Mapping):
        raise ValueError(f"got a {type(content).__name__}, expected a table of tensors")
    if wrapper is None and _is_table(content):
        _check_table("the file", content)
        return (), dict(content), {}
    tables = [name for name, value in content.items() if _is_table(value)]
    usual = [name for name in _WRAPPERS if name in content]
    if wrapper is not None or len(usual) == 1:
        chosen = [wrapper if wrapper is not None else usual[0]]
    elif usual:
        raise ValueError(f"got weights under {usual}: choose one with `wrapper`")
    else:
        chosen = tables
    tensors: dict[str, LazyTensor] = {}
    for name in chosen:
        _check_table(f"the entry {quoted(name)}", content.get(name))
        prefix = "" if len(chosen) == 1 else f"{name}."
        tensors |= {prefix + key: value for key, value in content[name].items()}
    if not chosen or len(tensors) < sum(len(content[name]) for name in chosen):
        raise ValueError(
            f"got the entries {quoted(list(content))}, expected tensors, or a table of "
            "tensors under an entry such as 'state_dict'"
        )
    rest = {name: value for name, value in content.items() if name not in chosen}
    return tuple(chosen), tensors, rest


def _is_table(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(tensor, LazyTensor) for tensor in value.values())
    )


def _check_table(name: str, table: object) -> None:
    if not isinstance(table, Mapping) or not table:
        raise ValueError(f"got no table of tensors in {name}")
    others = [k for k, v in table.items() if not isinstance(v, LazyTensor)]
    if others or not all(isinstance(k, str) for k in table):
        raise ValueError(
            f"got entries of {name} that are not named tensors: {quoted(others)}"
        )


def _finite(path: Path, key: str, tensor: LazyTensor) -> LazyTensor:
    def load() -> np.ndarray:
        array = tensor.load()
        if bad := array.size - np.count_nonzero(np.isfinite(array)):
            raise ValueError(
                f"{path}: got {bad} NaN or infinite numbers in {quoted(key)}: if this "
                "is meant, pass allow_nonfinite"
            )
        return array

    exact = tensor.dtype.kind in "iub"
    return tensor if exact else LazyTensor(tensor.shape, tensor.dtype, load)

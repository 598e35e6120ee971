"""One way to open every kind of weight file: by content, lazily, nothing executed."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from crossearth_jax.system.escape import quoted
from weights_convert.files.folder import INDEX, file_of_folder, read_shards
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.npz_file import read_npz
from weights_convert.files.safetensors_file import read_safetensors
from weights_convert.files.torch_legacy import read_torch_legacy
from weights_convert.files.torch_zip import read_torch_zip
from weights_convert.files.zip_archive import open_zip

Format = Literal["torch-zip", "torch-legacy", "safetensors", "npz"]

_WRAPPERS = ("state_dict", "model")
_DEPTH = 3  # of tables in tables, such as model, teacher


@dataclass(frozen=True)
class WeightFile:
    """The tensors of one file.

    Attributes:
      path: the file, of sharded weights their index; it must stay in place while
        tensors are read.
      format: what the file's content, not its name, says it is.
      tensors: every tensor by its full name.
      wrapper: the top-level entries whose tensors these are: () for a bare table,
        one name for a wrapped state_dict; several when the file holds several
        tables, of which each name is then put before its tensors' names.
      metadata: all other top-level entries, unread (plain containers, `Inert`
        stand-ins and perhaps tensors, such as an optimiser's).
      parts: the files of sharded weights.
    """

    path: Path
    format: Format
    tensors: dict[str, LazyTensor]
    wrapper: tuple[str, ...]
    metadata: dict
    parts: tuple[Path, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole file, in hex; computed when first asked for."""
        return _sha256(self.path)

    def sources(self) -> list[dict[str, str]]:
        """Name and SHA-256 of the file and of its parts."""
        own = {"name": self.path.name, "sha256": self.sha256}
        return [own, *({"name": p.name, "sha256": _sha256(p)} for p in self.parts)]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_weights(
    path: str | Path,
    *,
    wrapper: str | None = None,
    allow_nonfinite: bool = False,
    every_table: bool = False,
) -> WeightFile:
    """Opens a weight file and lists its tensors; reads no numbers yet.

    Args:
      path: a PyTorch (`.pth`, `.pt`, `.bin`), safetensors or NumPy `.npz` file; the
        index of sharded weights, or a folder of Hugging Face's form.
      wrapper: the top-level entry to take where several hold weights.
      allow_nonfinite: whether NaN and infinity may come out of `LazyTensor.read`.
      every_table: take all tables, those within tables too, each with its names
        before its tensors' names.

    Raises:
      ValueError: not such a file, damaged, hostile, or without an unambiguous table
        of tensors. NaN, infinity and damage inside a tensor are found, with the
        same error, when it is read.
    """
    path = Path(path)
    if path.is_dir():
        path = file_of_folder(path)
    if path.name.endswith(INDEX) and path.is_file():
        opened: list[WeightFile] = []

        def part(place: Path) -> dict[str, LazyTensor]:
            opened.append(open_weights(place, allow_nonfinite=allow_nonfinite))
            return opened[-1].tensors

        tensors, parts = read_shards(path, part)
        return WeightFile(path, opened[0].format, tensors, (), {}, parts)
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
            names, tensors, metadata = (_every if every_table else _unwrap)(
                content, wrapper
            )
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


def _every(
    content: object, wrapper: str | None
) -> tuple[tuple[str, ...], dict[str, LazyTensor], dict]:
    """Finds all tables of tensors, down to `_DEPTH`; else as `_unwrap`."""
    if not isinstance(content, Mapping) or _is_table(content):
        return _unwrap(content, wrapper)
    tables = {".".join(names): table for names, table in _nested(content, (), {})}
    used = {name.partition(".")[0] for name in tables}
    if not tables or any(name in content and name not in used for name in _WRAPPERS):
        return _unwrap(content, wrapper)
    tensors: dict[str, LazyTensor] = {}
    for name, table in tables.items():
        _check_table(f"the entry {quoted(name)}", table)
        tensors |= {f"{name}.{key}": value for key, value in table.items()}
    if len(tensors) < sum(map(len, tables.values())):
        raise ValueError(f"got the entries {quoted(list(content))} with one name twice")
    rest = {name: value for name, value in content.items() if name not in used}
    return tuple(tables), tensors, rest


def _nested(
    content: Mapping, names: tuple[str, ...], seen: dict[int, None]
) -> Iterator[tuple[tuple[str, ...], Mapping]]:
    """Tables and where they are; each once, as a file may refer to one many times."""
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Mapping):
            continue
        if id(value) in seen:
            continue
        seen[id(value)] = None
        if _is_table(value):
            if all(isinstance(key, str) for key in value):
                yield (*names, name), value
        elif len(names) + 1 < _DEPTH:
            yield from _nested(value, (*names, name), seen)


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

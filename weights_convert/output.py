"""Converted weights on their way to disk: checked names, provenance, whole or not."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax import __version__
from crossearth_jax.system.escape import quoted
from crossearth_jax.system.whole_file import whole_file
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile
from weights_convert.files.safetensors_file import KINDS


@dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Attributes:
      tensors: by their names under `crossearth_jax`.
      facts: what the conversion found out, for provenance and user.
    """

    tensors: Mapping[str, LazyTensor]
    facts: Mapping[str, Any]

    def with_facts(self, more: Mapping[str, Any]) -> "Converted":
        """The same with more facts after the others."""
        return replace(self, facts={**self.facts, **more})


def single_precision(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Tensors as float32, the type of all our parameters, checked when they are read.

    Whole numbers, truth values and complex numbers are no weights: reading one of them
    raises `ValueError`, and so does a number that float32 cannot hold.
    """
    return {key: _single(key, tensor) for key, tensor in tensors.items()}


def _single(key: str, tensor: LazyTensor) -> LazyTensor:
    if tensor.dtype == np.float32:
        return tensor

    def load() -> np.ndarray:
        if tensor.dtype.kind in "iubc":
            raise ValueError(
                f"got {tensor.dtype} numbers in {quoted(key)}, expected floating-point "
                "weights: the file is quantised, damaged or another network's"
            )
        with np.errstate(over="ignore"):
            array = tensor.read().astype(np.float32)
        if bad := array.size - np.count_nonzero(np.isfinite(array)):
            raise ValueError(
                f"got {bad} {tensor.dtype} numbers in {quoted(key)} beyond float32, "
                "expected weights: the file is damaged or its training diverged"
            )
        return array

    return LazyTensor(tensor.shape, np.dtype(np.float32), load)


def provenance(
    kind: str,
    files: Sequence[WeightFile],
    options: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, str]:
    """Where weights come from, each value as JSON (safetensors keeps only text)."""
    stored = {
        "kind": kind,
        "tool": f"weights_convert {__version__}",
        "sources": [each for file in files for each in file.sources()],
        "options": options,
        **facts,
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in stored.items()}


def write(
    target: str | Path,
    converted: Converted,
    kind: str,
    files: Sequence[WeightFile],
    options: Mapping[str, Any],
) -> Converted:
    """Writes a safetensors file with provenance; returns what it wrote.

    Raises:
      ValueError: another suffix than .safetensors, or the target is a source.
    """
    check_target(target, (".safetensors",), files)
    notes = provenance(kind, files, options, converted.facts)
    write_safetensors(Path(target), converted.tensors, notes)
    return converted


def check_target(
    target: str | Path, suffixes: Sequence[str], files: Sequence[WeightFile] = ()
) -> None:
    """Refuses a target that cannot be meant."""
    target = Path(target)
    if target.suffix not in suffixes:
        raise ValueError(
            f"got the target {target}, expected a name that ends in "
            f"{' or '.join(suffixes)}"
        )
    places = [place for file in files for place in (file.path, *file.parts)]
    if any(target.exists() and target.samefile(place) for place in places):
        raise ValueError(f"got {target} as source and target: name another target")
    if not target.absolute().parent.is_dir():
        raise ValueError(f"got the target {target} in a folder that does not exist")


def write_safetensors(
    path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str]
) -> None:
    """Writes tensors one after another, so that only one is held at a time.

    A broken write leaves an older file at `path` as it was.
    """
    # Large element types first: every tensor then lies on a multiple of its size.
    order = sorted(tensors, key=lambda k: (-tensors[k].dtype.itemsize, k))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for key in order:
        start, end = end, end + tensors[key].nbytes
        if tensors[key].dtype not in KINDS:
            raise ValueError(
                f"got {tensors[key].dtype} numbers in {quoted(key)}, expected real "
                "weights: these belong to no network that is known here"
            )
        header[key] = {
            "dtype": KINDS[tensors[key].dtype],
            "shape": list(tensors[key].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as place, place.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for key in order:
            file.write(
                np.asarray(tensors[key].read(), order="C")
                .reshape(-1)
                .view(np.uint8)
                .data
            )

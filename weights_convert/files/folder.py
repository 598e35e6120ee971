"""Hugging Face's folders and sharded weights: an index of files, read as one."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import read_json
from weights_convert.files.lazy_tensor import LazyTensor

INDEX = ".index.json"
_NAMES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
_SHARDS = 1_000
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def file_of_folder(folder: Path) -> Path:
    """The weights, or the index of their parts, in a folder of Hugging Face's form.

    Raises:
      ValueError: there are none.
    """
    found = [folder / name for name in _NAMES if (folder / name).is_file()]
    if not found:
        raise ValueError(
            f"{folder}: got no regular file but a folder without weights, "
            "expected one of "
            f"{', '.join(_NAMES)} in it: give the file itself"
        )
    return found[0]


def read_shards(
    index: Path, read: Callable[[Path], Mapping[str, LazyTensor]]
) -> tuple[dict[str, LazyTensor], tuple[Path, ...]]:
    """The tensors of all parts of sharded weights.

    Args:
      index: `….index.json`, whose `weight_map` names the file of every tensor.
      read: lists the tensors of one part.

    Returns:
      The tensors by name, and the parts.

    Raises:
      ValueError: no such index; a part is missing, or holds other tensors than it says.
    """
    places = _weight_map(index)
    parts = {name: index.parent / name for name in dict.fromkeys(places.values())}
    if missing := [name for name, path in parts.items() if not path.is_file()]:
        raise ValueError(
            f"{index}: got {len(parts) - len(missing)} of {len(parts)} parts, expected "
            f"all: {', '.join(map(quoted, missing[:3]))} should lie beside it"
        )
    tensors: dict[str, LazyTensor] = {}
    for name, path in parts.items():
        part = read(path)
        listed = {key for key, place in places.items() if place == name}
        if differing := sorted(listed ^ part.keys()):
            raise ValueError(
                f"{path}: got other tensors than {index.name} lists, such as "
                f"{quoted(differing[0])}: fetch both again"
            )
        tensors |= part
    return tensors, tuple(parts.values())


def _weight_map(index: Path) -> dict[str, str]:
    """{tensor: name of the part that holds it}, names being plain."""
    try:
        content: Any = read_json(index)
        places = content["weight_map"]
        names = {*places.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{index}: got no readable {{"weight_map": …}} ({error}): fetch it again'
        ) from error
    strange = [
        name
        for name in names
        if not isinstance(name, str) or not _PLAIN.fullmatch(name) or INDEX in name
    ]
    if strange or not 0 < len(names) <= _SHARDS:
        named = f"the part {quoted(strange[0])}" if strange else f"{len(names)} parts"
        raise ValueError(
            f"{index}: got {named}, expected 1 to {_SHARDS} names of files beside it"
        )
    return dict(places)

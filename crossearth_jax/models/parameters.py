"""Parameters by dotted paths, and converted weights (safetensors) put into a model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.typing import DTypeLike
from jaxtyping import PyTree
from safetensors import safe_open

from crossearth_jax.system.read_json import parse_json
from crossearth_jax.system.safetensors_file import check_file

ALIGNMENT = 64  # bytes, of what XLA takes without a copy


def dotted(tree: PyTree) -> dict[str, Any]:
    """Leaves of any pytree under dotted paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(k, simple=True, separator="."): v for k, v in leaves}


def undotted(flat: Mapping[str, Any], like: PyTree) -> PyTree:
    """Undoes `dotted` for a tree of the structure of `like`."""
    paths = dotted(like)
    return jax.tree.unflatten(jax.tree.structure(like), [flat[path] for path in paths])


def check_same(stored: dict, wanted: dict, what: str) -> None:
    """Raises if paths, shapes or types differ; Orbax would cast silently."""
    if stored == wanted:
        return
    lines = [f"{path}: only in the checkpoint" for path in stored.keys() - wanted]
    lines += [f"{path}: only in the model" for path in wanted.keys() - stored.keys()]
    lines += [
        f"{path}: {stored[path]} in the checkpoint, {wanted[path]} in the model"
        for path in stored.keys() & wanted.keys()
        if stored[path] != wanted[path]
    ]
    shown = "\n  ".join(sorted(lines)[:8])
    raise ValueError(
        f"{what} belongs to another architecture, {len(lines)} arrays differ:\n  "
        f"{shown}\nUse the configuration of that run, or another --workdir."
    )


def read_weights(
    path: str | Path, kind: str = "dinov2"
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Converted weights: arrays under dotted paths, and their provenance.

    Args:
      path: a safetensors file written by `crossearth convert`.
      kind: of the conversion that would make it, to tell the user.

    Raises:
      ValueError: no such file, or not safetensors.
    """
    path = Path(path)
    made = f"`crossearth convert {kind} SOURCE {path.with_suffix('')}.safetensors`"
    if not path.is_file():
        raise ValueError(
            f"got weights {path}, which are missing: check the path, from where the "
            f"command runs, or make them with {made}; `crossearth models` lists names "
            "that can stand for a file"
        )
    if path.suffix != ".safetensors":
        raise ValueError(
            f"got weights {path}, expected a .safetensors file: convert with {made}"
        )
    try:
        check_file(path)
        with safe_open(path, framework="np") as file:
            provenance = {k: _json(v) for k, v in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in file.keys()}, provenance
    except Exception as error:
        raise ValueError(
            f"got a damaged weights file {path} ({error}): convert it again"
        ) from error


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a safetensors file tells about itself; reads no tensor.

    Raises:
      ValueError: it is no such file.
    """
    try:
        check_file(Path(path))
        with safe_open(path, framework="np") as file:
            return {k: _json(v) for k, v in (file.metadata() or {}).items()}
    except Exception as error:
        raise ValueError(
            f"got {path}, which is no safetensors file ({error}): convert it again"
        ) from error


def _json(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def aligned(x: Any, dtype: DTypeLike) -> np.ndarray:
    """A copy in host memory that a CPU device uses as it is, instead of copying it."""
    x = np.asarray(x)
    size = x.size * np.dtype(dtype).itemsize
    space = np.empty(size + ALIGNMENT, np.uint8)
    start = -space.ctypes.data % ALIGNMENT
    copy = space[start : start + size].view(dtype).reshape(x.shape)
    copy[...] = x
    copy.flags.writeable = False
    return copy


def fill(params: PyTree, weights: Mapping[str, np.ndarray], prefix: str) -> PyTree:
    """Puts `prefix.*` weights into nested parameters, strictly.

    Args:
      params: the whole model's parameters.
      weights: arrays under dotted paths.
      prefix: part of the model that the weights must fill exactly.

    Raises:
      ValueError: names or shapes differ.
    """
    part = dotted({prefix: params[prefix]})
    given = {k: v for k, v in weights.items() if f"{k}.".startswith(prefix + ".")}
    check_same(
        {k: v.shape for k, v in given.items()},
        {k: v.shape for k, v in part.items()},
        f"the weights for {prefix}",
    )
    filled = undotted(given, {prefix: params[prefix]})
    flat = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(filled)
    return traverse_util.unflatten_dict(flat)


# What the released checkpoints lack: the authors never published its training.
_UNRELEASED = ("gse", "injectors", "mim_decoder", "prompt")


def start_from(
    params: PyTree, weights: Mapping[str, np.ndarray]
) -> tuple[PyTree, list[str]]:
    """Puts converted weights into everything but the backbone, strictly.

    Args:
      params: the whole model's parameters.
      weights: arrays under dotted paths; `backbone.*` and what the converter carries
        along for PyTorch (`torch.*`) are skipped.

    Returns:
      The parameters, and the paths of GSE, Injectors and MIM that the weights lack
      and that stay as they are.

    Raises:
      ValueError: a part is unknown, or names or shapes differ.
    """
    given = {path.split(".")[0] for path in weights} - {"backbone", "torch"}
    if unknown := given - params.keys():
        raise ValueError(
            f"got weights for {sorted(unknown)}, which this configuration lacks: "
            "turn these parts on or convert other weights"
        )
    initial = [part for part in _UNRELEASED if part in params and part not in given]
    for part in params.keys() - {"backbone", *initial}:
        params = fill(params, weights, part)
    return params, [*dotted({part: params[part] for part in initial})]


def trainable_mask(params: PyTree, *, train_backbone: bool = False) -> PyTree:
    """True for every array that trains: all but the backbone's.

    The single truth of what trains: gradients, the optimiser and checkpoints see
    only these arrays.
    """

    def trains(path: tuple, _: Any) -> bool:
        return train_backbone or path[0].key != "backbone"

    return jax.tree_util.tree_map_with_path(trains, params)


def partition(params: PyTree, mask: PyTree) -> tuple[PyTree, PyTree]:
    """Splits nested dicts into (where the mask is True, the rest)."""
    flat, chosen = (traverse_util.flatten_dict(tree) for tree in (params, mask))

    def part(where: bool) -> PyTree:
        kept = {k: v for k, v in flat.items() if chosen[k] is where}
        return traverse_util.unflatten_dict(kept)

    return part(True), part(False)


def combine(*trees: PyTree) -> PyTree:
    """Undoes `partition`."""
    flat = [traverse_util.flatten_dict(tree) for tree in trees]
    return traverse_util.unflatten_dict(
        {k: v for tree in flat for k, v in tree.items()}
    )


def digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named arrays, whatever file they came from.

    Args:
      arrays: by name; order does not matter.
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.shape} {array.dtype}\n".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()

"""Checkpoints of the trainable part (Orbax) and converted frozen weights (safetensors).

A checkpoint holds the trainable parameters, the optimiser state and the step, each
array under its dotted path. The step is also the position in the data, so nothing
else is needed to go on.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from jaxtyping import PyTree
from safetensors import safe_open

from crossearth_jax.train_step import TrainState


def dotted(tree: PyTree) -> dict[str, Any]:
    """Leaves of any pytree under dotted paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(k, simple=True, separator="."): v for k, v in leaves}


def undotted(flat: Mapping[str, Any], like: PyTree) -> PyTree:
    """Undoes `dotted` for a tree of the structure of `like`."""
    paths = dotted(like)
    return jax.tree.unflatten(jax.tree.structure(like), [flat[path] for path in paths])


class Checkpoints:
    """The checkpoints of one run, newest last."""

    def __init__(self, workdir: Path, *, keep: int) -> None:
        """Opens `workdir/checkpoints` if it is there.

        Broken saves are ignored, and gone at the latest with the first new save.

        The first save creates it, so a run that fails before leaves nothing behind.
        """
        self._folder = (workdir / "checkpoints").absolute()
        self._keep = keep
        self._manager = self._open() if self._folder.is_dir() else None

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._keep, cleanup_tmp_directories=True
        )
        # A handler by name: without one, a new process cannot read the metadata.
        handler = ocp.StandardCheckpointHandler()
        return ocp.CheckpointManager(
            self._folder, options=options, item_handlers=handler
        )

    def latest(self) -> int | None:
        """Step of the newest checkpoint."""
        return None if self._manager is None else self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Saves in the background; a step is visible only when complete."""
        step = int(state.step)
        if self.latest() == step:
            return
        if self._manager is None:
            self._manager = self._open()
        if not self._manager.save(step, args=ocp.args.StandardSave(dotted(state))):
            raise RuntimeError(f"the checkpoint of step {step} was not saved")

    def restore(self, like: TrainState) -> TrainState:
        """The newest checkpoint, placed as `like`.

        Raises:
          ValueError: there is none, or it belongs to another architecture.
        """
        step = self.latest()
        if step is None:
            raise ValueError(
                f"got no checkpoint in {self._folder}, expected one: train "
                "first, or give the workdir of a finished run with --workdir"
            )
        self._manager.wait_until_finished()
        wanted = {
            path: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
            for path, x in dotted(like).items()
        }
        stored = self._manager.item_metadata(step)
        _compare(
            {path: (tuple(x.shape), str(x.dtype)) for path, x in stored.items()},
            {path: (x.shape, str(x.dtype)) for path, x in wanted.items()},
            f"checkpoint {self._folder}/{step}",
        )
        flat = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return undotted(flat, like)

    def close(self) -> None:
        """Waits until the last save is on disk."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()


def read_parameters(workdir: Path) -> tuple[int, dict[str, np.ndarray]]:
    """The trained parameters of a run's newest checkpoint, whatever its architecture.

    Returns:
      The step, and arrays under dotted paths.

    Raises:
      ValueError: there is no checkpoint.
    """
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"got {workdir} without checkpoints, expected a run's workdir")
    with ocp.CheckpointManager(
        (workdir / "checkpoints").absolute(),
        item_handlers=ocp.PyTreeCheckpointHandler(),
    ) as manager:
        if (step := manager.latest_step()) is None:
            raise ValueError(f"got no checkpoint in {workdir}: train first")
        stored = manager.item_metadata(step)
        on_host = ocp.RestoreArgs(restore_type=np.ndarray)
        prefix = "params."
        names = [path for path in stored if path.startswith(prefix)]
        restored = manager.restore(
            step,
            args=ocp.args.PyTreeRestore(
                item=dict.fromkeys(names, 0),
                restore_args=dict.fromkeys(names, on_host),
                partial_restore=True,
            ),
        )
    return step, {name.removeprefix(prefix): restored[name] for name in names}


def _compare(stored: dict, wanted: dict, what: str) -> None:
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


def read_weights(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Converted weights: arrays under dotted paths, and their provenance.

    Args:
      path: a safetensors file written by `python -m weights_convert`.

    Raises:
      ValueError: no such file, or not safetensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        raise ValueError(
            f"got weights {path}, expected an existing .safetensors file: convert with "
            f"`python -m weights_convert dinov2 SOURCE {path.with_suffix('')}"
            ".safetensors`"
        )
    try:
        with safe_open(path, framework="np") as file:
            provenance = {k: _json(v) for k, v in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in file.keys()}, provenance
    except Exception as error:
        raise ValueError(
            f"got a damaged weights file {path} ({error}): convert it again"
        ) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


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
    _compare(
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
        along for PyTorch (`torch.*`) are passed over.

    Returns:
      The parameters, and the paths of GSE, Injectors and MIM that the weights lack
      and that stay as they are.

    Raises:
      ValueError: a part is unknown, or names or shapes differ.
    """
    given = {path.split(".")[0] for path in weights} - {"backbone", "torch"}
    if unknown := given - params.keys():
        raise ValueError(
            f"got weights for {sorted(unknown)}, which this configuration has not: "
            "turn these parts on or convert other weights"
        )
    initial = [part for part in _UNRELEASED if part in params and part not in given]
    for part in params.keys() - {"backbone", *initial}:
        params = fill(params, weights, part)
    return params, [*dotted({part: params[part] for part in initial})]

"""`to-torch`: a trained checkpoint, or converted weights, back to mmseg's names.

The official code loads the result. What it has no place for (GSE, Injectors, MIM
decoder and prompt) goes under names of our own, see `own_parts`, and is left out if the
user asks. `crossearth convert crossearth` reads the result back, bit for bit.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.config import load as read_config
from crossearth_jax.data.classes import load_classes
from crossearth_jax.hub.weights import find_weights
from crossearth_jax.run.checkpoint import read_parameters
from crossearth_jax.run.trained import find_workdir, step_of
from crossearth_jax.system.read_json import parse_json
from weights_convert.crossearth import whole_rules
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile, open_weights
from weights_convert.files.torch_write import write_torch
from weights_convert.mapping import (
    Rule,
    apply_rules,
    invert,
)
from weights_convert.output import (
    Converted,
    check_target,
    provenance,
    write_safetensors,
)
from weights_convert.own_parts import PARTS, settings_of_run


def mmseg_rules_back() -> list[Rule]:
    """Our names to mmseg's, and to our own beside them."""
    return invert(whole_rules())


def to_torch(
    source: str | Path,
    target: str | Path,
    *,
    backbone: str | Path | None = None,
    allow_unused: Sequence[str] = (),
) -> Converted:
    """Writes mmseg-style weights.

    Args:
      source: the workdir of a run, of which the newest checkpoint is taken, one of its
        checkpoint folders, or a .safetensors file of `crossearth`, `rein` or `dinov2`.
      target: a .pth file with `state_dict` and `meta`, or a .safetensors file.
      backbone: converted DINOv2 to put in; without it a run's frozen backbone is left
        out, as the official code does.
      allow_unused: globs of our tensors that are left out if the official code has no
        place for them, such as `gse.*`, or if there is no rule.

    Raises:
      ValueError: there is no checkpoint, or a tensor has no place under mmseg's names.
    """
    tensors, files, facts = _read(Path(source))
    if backbone is not None:
        file = open_weights(find_weights(backbone))
        tensors |= _backbone(file, tensors)
        files.append(file)
    check_target(target, (".pth", ".safetensors"), files)
    tensors = {
        key: tensor
        for key, tensor in tensors.items()
        if key.partition(".")[0] not in PARTS
        or not any(fnmatchcase(key, glob) for glob in allow_unused)
    }
    state = apply_rules(tensors, mmseg_rules_back(), None, allow_unused)
    lazy = {key: LazyTensor.of(array) for key, array in state.items()}
    options = {"allow_unused": [*allow_unused]}
    notes = provenance("to-torch", files, options, facts)
    if Path(target).suffix == ".safetensors":
        write_safetensors(Path(target), lazy, notes)
    else:
        meta = {name: json.loads(note) for name, note in notes.items()}
        write_torch(Path(target), {"meta": meta, "state_dict": lazy})
    return Converted(lazy, facts)


def _read(source: Path) -> tuple[dict[str, LazyTensor], list[WeightFile], dict]:
    """Tensors under our names, the files they come from, and facts about them."""
    if source.is_dir():
        workdir = find_workdir(source)
        step, arrays = read_parameters(workdir, step_of(source))
        lazy = {key: LazyTensor.of(np.asarray(value)) for key, value in arrays.items()}
        facts = {"run": workdir.absolute().name, "step": step, **_about(workdir)}
        return lazy, [], facts
    file = open_weights(source)
    facts: dict[str, Any] = {}
    if "architecture" in file.metadata:
        facts["architecture"] = parse_json(file.metadata["architecture"])
    return dict(file.tensors), [file], facts


def _about(workdir: Path) -> dict[str, Any]:
    """The settings of a run's network, and its classes as mmengine keeps them."""
    classes = load_classes(workdir / "classes.json")
    palette = [[int(x) for x in colour] for colour in classes.palette]
    settings = read_config(workdir / "config.json").to_dict()
    return {
        **settings_of_run(settings),
        "dataset_meta": {"classes": [*classes.names], "palette": palette},
    }


def _backbone(
    file: WeightFile, tensors: Mapping[str, LazyTensor]
) -> dict[str, LazyTensor]:
    names = ("backbone.", "torch.backbone.")
    found = {k: t for k, t in file.tensors.items() if k.startswith(names)}
    if not found:
        raise ValueError(f"{file.path}: got no converted backbone")
    if found.keys() & tensors.keys():
        raise ValueError(
            f"{file.path}: got weights with their own backbone: leave --backbone out"
        )
    return found

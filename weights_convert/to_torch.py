"""`to-torch`: a trained checkpoint, or converted weights, back to mmseg's names.

The official code loads the result; what it has no place for (the MIM decoder and
the prompt, which only training uses) is left out, and GSE and Injectors only if the
user asks.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.run.checkpoint import read_parameters
from crossearth_jax.system.read_json import parse_json
from weights_convert.crossearth import mmseg_rules
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile, open_weights
from weights_convert.files.torch_write import write_torch
from weights_convert.mapping import (
    Rule,
    apply_rules,
    drop,
    invert,
)
from weights_convert.output import (
    Converted,
    check_target,
    provenance,
    write_safetensors,
)

# Where the official code keeps what training alone uses: nowhere.
_TRAINING_ONLY = (("mim_decoder.{rest:.+}", "MIM decoder"), ("prompt", "MIM prompt"))


def mmseg_rules_back() -> list[Rule]:
    """Our names to mmseg's."""
    unused = [drop(name, f"{what}: training only") for name, what in _TRAINING_ONLY]
    return [*invert(mmseg_rules()), *unused]


def to_torch(
    source: str | Path,
    target: str | Path,
    *,
    backbone: str | Path | None = None,
    allow_unused: Sequence[str] = (),
) -> Converted:
    """Writes mmseg-style weights.

    Args:
      source: the workdir of a run, of which the newest checkpoint is taken, or a
        .safetensors file of `crossearth`, `rein` or `dinov2`.
      target: a .pth file with `state_dict` and `meta`, or a .safetensors file.
      backbone: converted DINOv2 to put in; without it a run's frozen backbone is left
        out, as the official code does.
      allow_unused: globs of our tensors that may be left out, such as `gse.*`.

    Raises:
      ValueError: there is no checkpoint, or a tensor has no place under mmseg's names.
    """
    tensors, files, facts = _read(Path(source))
    if backbone is not None:
        file = open_weights(backbone)
        tensors |= _backbone(file, tensors)
        files.append(file)
    check_target(target, (".pth", ".safetensors"), files)
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
        step, arrays = read_parameters(source)
        lazy = {key: LazyTensor.of(np.asarray(value)) for key, value in arrays.items()}
        return lazy, [], {"run": source.absolute().name, "step": step}
    file = open_weights(source)
    facts: dict[str, Any] = {}
    if "architecture" in file.metadata:
        facts["architecture"] = parse_json(file.metadata["architecture"])
    return dict(file.tensors), [file], facts


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

"""Anything that predicts as a trained run: a workdir, a file, a checkpoint, a name.

A converted file keeps what predicting needs, see `weights_convert.runnable`: keys of
the configuration that build its network, and its classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import logging

from crossearth_jax import build
from crossearth_jax.config import with_changes
from crossearth_jax.data.classes import ClassSet, colour
from crossearth_jax.data.known_classes import class_set
from crossearth_jax.hub.catalogue import WHOLE, Model, is_name, model_of, of_file
from crossearth_jax.hub.convert import (
    CROP,
    convert_file,
    convert_named,
    lacks_backbone,
    options_of_whole,
)
from crossearth_jax.hub.weights import find_weights
from crossearth_jax.models.parameters import read_provenance
from crossearth_jax.run.trained import TrainedRun, load_run
from crossearth_jax.run_settings import read_settings
from crossearth_jax.system import sharding
from crossearth_jax.system.escape import quoted
from crossearth_jax.train_step import TrainState

# Keys that a file may set; the others would name files, or change what is done.
_PARTS = ("backbone.", "rein.", "gse.", "mim.", "injector.", "decoder.")
_KEYS = ("data.crop", "eval.stride")
_INSTEAD = "the workdir of a trained run (config.json, checkpoints/), a file or "
_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz")
_NEVER = ("backbone.weights", "backbone.trainable")


def load_model(
    model: str | Path,
    precision: str | None = None,
    *,
    step: str | None = None,
    backbone: str | None = None,
    classes: str | None = None,
    crop: int | None = None,
) -> TrainedRun:
    """Reads whatever predicts.

    Args:
      model: the workdir of a run or a checkpoint folder inside one; a file that
        `crossearth convert crossearth` or `rein` made; an mmseg-style checkpoint, which
        is converted into the cache; or a name that `crossearth models` lists.
      precision: as the configuration has it; None takes the run's, or float32.
      step: of a workdir, see `load_run`.
      backbone: name or converted file, for a checkpoint that leaves its own out.
      classes: class file or known set that names the classes of a file.
      crop: pixels of a window, for a checkpoint of which nothing tells it.

    Raises:
      ValueError: nothing that predicts is there, or options do not fit it.
    """
    path = Path(model)
    if step is not None and (is_name(str(model)) or path.is_file()):
        raise ValueError(
            f"got --step {quoted(step)} with {model}, expected it with the workdir of "
            "a run, which has checkpoints to choose from: leave it out"
        )
    if is_name(str(model)):
        _no_options(str(model), backbone=backbone, crop=crop)
        path = convert_named(_whole(model_of(str(model), _INSTEAD)))
    elif path.suffix in _FILES and not path.exists():
        raise ValueError(
            f"got {path}, which is missing, expected a checkpoint: check the path"
        )
    elif not path.is_file():
        _no_options(f"{path}", backbone=backbone, classes=classes, crop=crop)
        return load_run(path, precision, step)
    elif _is_converted(path):
        _no_options(f"{path}", backbone=backbone, crop=crop)
    else:
        path = _converted(path, backbone, crop)
    return _load_file(path, precision, classes)


def _whole(model: Model) -> Model:
    if model.kind not in WHOLE:
        raise ValueError(
            f"got {model.name} ({model.about}), which predicts nothing by itself, "
            "expected a whole network: train with it, or give its name with --backbone"
        )
    return model


def _no_options(model: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"got --{name} {value} with {model}, which has its own: leave it out"
            )


def _is_converted(path: Path) -> bool:
    """Whether a file is one that `crossearth convert` wrote."""
    return path.suffix == ".safetensors" and "kind" in read_provenance(path)


def _converted(path: Path, backbone: str | None, crop: int | None) -> Path:
    """A checkpoint, converted into the cache with what its name and options tell."""
    known = of_file(path.name)
    options: dict[str, Any]
    if backbone is None and known is not None:
        options = {**options_of_whole(known, path), "crop": crop or known.crop}
    else:
        options = {} if crop is None else {"crop": crop}
        if backbone is not None and lacks_backbone(path):
            side = crop or (known and known.crop) or CROP
            options["backbone"] = find_weights(backbone, crop=side)
        elif backbone is not None:
            raise ValueError(
                f"got --backbone {backbone} with {path}, which has its own: leave it "
                "out"
            )
    return convert_file("crossearth", path, options)


def _load_file(path: Path, precision: str | None, classes: str | None) -> TrainedRun:
    """A converted file with its weights in memory."""
    told = read_provenance(path)
    settings = _settings(path, told)
    if precision is not None:
        settings["precision"] = precision
    try:
        config = with_changes(
            {**settings, "name": path.stem, "train.init": str(path.absolute())}
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}: convert it again") from error
    own = _classes(path, told, classes)
    network = build.build_network(config, len(own.names))
    state = TrainState(network.trainable, (), step=jnp.int32(0), bad=jnp.int32(0))
    placed = sharding.replicate(state, sharding.make_mesh())
    return TrainedRun(path, read_settings(config), own, network, placed)


def _settings(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the configuration that a file keeps."""
    network = told.get("network")
    if not isinstance(network, dict):
        why = told.get("why") or f"it holds {quoted(told.get('kind'))} weights"
        raise ValueError(
            f"got {path}, which does not predict ({why}), expected a whole network: "
            "convert one with this version's `crossearth convert crossearth`"
        )
    settings = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in network.items()
    }
    wrong = [
        key
        for key in settings
        if key in _NEVER or not (key.startswith(_PARTS) or key in _KEYS)
    ]
    wrong += [key for key, value in settings.items() if not _is_usual(key, value)]
    if wrong:
        raise ValueError(
            f"got {path} with the setting {quoted(wrong[0])}="
            f"{quoted(settings[wrong[0]])}, expected usual sizes of a network alone: "
            "convert it again"
        )
    return settings


def _is_usual(key: str, value: Any) -> bool:
    """Whether a size is one that a network has; building it takes time and memory."""
    most = 200 if key.endswith(("depth", "layers")) else 20_000
    numbers = value if isinstance(value, tuple) else (value,)
    return len(numbers) <= 4 and all(
        isinstance(x, str | bool) or (isinstance(x, int) and 0 <= x <= most)
        for x in numbers
    )


def _classes(path: Path, told: Mapping[str, Any], given: str | None) -> ClassSet:
    """The classes of a converted file, or those that are given for it."""
    kept: Any = told.get("class_set")
    try:
        names = [str(name) for name in kept["names"]]
        palette = [colour(one) for one in kept["palette"]]
        scored = {key: kept.get(key) for key in ("foreground", "clutter")}
        own = ClassSet(tuple(names), tuple(palette), **scored)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(
            f"got {path} without readable classes ({error}): convert it again"
        ) from error
    if given is not None:
        return class_set(given, len(own.names))
    if names[:1] == ["class_0"]:
        logging.warning(
            "the %d classes of %s have no names and made-up colours: name them with "
            "--classes FILE (docs/predict.md)",
            *(len(names), path.name),
        )
    return own

"""Configuration files: where a name is looked for, how one is read and changed.

What a configuration leaves open is taken from the manifest of tiles in its `data.root`,
or from a run that is scored.
"""

import copy
import dataclasses
import inspect
import json
import re
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from crossearth_jax.config import flattened, load
from crossearth_jax.data.raw_images import RawImages, raw_images
from crossearth_jax.data.tile_folder import CLASSES, MANIFEST, TileFolder, tile_folder
from crossearth_jax.hub.weights import absolute
from crossearth_jax.system.whole_file import whole_file

USERS = Path("configs")  # where a user's own files lie, from where the command runs


def parse(file: str, changes: Sequence[str] = ()) -> ConfigDict:
    """The configuration of a file, changed as the command line says.

    Args:
      file: such as "configs/casid.py:sub" or "casid:sub", see `find`; what follows the
        colon is the argument of the file's `get_config`.
      changes: "--config.KEY=VALUE" each; "--config.KEY" and "--noconfig.KEY" where a
        key is True or False.

    Returns:
      The configuration, locked.

    Raises:
      ValueError: there is no such file, an error in it, or a change that does not fit.
    """
    name, colon, argument = file.partition(":")
    config = _read(find(name), [argument] if colon else [])
    config.lock()
    return _changed(config, changes)


def find(name: str) -> Path:
    """The configuration file of a name: the user's own, or else the packaged one.

    Args:
      name: a path, taken as it is where there is such a file; "configs/NAME.py",
        "NAME.py" and "NAME" are also looked for in ./configs and in the package.

    Raises:
      ValueError: there is none; lists the packaged ones.
    """
    given = Path(name)
    places = [given]
    if given.parent in (Path(), USERS) and given.suffix in ("", ".py") and given.name:
        file = f"{given.stem}.py"
        places += [USERS / file, packaged() / file]
    for place in places:
        if place.suffix == ".py" and place.is_file():
            return place
    names = ", ".join(path.stem for path in packaged_files())
    raise ValueError(
        f"got --config {name}, expected a .py file or one of {names}: check the path, "
        "or copy one with `crossearth configs --copy NAME`"
    )


def packaged() -> Path:
    """The folder of the configurations that come with the package.

    A wheel has them in the package; in a clone they lie beside it.
    """
    package = Path(str(resources.files("crossearth_jax")))
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def packaged_files() -> list[Path]:
    """The configurations that come with the package, by name."""
    return sorted(path for path in packaged().glob("*.py") if path.stem != "__init__")


def _read(path: Path, argument: Sequence[str]) -> ConfigDict:
    """Runs a file's `get_config`.

    Raises:
      ValueError: it fails, or it gives no configuration.
    """
    try:
        module = _load(path)
    except Exception as error:
        raise ValueError(_where(error, path)) from error
    make = getattr(module, "get_config", None)
    if not callable(make):
        raise ValueError(
            f"got {path} without get_config, expected a function of this name that "
            "returns a configuration: see `crossearth configs --copy demo`"
        )
    if argument and not inspect.signature(make).parameters:
        raise ValueError(
            f"got {path}:{argument[0]}, expected no argument: get_config takes none"
        )
    try:
        config = make(*argument)
    except ValueError:  # the file's own words about its argument
        raise
    except Exception as error:
        raise ValueError(_where(error, path)) from error
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"got {type(config).__name__} from get_config of {path}, expected a "
            "ConfigDict: start with crossearth_jax.config.default() and return it"
        )
    return config


def _load(path: Path) -> ModuleType:
    loader = SourceFileLoader(f"{path.stem}_config", str(path.absolute()))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    sys.modules[loader.name] = module  # where dataclasses look for their module
    loader.exec_module(module)
    return module


def _where(error: Exception, path: Path) -> str:
    """An error in a file, with the file's own line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename) == path.absolute()]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    text = str(error.args[0] if error.args else error).splitlines()
    place = f"{path}, line {lines[-1]}" if lines else f"{path}"
    return f"got an error in {place}: {type(error).__name__}: {' '.join(text)}"


def _changed(config: ConfigDict, changes: Sequence[str]) -> ConfigDict:
    """Applies the command line's changes; ml_collections reads the values.

    Raises:
      ValueError: a key is unknown, or a value of another type.
    """
    for change in changes:
        _check_key(config, change)
    arguments = ["config", *changes]
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=values, sys_argv=arguments
    )
    try:
        values(arguments)
    except flags.Error as error:
        # absl's message begins with the change: "flag --config.KEY=VALUE: …".
        wrong = [c for c in changes if str(error).startswith(f"flag {c}:")]
        text = f"got {wrong[0]}, expected {_wanted(config, wrong[0])}" if wrong else ""
        raise ValueError(text or " ".join(str(error).split())) from error
    return config


def _check_key(config: ConfigDict, change: str) -> None:
    """Raises ValueError unless a change names a single key, and a value for it."""
    name, equals, _ = change.partition("=")
    found = re.fullmatch(r"--(no)?config\.([\w.]+)", name)
    if not found:
        raise ValueError(f"got {change}, expected --config.KEY=VALUE")
    key, known = found[2], dict(flattened(config.to_dict()))
    if any(one.startswith(f"{key}.") for one in known):
        raise ValueError(f"got {change}, expected --config.{key}.KEY=VALUE")
    if key not in known:
        near = _nearest(key, known)
        hint = f" such as {near}" if near else ""
        raise ValueError(
            f"got {change}, which is an unknown configuration key, expected one{hint}: "
            "`crossearth train --help` lists them"
        )
    switch = _type(config, key) is bool
    if not switch and (found[1] or not equals):
        raise ValueError(f"got {change}, expected --config.{key}=VALUE")


def _nearest(key: str, known: Collection[str]) -> str | None:
    """A key that may have been meant: of this name in another section, or similar."""
    last = key.rpartition(".")[2]
    named = [one for one in known if one.rpartition(".")[2] == last]
    return next(iter([*named, *get_close_matches(key, known, 1)]), None)


def _wanted(config: ConfigDict, change: str) -> str:
    """What a change should have given, such as 'int, such as 400'."""
    key = change.partition("=")[0].partition("config.")[2]
    value = dict(flattened(config.to_dict()))[key]
    example = "" if value is None else f", such as {value!r}"
    return f"{_type(config, key).__name__}{example}"


def _type(config: ConfigDict, key: str) -> type:
    """The type of a key's value, known where the value is None too."""
    *sections, last = key.split(".")
    part: Any = config
    for section in sections:
        part = part[section]
    return part.get_type(last)


# ---- what is left open ------------------------------------------------------------


def from_tiles(config: ConfigDict) -> ConfigDict:
    """Takes what a configuration leaves open from the manifest in its `data.root`.

    Returns:
      A configuration of its own; the same one where there are no tiles.

    Raises:
      ValueError: there is no manifest although it is needed, it is damaged or of
        another version, or the configuration contradicts tiles that are scaled already.
    """
    data = config.data
    if data.kind != "folder" or not data.root:
        return config
    found = tile_folder(Path(data.root).expanduser())
    if found is None:
        if data.train:
            return config
        raise ValueError(
            f"got data.root={data.root} without a {MANIFEST} of tiles, expected the "
            "folder that `crossearth tiles` wrote: correct it, or set data.train"
        )
    _check_against(found, raw_images(data.bands, data.scale, data.gsd))
    return _completed(config, _from_manifest(found))


def with_backbone(config: ConfigDict, weights: str | None) -> ConfigDict:
    """A copy with these weights of the backbone; None leaves it as it is."""
    if weights is None:
        return config
    config = copy.deepcopy(config)
    config.backbone.weights = weights
    return config


def with_remat(config: ConfigDict, remat: bool | str) -> ConfigDict:
    """A copy with this `backbone.remat`."""
    config = copy.deepcopy(config)
    config.backbone.remat = remat
    return config


def from_run(config: ConfigDict, workdir: Path) -> ConfigDict:
    """Takes what images were, where a configuration leaves it open, from a run.

    Args:
      config: all keys.
      workdir: of the run; without a config.json there nothing is taken.
    """
    try:
        kept = load(workdir / "config.json").data
    except ValueError:  # of another version: what was sealed will be compared
        return config
    return _completed(config, {key: kept[key] for key in ("bands", "scale", "gsd")})


def _completed(config: ConfigDict, data: Mapping[str, Any]) -> ConfigDict:
    """A copy whose open keys of `data` are filled in."""
    config = copy.deepcopy(config)
    for key, value in data.items():
        if config.data[key] in (None, ()):
            config.data[key] = value
    return config


def _from_manifest(found: TileFolder) -> dict[str, Any]:
    """Keys of `data`."""
    scenes = found.scenes
    (scale,) = scenes.scale if len(scenes.scale) == 1 else (scenes.scale,)
    return {
        # Quotes protect commas in the folder's name.
        "train": '"{root}/train"' if found.part("train") else None,
        "source": 'val="{root}/val"' if found.part("val") else None,
        "classes": str(found.root / CLASSES),
        "bands": scenes.bands,
        "scale": scale,
        "gsd": scenes.gsd,
    }


def _check_against(found: TileFolder, stated: RawImages) -> None:
    """Tiles hold chosen bands, 8-bit ones scaled values: no other can be stated."""
    wanted = dataclasses.replace(stated, gsd=None)
    kept = found.scenes
    if not stated.bands:
        wanted = dataclasses.replace(wanted, bands=kept.bands)
    if not stated.scale or found.tiles.scale:
        wanted = dataclasses.replace(wanted, scale=kept.scale)
    if wanted != dataclasses.replace(kept, gsd=None):
        raise ValueError(
            f"got {stated.words()} for tiles that were made with "
            f"{kept.words() or 'neither'} ({found.root / MANIFEST}), expected the "
            "same: leave data.bands and data.scale out, or make the tiles again"
        )


def write_config(config: ConfigDict, workdir: Path) -> None:
    """Keeps the configuration beside the results, with paths that hold anywhere."""
    with whole_file(workdir / "config.json") as place:
        place.write_text(json.dumps(absolute(config.to_dict()), indent=2) + "\n")

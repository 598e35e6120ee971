"""Weights as a configuration gives them, by path or name, to a file that is here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossearth_jax.hub.catalogue import is_name, model_of
from crossearth_jax.hub.convert import (
    CROP,
    PATCH,
    convert_named,
    find_converted,
    sources_of,
)

# Keys that hold weights, and that a run needs again to predict.
KEPT = ("backbone.weights", "train.init")


def find_weights(given: str | Path, *, crop: int = CROP, patch: int = PATCH) -> Path:
    """The file of weights that are given by path or by name.

    A name is downloaded and converted at its first use, see `crossearth models`.

    Args:
      given: a path, or a name that no file here has.
      crop: side of a training crop in pixels, that DINOv2's positions are made for.
      patch: side of a patch in pixels, that DINOv2's kernel is made for.

    Raises:
      ValueError, OSError: there is no such name, or it cannot be had.
    """
    if not is_name(str(given)):
        return Path(given)
    return convert_named(model_of(str(given)), crop=crop, patch=patch)


def absolute(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's nested settings with paths that hold in every folder; names stay."""
    kept = {
        key: dict(part) if isinstance(part, Mapping) else part
        for key, part in settings.items()
    }
    for section, key in (each.split(".") for each in KEPT):
        given = kept.get(section, {}).get(key)
        if given and not is_name(given):
            kept[section][key] = str(Path(given).absolute())
    return kept


def origin(given: str | None, *, crop: int, patch: int) -> dict[str, Any]:
    """Where weights come from, as a checkpoint seals it: name and digests.

    Args:
      given: see `find_weights`; None or "" for none.
      crop: see `find_weights`.
      patch: see `find_weights`.
    """
    if not given:
        return {}
    place = find_weights(given, crop=crop, patch=patch)
    return {"given": str(given), "file": place.name, "sources": sources_of(place)}


def moved(
    settings: Mapping[str, Any], sealed: Mapping[str, Any], workdir: Path
) -> dict[str, str]:
    """Where a run's weights are now, by dotted key, of those that are not in place.

    Looked for beside the workdir and in the folders above it, under the same name and
    under the path as it was given; and in the cache, by the digest of their sources.

    Args:
      settings: of the run, nested.
      sealed: what its checkpoint seals, see `origin`.
      workdir: of the run.
    """
    found = {}
    for key in KEPT:
        section, _, name = key.partition(".")
        given = (settings.get(section) or {}).get(name)
        if not given or is_name(given) or Path(given).is_file():
            continue
        home = workdir.absolute()
        above = [home, *home.parents[:3]]
        places = [folder / part for folder in above for part in (given, _name(given))]
        here = next((place for place in places if place.is_file()), None)
        if here is None and key == "backbone.weights":
            told = sealed.get("weights_from") or {}
            here = find_converted(_name(given), told.get("sources") or [])
        if here is not None:
            found[key] = str(here)
    return found


def _name(given: str) -> str:
    return Path(given).name

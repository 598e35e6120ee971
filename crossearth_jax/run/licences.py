"""The licences of the weights that a model was made of, as far as they have names."""

from collections.abc import Iterator
from pathlib import Path

from crossearth_jax.hub.catalogue import Model, is_name, models, of_file
from crossearth_jax.hub.weights import KEPT
from crossearth_jax.system.read_json import read_json


def licences(model: str | Path, workdir: Path) -> dict[str, str]:
    """Licences by the names of weights; empty where no name is known.

    Args:
      model: as the user gave it: a name, a file or the workdir of a run.
      workdir: of a run, whose configuration names what it began with.
    """
    known = models()
    found: dict[str, str] = {}
    for given in (str(model), *_beginnings(workdir)):
        named = known.get(given) if is_name(given) else of_file(Path(given).name)
        for each in (named, known.get(named.backbone or "") if named else None):
            if isinstance(each, Model):
                found[each.name] = each.licence
    return found


def _beginnings(workdir: Path) -> Iterator[str]:
    """What a run's weights began with: names and paths."""
    place = workdir / "config.json"
    settings = read_json(place) if place.is_file() else {}
    for key in KEPT:
        section, _, name = key.partition(".")
        part = settings.get(section)
        if isinstance(part, dict) and isinstance(part.get(name), str):
            yield part[name]

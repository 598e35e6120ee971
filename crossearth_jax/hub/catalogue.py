"""What can be fetched by name: `models.json`, read strictly.

A list of one's own in the same form, such as of an institute's mirror, is named by the
environment variable CROSSEARTH_MODELS; its entries come before those here.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import read_json

FILE = Path(__file__).with_name("models.json")
OWN_LIST = "CROSSEARTH_MODELS"
# Each is the name of a command of `crossearth convert`.
KINDS = ("dinov2", "dinov3", "mtp", "crossearth", "rein", "style")
WHOLE = ("crossearth", "rein")  # kinds that predict; the others are parts of a network
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._()+-]*")
_DIGESTS = {"sha256": 64, "git_blob": 40}  # hexadecimal digits


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model.

    Attributes:
      name: as it is published, and under which it is kept.
      bytes: its exact size, where it is published.
      sha256: its SHA-256, where it is published.
      git_blob: its id in a git repository (SHA-1 over "blob SIZE", NUL and the
        content), where that is what is published.
      about: its size in words, where only that is published; nothing is checked by it.
    """

    name: str
    bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    about: str | None = None


@dataclass(frozen=True)
class Model:
    """Weights that have a name.

    Attributes:
      name: what `crossearth download` and `backbone.weights` take.
      about: what it is, in a line.
      kind: of conversion, one of `KINDS`.
      licence: as its authors name it.
      files: all of them are needed; none where it is not known how they are called.
      settings: keys of the configuration, or settings of the paper, it belongs to.
      hub: repository on the Hugging Face Hub.
      url: folder of the files on another server.
      page: where a person has to fetch them.
      gated: whether the hub gives them only to those who accepted their terms.
      note: what else has to be known.
      options: of the conversion.
      classes: the known class set that a whole network predicts.
      background: id of the background in the head of a binary one; here it is 0.
      crop: pixels, that a whole network was trained with.
      backbone: name of the frozen backbone, where the files lack it.
    """

    name: str
    about: str
    kind: str
    licence: str
    files: tuple[RemoteFile, ...]
    settings: tuple[str, ...] = ()
    hub: str | None = None
    url: str | None = None
    page: str | None = None
    gated: bool = False
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: str | None = None
    background: int = 0
    crop: int | None = None
    backbone: str | None = None


def models() -> dict[str, Model]:
    """All models by name, those of one's own list first.

    Raises:
      ValueError: a list is no such list; says which entry is wrong.
    """
    own = os.environ.get(OWN_LIST)
    places = [Path(own)] if own else []
    found: dict[str, Model] = {}
    for place in [*places, FILE]:
        for name, model in _read(place).items():
            found.setdefault(name, model)
    return found


def is_name(text: str) -> bool:
    """Whether a text can only be meant as a name: a file has a suffix or a folder."""
    return _NAME.fullmatch(text) is not None and not Path(text).exists()


def model_of(name: str, instead: str = "a file or ") -> Model:
    """A model by name.

    Args:
      name: of the model.
      instead: what else could have been given, to tell the user, with "or ".

    Raises:
      ValueError: there is none of this name.
    """
    known = models()
    if name not in known:
        near = get_close_matches(name, known, 1)
        raise ValueError(
            f"got {quoted(name)}, expected {instead}one of the names that "
            f"`crossearth models` lists{f', such as {near[0]}' if near else ''}"
        )
    return known[name]


def of_file(name: str) -> Model | None:
    """The whole network that is published under a file's name, such as R2U.pth."""
    for model in models().values():
        if model.kind in WHOLE and [each.name for each in model.files] == [name]:
            return model
    return None


def _read(place: Path) -> dict[str, Model]:
    try:
        content = read_json(place)
        entries = content["models"]
        if not isinstance(entries, list):
            raise ValueError('expected {"models": […]}')
        found = [_model(entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"got {place}, which is no list of models ({error}), expected the form of "
            f"{FILE}"
        ) from error
    return {model.name: model for model in found}


def _model(entry: Any) -> Model:
    """Checks one entry."""
    if not isinstance(entry, dict):
        raise ValueError(f"got {quoted(entry)}, expected an object")
    name = entry.get("name")
    try:
        files = tuple(_file(each) for each in entry["files"])
        settings = tuple(map(str, entry.get("settings", ())))
        model = Model(**{**entry, "files": files, "settings": settings})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"entry {quoted(name)}: {error}") from error
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"got the name {quoted(name)}, expected a-z, 0-9, - and _")
    if model.kind not in KINDS:
        raise ValueError(
            f"entry {name}: got kind {quoted(model.kind)}, expected one of "
            f"{', '.join(KINDS)}"
        )
    if sum(place is not None for place in (model.hub, model.url, model.page)) != 1:
        raise ValueError(f"entry {name}: expected one of hub, url and page")
    return model


def _file(entry: Any) -> RemoteFile:
    """Checks one file; its name must stay in its folder, and nothing may run."""
    file = RemoteFile(**entry)
    if not _FILE_NAME.fullmatch(file.name):
        raise ValueError(f"got the file {quoted(file.name)}, expected a plain name")
    for name, digits in _DIGESTS.items():
        digest = getattr(file, name)
        if digest is not None and not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
            raise ValueError(f"got {name} {quoted(digest)}, expected {digits} digits")
    return file

"""Class files: YAML or JSON that says what the classes are and how labels mean them.

    classes:
      - {name: water, color: [0, 0, 255]}
      - {name: "no data", color: [0, 0, 0]}
    encoding: ids          # or mask255, colours
    ignore: 255            # optional: a number, for colours [r, g, b], or several
    ids: {10: water}       # optional: number on disk: class name or id, or `ignore`
    foreground: water      # optional, as clutter: the name of a class

Names are text and ids whole numbers; what YAML would read otherwise is an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossearth_jax.data.classes import (
    ENCODINGS,
    KINDS,
    ClassSet,
    LabelEncoding,
    check_encoding,
    colour,
    refuse_repeats,
)
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import Pairs, read_json
from crossearth_jax.system.read_yaml import (
    MAX_BYTES,
    WHOLE,
    Plain,
    at,
    read_yaml,
)

NAME = 100  # characters of a class name
DROPPED = "ignore"  # what an id means that is not a class
_SCORED = ("foreground", "clutter")
_KEYS = {"classes", "encoding", "ignore", "ids", *_SCORED}


def read_class_file(path: Path) -> ClassSet:
    """Reads a class file, see above.

    Raises:
      ValueError: see `ClassSet.from_file`.
    """
    try:
        return _class_set(_load(path))
    except ValueError as error:
        raise ValueError(f"class file {path}: {error}") from error


def _load(path: Path) -> Plain:
    if not path.is_file():
        raise ValueError("got no such file, expected YAML or JSON: check data.classes")
    try:
        if path.suffix != ".json":
            return read_yaml(path)
        return Plain(read_json(path, max_bytes=MAX_BYTES, pairs=_unique))
    except OSError as error:
        raise ValueError(f"cannot be read ({error})") from error


def _unique(pairs: Pairs) -> dict[str, Any]:
    refuse_repeats("the key", [key for key, _ in pairs])
    return dict(pairs)


def _class_set(plain: Plain) -> ClassSet:
    content = plain.content

    @contextmanager
    def named(*place: str | int) -> Iterator[None]:
        """Errors inside name the line and the key."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{at(place, plain.lines)}{error}") from error

    if not isinstance(content, Mapping):
        raise ValueError("expected a mapping with `classes` and `encoding`")
    _refuse_unknown_keys(content, _KEYS)
    entries = content.get("classes")
    if not isinstance(entries, list):
        raise ValueError("expected `classes`, a list of {name, color: [r, g, b]}")
    names, palette = [], []
    for k, entry in enumerate(entries):
        with named("classes", k):
            _check_entry(entry)
        with named("classes", k, "name"):
            names.append(_class_name(entry["name"]))
        with named("classes", k, "color"):
            palette.append(colour(entry["color"]))
    with named("encoding"):
        kind = content.get("encoding")
        if kind not in KINDS:
            shown = quoted(kind)
            raise ValueError(
                f"got encoding {shown}, expected one of {', '.join(KINDS)}"
            )
    with named("ignore"):
        ignore = content.get("ignore", ENCODINGS[kind].ignore)
        if isinstance(ignore, list):
            ignore = _ignored(ignore, kind)
    pairs = []
    for raw, target in _ids(content.get("ids")).items():
        with named("ids", raw):
            pairs.append((_whole(raw), _target(target, names)))
    refuse_repeats("id on disk", [raw for raw, _ in pairs])
    encoding = LabelEncoding(kind, ignore, tuple(sorted(pairs)) or None)
    also = {}
    for what in _SCORED:
        with named(what):
            also[what] = _class_id(what, content.get(what), names)
    classes = ClassSet(tuple(names), tuple(palette), encoding, **also)
    check_encoding(classes, encoding)
    return classes


def _ignored(values: list[Any], kind: str) -> Any:
    """One colour, or several numbers or colours."""
    if kind != "colours":
        return tuple(values)
    several = values and all(isinstance(value, list) for value in values)
    return tuple(map(colour, values)) if several else colour(values)


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, Mapping) or not {"name", "color"} <= entry.keys():
        raise ValueError(
            f"got class {quoted(entry)}, expected {{name, color: [r, g, b]}}"
        )
    _refuse_unknown_keys(entry, {"name", "color"})


def _class_name(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(
            f"got the name {quoted(name)}, expected text: put it in quotes"
        )
    if not 0 < len(name) <= NAME or not name.isprintable():
        raise ValueError(
            f"got the name {quoted(name)}, expected 1 to {NAME} printable characters"
        )
    return name


def _class_id(what: str, name: Any, names: Sequence[str]) -> int | None:
    if name is None:
        return None
    if name not in names:
        known = quoted(list(names))
        raise ValueError(f"got {what} {quoted(name)}, expected one of {known}")
    return names.index(name)


def _ids(ids: Any) -> Mapping[str | int, Any]:
    if ids is None:
        return {}
    if not isinstance(ids, Mapping) or not ids:
        raise ValueError(f"got ids {quoted(ids)}, expected {{number on disk: class}}")
    return ids


def _whole(raw: str | int) -> int:
    """A number on disk; JSON has no integer keys."""
    if isinstance(raw, int):
        return raw
    if not WHOLE.fullmatch(raw):
        raise ValueError(f"got ids key {quoted(raw)}, expected an integer")
    return int(raw)


def _target(target: Any, names: Sequence[str]) -> int:
    if isinstance(target, str) and target in names:
        return names.index(target)
    if type(target) is int and 0 <= target < len(names):
        return target
    if target == DROPPED:
        return IGNORE
    raise ValueError(
        f"got ids entry {quoted(target)}, expected a class name, its id or {DROPPED}"
    )


def _refuse_unknown_keys(content: Mapping[Any, Any], known: set[str]) -> None:
    if unknown := [key for key in content if key not in known]:
        raise ValueError(
            f"got unknown key(s) {', '.join(map(quoted, unknown[:5]))}, expected "
            f"{', '.join(sorted(known))}"
        )

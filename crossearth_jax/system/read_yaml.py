"""YAML that means what it shows: text, whole numbers, lists and mappings, bounded.

YAML 1.1 reads `no` as false, `010` as 8 and `1:30` as 90. Here a plain word that YAML
would not take as text is an error that names its line, and so are keys that occur
twice, tags, references (`*name`), and everything deeper or larger than plain lists are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml import events

from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import read_bounded

MAX_BYTES = 128 * 2**10  # 255 classes with comments take 30 kB; PyYAML reads 0.3 MB/s
MAX_DEPTH = 8
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")

Place = tuple[str | int, ...]


@dataclass
class Plain:
    """What a file holds, and where.

    Attributes:
      content: str, int, and lists and dicts of them; keys are str or int.
      lines: 1-based line of every value, by the keys and indices that lead to it.
    """

    content: Any
    lines: dict[Place, int] = field(default_factory=dict)


def read_yaml(path: str | Path) -> Plain:
    """Reads one YAML document.

    Raises:
      ValueError: it is too large, not YAML, or says something that could be read in
        two ways; names the line and, inside a mapping, the key.
      OSError: it cannot be read.
    """
    text = read_bounded(path, MAX_BYTES)
    plain = Plain(None)
    try:
        stream = yaml.parse(text, Loader=yaml.SafeLoader)
        _expect(stream, events.StreamStartEvent, events.DocumentStartEvent)
        plain.content = _value(next(stream), stream, (), plain.lines)
        _expect(stream, events.DocumentEndEvent, events.StreamEndEvent)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {quoted_problem(error)}") from error
    return plain


def quoted_problem(error: yaml.YAMLError) -> str:
    """What PyYAML complains about, with the line, without the text around it."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _expect(stream: Iterator[events.Event], *kinds: type) -> None:
    for kind in kinds:
        event = next(stream)
        if not isinstance(event, kind):
            raise ValueError(
                f"line {event.start_mark.line + 1}: expected one document with a "
                "mapping"
            )


def _value(
    event: events.Event,
    stream: Iterator[events.Event],
    place: Place,
    lines: dict[Place, int],
) -> Any:
    """Builds one value out of the events from here on."""
    lines[place] = event.start_mark.line + 1
    where = f"line {lines[place]}{_key(place)}"
    if isinstance(event, events.AliasEvent):
        raise ValueError(f"{where}: got a reference (*name): write the value out")
    if (tag := getattr(event, "tag", None)) is not None:
        raise ValueError(f"{where}: got the tag {quoted(tag)}: remove it")
    if isinstance(event, events.ScalarEvent):
        return _scalar(event, where)
    if len(place) >= MAX_DEPTH:
        raise ValueError(f"{where}: nested deeper than {MAX_DEPTH}")
    if isinstance(event, events.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(event := next(stream), events.SequenceEndEvent):
            items.append(_value(event, stream, (*place, len(items)), lines))
        return items
    if not isinstance(event, events.MappingStartEvent):
        raise ValueError(f"{where}: expected a mapping with `classes` and `encoding`")
    table: dict[str | int, Any] = {}
    while not isinstance(event := next(stream), events.MappingEndEvent):
        line = event.start_mark.line + 1
        if not isinstance(event, events.ScalarEvent):
            raise ValueError(f"line {line}: got a list or mapping as a key")
        key = _scalar(event, f"line {line}, a key")
        if key in table:
            raise ValueError(
                f"line {line}: got the key {quoted(key)} twice, expected each one once"
            )
        table[key] = _value(next(stream), stream, (*place, key), lines)
    return table


def _scalar(event: events.ScalarEvent, where: str) -> str | int:
    """A quoted or plain word as text, or a whole number as it is usually written."""
    if not event.implicit[0]:  # in quotes, or a block of text
        return event.value
    if WHOLE.fullmatch(event.value):
        return int(event.value)
    tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, (True, False))
    if tag == "tag:yaml.org,2002:str":
        return event.value
    kind = tag.rsplit(":", 1)[-1]
    raise ValueError(
        f"{where}: got {event.value[:40] or 'nothing'}, which YAML reads as {kind}: "
        "put text into quotes, write numbers without point or leading zero"
    )


def at(place: Place, lines: Mapping[Place, int]) -> str:
    """Where a value stands, for a message: "line 3, classes[0].name: " or so."""
    shown = _key(place).removeprefix(", key ")
    line = f"line {lines[place]}" if place in lines else ""
    return ", ".join(filter(None, (line, shown))) + (": " if line or shown else "")


def _key(place: Place) -> str:
    """(classes, 0, name) as ", key classes[0].name"."""
    shown = "".join(
        f"[{part}]" if isinstance(part, int) else f".{quoted(part)[1:-1]}"
        for part in place
    ).removeprefix(".")
    return f", key {shown}" if shown else ""


_RESOLVER = yaml.SafeLoader("")

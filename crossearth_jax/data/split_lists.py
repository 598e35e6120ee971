"""Split lists: text files that say which images belong to a split.

Two forms, a line each; empty lines and those that begin with "#" are skipped:

- `@FILE` alone names both files, "IMAGE LABEL", relative to the list's own folder; a
  path with blanks stands in quotes;
- `IMAGES:LABELS@FILE` (FILE ends in .txt) names images of the two folders, by their
  names with or without suffix.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from crossearth_jax.system.escape import quoted, terminal
from crossearth_jax.system.read_lines import read_lines

T = TypeVar("T")


def listed_pairs(file: Path) -> tuple[tuple[Path, Path, str], ...]:
    """(image, label, name) of every line of an `@FILE`.

    Raises:
      ValueError: the list is missing or empty, a line has not two paths, a file is
        missing, or an image is listed twice.
    """
    pairs = []
    for place, line in _lines(file):
        try:
            parts = shlex.split(line)
        except ValueError as error:
            raise ValueError(f"{place}: got {quoted(line)} ({error})") from error
        if len(parts) != 2:
            raise ValueError(
                f"{place}: got {quoted(line)}, expected IMAGE LABEL: put paths with "
                "blanks in quotes, or list names with IMAGES:LABELS@FILE"
            )
        image, label = (_file(place, file.parent, part) for part in parts)
        pairs.append((image, label))
    stems = Counter(image.stem for image, _ in pairs)
    named = [
        (image, label, image.stem if stems[image.stem] == 1 else _longer(image))
        for image, label in pairs
    ]
    _refuse_repeats(file, [name for *_, name in named])
    return tuple(named)


def listed(file: Path, known: Mapping[str, T], place: Path) -> dict[str, T]:
    """The entries of `known` that a list names, in the list's order.

    Args:
      file: the list.
      known: by name without suffix.
      place: where they are, for messages.

    Raises:
      ValueError: the list is missing or empty, or names something unknown or twice.
    """
    names = []
    for where, line in _lines(file):
        name = line if line in known else Path(line).stem
        if name not in known:
            raise ValueError(
                f"{where}: got {quoted(line)}, expected the name of an image in {place}"
            )
        names.append(name)
    _refuse_repeats(file, names)
    return {name: known[name] for name in names}


def _file(place: str, folder: Path, part: str) -> Path:
    with suppress(OSError, RuntimeError, ValueError):  # too long, no such home, a NUL
        path = folder / Path(part).expanduser()
        if path.is_file():
            return path
    shown = terminal(folder / part, 300)
    raise ValueError(f"{place}: got {shown}, expected a file: correct it")


def _longer(image: Path) -> str:
    return f"{image.absolute().parent.name}.{image.stem}"


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """(place for messages, content) of every line that counts."""
    is_empty = True
    try:
        for number, line in read_lines(file):
            is_empty = False
            yield f"{file}, line {number}", line
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file}: cannot be read ({error}), expected a text file of images: check "
            "the path behind the @"
        ) from error
    if is_empty:
        raise ValueError(f"{file}: got an empty list, expected one image a line")


def _refuse_repeats(file: Path, names: list[str]) -> None:
    if repeats := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"{file}: got {quoted(repeats[0])} twice, expected each image once: remove "
            "the copies"
        )

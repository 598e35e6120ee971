"""Classes, their colours, and how label files encode them.

An encoding is always declared, by the class file or `data.encoding`, never guessed
(`infer.py` accepts the one case that has a single reading).
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Integer, UInt8

from crossearth_jax.pixels.labels import IGNORE, Colour
from crossearth_jax.system.escape import cut, quoted
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.whole_file import whole_file

Kind = Literal["ids", "mask255", "colours"]
KINDS: tuple[Kind, ...] = ("ids", "mask255", "colours")


@dataclass(frozen=True)
class LabelEncoding:
    """What the numbers or colours in label files mean.

    Attributes:
      kind: "ids" (numbers), "mask255" (0 and 255 are classes 0 and 1) or "colours"
        (the palette of the classes).
      ignore: the number ("ids", "mask255") or colour ("colours") of pixels that count
        nowhere, or several of them; None without one.
      ids: pairs (number on disk, class id or 255 for ignored) for "ids"; None means
        number = class id.
    """

    kind: Kind
    ignore: int | Colour | tuple[int | Colour, ...] | None = None
    ids: tuple[tuple[int, int], ...] | None = None

    def ignored(self) -> tuple[int | Colour, ...]:
        """All ignored numbers or colours."""
        if self.ignore is None:
            return ()
        if not isinstance(self.ignore, tuple):
            return (self.ignore,)
        numbers = all(isinstance(value, int) for value in self.ignore)
        if self.kind == "colours" and numbers:  # of one colour
            return (cast(Colour, self.ignore),)
        return self.ignore


# What an encoding means when only its name is given.
ENCODINGS: dict[str, LabelEncoding] = {
    "ids": LabelEncoding("ids", ignore=IGNORE),
    "mask255": LabelEncoding("mask255"),
    "colours": LabelEncoding("colours"),
}


def refuse_repeats(what: str, values: Sequence[Any]) -> None:
    """Raises `ValueError` where a value occurs twice."""
    if repeats := [v for v, n in Counter(values).items() if n > 1]:
        twice = quoted(repeats[0])
        raise ValueError(f"got {what} {twice} twice, expected each one once")


@dataclass(frozen=True)
class ClassSet:
    """Names and colours of the classes 0..K-1, in order.

    Attributes:
      names: K names.
      palette: K RGB colours, 0-255.
      encoding: how the label files encode them, if the class file states it.
      foreground: id of the one class that a binary set is about; its IoU is also
        reported by itself.
      clutter: id of a left-over class; the mean is also reported without it.

    Raises:
      ValueError: fewer than 2 or more than 255 classes, repeated names, or a palette
        or an invalid id.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    encoding: LabelEncoding | None = None
    foreground: int | None = None
    clutter: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) <= IGNORE:
            raise ValueError(
                f"got {len(self.names)} classes, expected 2 to {IGNORE}: list every "
                "class, background included"
            )
        refuse_repeats("class name", self.names)
        if len(self.palette) != len(self.names):
            raise ValueError(
                f"got {len(self.palette)} colours for {len(self.names)} classes, "
                "expected one each: complete the palette"
            )
        for what, k in (("foreground", self.foreground), ("clutter", self.clutter)):
            if k is not None and not 0 <= k < len(self.names):
                raise ValueError(
                    f"got {what} class {k}, expected an id from 0 to "
                    f"{len(self.names) - 1}"
                )

    @classmethod
    def from_file(cls, path: Path | str) -> "ClassSet":
        """Reads a YAML or JSON class file.

        Its keys stand in `class_file`.

        Raises:
          ValueError: the file is missing, not YAML/JSON, or a key is absent, unknown,
            occurs twice, can be read in two ways or contradicts another; names the
            line (of YAML) and the key.
        """
        from crossearth_jax.data.class_file import read_class_file

        return read_class_file(Path(path))


def save_classes(classes: ClassSet, path: Path) -> None:
    """Keeps names and colours beside the results of a run, as JSON."""
    content = {"names": classes.names, "palette": classes.palette}
    with whole_file(path) as place:
        place.write_text(json.dumps(content, indent=2) + "\n")


def load_classes(path: Path) -> ClassSet:
    """Reads what `save_classes` wrote.

    Raises:
      ValueError: the file is missing or holds something else.
    """
    try:
        content = read_json(path)
        if not isinstance(content, dict) or not content.keys() >= {"names", "palette"}:
            raise ValueError("without names and palette")
        palette = tuple(colour(one) for one in content["palette"])
        names = content["names"]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError("expected a list of names")
        return ClassSet(tuple(names), palette)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"got {path} ({cut(str(error), 300)}), expected a JSON object with `names` "
            "and `palette`, as training writes it: copy it from the run"
        ) from error


def resolve_encoding(
    classes: ClassSet, encoding: LabelEncoding | str | None
) -> LabelEncoding:
    """The encoding that applies: the given one, else the class file's.

    Raises:
      ValueError: none is known, the name is unknown, or it does not fit the classes.
    """
    if isinstance(encoding, str):
        if encoding not in ENCODINGS:
            raise ValueError(
                f"got data.encoding={encoding!r}, expected one of {', '.join(KINDS)}"
            )
        # A class file that details the same encoding (ids, ignore) still applies.
        said = classes.encoding
        same = said is not None and said.kind == encoding
        encoding = said if same else ENCODINGS[encoding]
    encoding = encoding or classes.encoding
    if encoding is None:
        raise ValueError(
            "got no label encoding, expected one: set data.encoding= to one of "
            f"{', '.join(KINDS)}, or write `encoding` into the class file"
        )
    check_encoding(classes, encoding)
    return encoding


def encode_label(
    raw: Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"],
    classes: ClassSet,
    encoding: LabelEncoding,
) -> UInt8[np.ndarray, "H W"]:
    """Numbers or colours of a label file to class ids, 255 where ignored.

    Raises:
      ValueError: a value means no class; lists which, how often, and what to do.
    """
    codes = label_codes(raw, encoding)
    meaning = _meaning(classes, encoding)
    known = np.array(sorted(meaning))
    targets = np.array([meaning[k] for k in known.tolist()], np.uint8)
    place = np.searchsorted(known, codes).clip(max=len(known) - 1)  # [H, W]
    if (unknown := known[place] != codes).any():
        raise ValueError(_unknown_values(codes[unknown], classes, encoding))
    return targets[place]


def label_codes(
    raw: Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"],
    encoding: LabelEncoding,
) -> Integer[np.ndarray, "H W"]:
    """Numbers as they are, colours as 0xRRGGBB.

    Raises:
      ValueError: colours where the encoding has numbers.
    """
    if encoding.kind == "colours":
        if raw.ndim == 2:
            raw = np.repeat(raw[:, :, None], 3, axis=2)
        return raw.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])  # [H, W]
    if raw.ndim == 3:
        raise ValueError(
            f"got a colour label, expected numbers ({encoding.kind}): set "
            "data.encoding=colours and give the palette in a class file"
        )
    return raw.astype(np.int64)


def meaning_of(classes: ClassSet, encoding: LabelEncoding) -> dict[int, int]:
    """{number or colour code on disk: class id}, 255 where ignored."""
    return _meaning(classes, encoding)


def colour(value: Any) -> Colour:
    """Passes three integers 0-255, refuses the rest."""
    ok = isinstance(value, list | tuple) and len(value) == 3
    if not ok or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise ValueError(f"got color {quoted(value)}, expected three integers 0-255")
    return tuple(value)


# Encodings


def check_encoding(classes: ClassSet, encoding: LabelEncoding) -> None:
    """Raises `ValueError` where an encoding does not fit the classes or itself."""
    kind = encoding.kind
    if kind == "mask255" and len(classes.names) != 2:
        raise ValueError(
            f"got encoding mask255 for {len(classes.names)} classes, expected 2"
        )
    if kind != "ids" and encoding.ids is not None:
        raise ValueError(f"got `ids` with encoding {kind}, expected it with ids only")
    if kind == "colours":
        refuse_repeats("color", classes.palette)
    expected = tuple if kind == "colours" else int
    meaning = _class_meaning(classes, encoding)
    for ignore in encoding.ignored():
        if not isinstance(ignore, expected):
            raise ValueError(
                f"got ignore {quoted(ignore)} with encoding {kind}, expected "
                + ("a color [r, g, b]" if kind == "colours" else "a number")
            )
        if (meant := meaning.get(_code(ignore), IGNORE)) != IGNORE:
            raise ValueError(
                f"got ignore {ignore}, which also means class "
                f"{classes.names[meant]!r}: change one of them"
            )
    refuse_repeats("ignored value", encoding.ignored())


def _code(value: int | Colour) -> int:
    """A number as it is, a colour as 0xRRGGBB."""
    if isinstance(value, int):
        return value
    return value[0] << 16 | value[1] << 8 | value[2]


def _class_meaning(classes: ClassSet, encoding: LabelEncoding) -> dict[int, int]:
    """{number or colour code on disk: class id}."""
    if encoding.kind == "mask255":
        return {0: 0, 255: 1}
    if encoding.kind == "colours":
        return {_code(colour): k for k, colour in enumerate(classes.palette)}
    if encoding.ids is not None:
        return dict(encoding.ids)
    return {k: k for k in range(len(classes.names))}


def _meaning(classes: ClassSet, encoding: LabelEncoding) -> dict[int, int]:
    meaning = _class_meaning(classes, encoding)
    return meaning | {_code(value): IGNORE for value in encoding.ignored()}


def _unknown_values(
    codes: np.ndarray, classes: ClassSet, encoding: LabelEncoding
) -> str:
    """The message for values that mean no class."""
    values, counts = np.unique(codes, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:5]

    def show(code: int) -> str:
        if encoding.kind != "colours":
            return str(code)
        return str((code >> 16, code >> 8 & 255, code & 255))

    seen = ", ".join(f"{show(int(values[i]))} in {counts[i]} pixels" for i in most)
    more = f" and {len(values) - 5} other values" if len(values) > 5 else ""
    known = ", ".join(show(k) for k in sorted(_meaning(classes, encoding))[:20])
    hint = "map it in the class file (`ids`, `ignore`) or correct the label"
    if encoding.kind == "ids" and set(values.tolist()) <= {255}:
        hint += "; for 0/255 masks set data.encoding=mask255"
    elif len(values) > 20:
        hint = "lossy (JPEG) or resampled labels cannot be used: export them again"
    return (
        f"got label value {seen}{more}, expected {encoding.kind} {known} of "
        f"{len(classes.names)} classes: {hint}"
    )

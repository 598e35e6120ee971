"""Colour tables of indexed label files: their indices are ids only if the tables agree.

Some tools write each file with a table of the colours that it holds. Class 2 is then
index 1 in a file without class 1.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

from crossearth_jax.data.classes import Colour
from crossearth_jax.data.packed import Packed

Table = Mapping[int, Colour]


def colours_of(data: bytes, values: Iterable[int]) -> Table:
    """The colours that an indexed file gives some values; empty for other files."""
    try:
        with Image.open(BytesIO(data)) as image:
            if image.mode != "P":
                return {}
            table = image.getpalette("RGB") or []
    except Exception:  # a type that Pillow does not know has no table that it knows
        return {}
    colours = {v: tuple(table[3 * v : 3 * v + 3]) for v in values if v < 256}
    return {v: c for v, c in colours.items() if len(c) == 3}


class Palettes:
    """The colour tables seen so far."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Colour, Path | Packed]] = {}

    def add(self, path: Path | Packed, table: Table) -> None:
        """Takes a file's table in.

        Raises:
          ValueError: it gives a value another colour than an earlier file.
        """
        for value, colour in table.items():
            before, where = self._seen.setdefault(value, (colour, path))
            if before != colour:
                raise ValueError(
                    f"{path}: index {value} has color {colour}, but {before} in "
                    f"{where}, so the indices may not be class ids: set "
                    "data.encoding=colours and give the colours in a class file, or "
                    "write the labels as grey PNG"
                )

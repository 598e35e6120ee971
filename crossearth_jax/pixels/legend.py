"""What the colours of a picture mean: swatches with names, wrapped to its width."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from crossearth_jax.pixels.drawing import (
    GAP,
    INK,
    LINE,
    PAPER,
    TEXT,
    font_of,
    write_line,
)
from crossearth_jax.pixels.labels import Colour

SWATCH = TEXT + 2
INDENT = 72  # behind a heading
HATCH = (150, 190)  # two greys: no class palette is striped

Entry = tuple[str, Image.Image]


def legend(groups: Mapping[str, Sequence[Entry]], width: int) -> Image.Image:
    """Draws the entries of each group, named by its heading.

    Args:
      groups: entries by heading, which a single group may leave empty.
      width: of the result, pixels.
    """
    left = GAP + (INDENT if any(groups) else 0)
    wrapped = {name: _wrapped(group, width - left) for name, group in groups.items()}
    lines = sum(map(len, wrapped.values()))
    picture = Image.new("RGB", (width, lines * LINE + GAP * bool(lines)), PAPER)
    draw = ImageDraw.Draw(picture)
    y = 0
    for heading, group in wrapped.items():
        write_line(draw, (GAP, y), heading, left)
        for line in group:
            for x, name, square in line:
                picture.paste(square, (left + x, y))
                place = left + x + SWATCH + 6, y
                write_line(draw, place, name, width - left - x)
            y += LINE
    return picture


def class_entries(names: Sequence[str], palette: Sequence[Colour]) -> list[Entry]:
    """An entry per class."""
    return [(n, swatch(colour)) for n, colour in zip(names, palette, strict=True)]


def swatch(colour: Colour) -> Image.Image:
    """A filled square with an outline, so that white and black show on any paper."""
    square = Image.new("RGB", (SWATCH, SWATCH), colour)
    ImageDraw.Draw(square).rectangle((0, 0, SWATCH - 1, SWATCH - 1), outline=INK)
    return square


def hatch(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Grey diagonal stripes, for pixels that nobody annotated."""
    stripe = np.add.outer(np.arange(height), np.arange(width)) // 4 % 2
    return np.repeat(np.array(HATCH, np.uint8)[stripe][..., None], 3, axis=2)


def not_annotated(name: str = "not annotated") -> Entry:
    """The entry of hatched pixels."""
    return name, Image.fromarray(hatch(SWATCH, SWATCH))


def _wrapped(
    entries: Sequence[Entry], width: int
) -> list[list[tuple[int, str, Image.Image]]]:
    """Lines of (x, name, swatch) that fit the width; a line has at least one entry."""
    lines, x = [[]], 0
    for name, square in entries:
        step = SWATCH + 6 + int(font_of(TEXT).getlength(name)) + 18
        if lines[-1] and x + step > width:
            lines.append([])
            x = 0
        lines[-1].append((x, name, square))
        x += step
    return lines

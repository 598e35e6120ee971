"""One picture per domain: image, truth, prediction and error, with a legend."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from crossearth_jax.pixels.drawing import (
    INK,
    PAPER,
    TEXT,
    font_of,
    write_line,
)
from crossearth_jax.scoring.domain import Example

PANEL = 288  # pixels of a panel's longer side
GAP = 12
LINE = TEXT + 7
SWATCH = 17
LEGEND_LEFT = GAP + 72
RIGHT, WRONG = (150, 208, 150), (196, 32, 44)  # differ in lightness too
HATCH = (150, 190)  # two greys: no class palette is striped
COLUMNS = ("image", "truth", "prediction", "error")

Colour = tuple[int, int, int]


def domain_picture(
    title: str,
    examples: Sequence[Example],
    names: Sequence[str],
    palette: Sequence[Colour],
    ignore: int = 255,
) -> Image.Image:
    """Draws a row per example under column headers, and the class legend.

    Args:
      title: printed at the top.
      examples: rows from top to bottom.
      names: the classes, by id.
      palette: RGB of every class, as `names`.
      ignore: the label value that is drawn grey.
    """
    colours = _lookup(palette)
    rows = [_panels(example, colours, ignore) for example in examples]
    width = GAP + len(COLUMNS) * (PANEL + GAP)
    legend = _legend(names, palette, width)
    heights = [LINE + row[0].height + GAP for row in rows]
    top = GAP + 2 * LINE
    picture = Image.new("RGB", (width, top + sum(heights) + legend.height), PAPER)
    draw = ImageDraw.Draw(picture)
    write_line(draw, (GAP, GAP), title, width - 2 * GAP, TEXT + 3)
    lefts = [GAP + i * (PANEL + GAP) for i in range(len(COLUMNS))]
    for left, header in zip(lefts, COLUMNS, strict=True):
        write_line(draw, (left, GAP + LINE + 4), header, PANEL)
    for example, row, height in zip(examples, rows, heights, strict=True):
        write_line(draw, (GAP, top + 4), example.name, width - 2 * GAP, size=TEXT - 3)
        for left, panel in zip(lefts, row, strict=True):
            x, y = left + (PANEL - panel.width) // 2, top + LINE
            frame = x - 1, y - 1, x + panel.width, y + panel.height
            draw.rectangle(frame, outline=INK)  # white classes on white paper
            picture.paste(panel, (x, y))
        top += height
    picture.paste(legend, (0, top))
    return picture


def _lookup(palette: Sequence[Colour]) -> UInt8[np.ndarray, "256 3"]:
    """Colours by id; ids without a class are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.asarray(palette, np.uint8)
    return colours


def _panels(
    example: Example, colours: UInt8[np.ndarray, "256 3"], ignore: int
) -> list[Image.Image]:
    """The four panels of a row, all of one size."""
    height, width = example.image.shape[:2]
    scale = PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(example.image).resize(size, Image.Resampling.BICUBIC)
    nearest = Image.Resampling.NEAREST  # ids must not be mixed
    truth = np.asarray(Image.fromarray(example.truth).resize(size, nearest))
    prediction = np.asarray(Image.fromarray(example.prediction).resize(size, nearest))
    ignored = (truth == ignore)[..., None]
    hatch = _hatch(*truth.shape)
    right = (truth == prediction)[..., None]
    error = np.where(right, np.uint8(RIGHT), np.uint8(WRONG))
    maps = (
        np.where(ignored, hatch, colours[truth]),
        colours[prediction],
        np.where(ignored, hatch, error),
    )
    return [image, *(Image.fromarray(one) for one in maps)]


def _hatch(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Grey diagonal stripes."""
    stripe = np.add.outer(np.arange(height), np.arange(width)) // 4 % 2
    return np.repeat(np.uint8(HATCH)[stripe][..., None], 3, axis=2)


def _legend(names: Sequence[str], palette: Sequence[Colour], width: int) -> Image.Image:
    """Swatches with names, wrapped to the width: first the classes, then the error."""
    classes = [(n, _swatch(c)) for n, c in zip(names, palette, strict=True)]
    grey = ("not annotated", Image.fromarray(_hatch(SWATCH, SWATCH)))
    error = [("right", _swatch(RIGHT)), ("wrong", _swatch(WRONG)), grey]
    class_lines = _wrapped([*classes, grey], width - LEGEND_LEFT)
    lines = [*class_lines, *_wrapped(error, width - LEGEND_LEFT)]
    legend = Image.new("RGB", (width, len(lines) * LINE + GAP), PAPER)
    draw = ImageDraw.Draw(legend)
    write_line(draw, (GAP, 0), "classes:", LEGEND_LEFT)
    write_line(draw, (GAP, len(class_lines) * LINE), "error:", LEGEND_LEFT)
    for i, line in enumerate(lines):
        for x, name, swatch in line:
            place = LEGEND_LEFT + x, i * LINE
            legend.paste(swatch, place)
            write_line(draw, (place[0] + SWATCH + 6, place[1]), name, width - place[0])
    return legend


Entry = tuple[str, Image.Image]


def _wrapped(
    entries: Sequence[Entry], width: int
) -> list[list[tuple[int, str, Image.Image]]]:
    """Lines of (x, name, swatch) that fit the width; a line has at least one entry."""
    lines, x = [[]], 0
    for name, swatch in entries:
        step = SWATCH + 6 + int(font_of(TEXT).getlength(name)) + 18
        if lines[-1] and x + step > width:
            lines.append([])
            x = 0
        lines[-1].append((x, name, swatch))
        x += step
    return lines


def _swatch(colour: Colour) -> Image.Image:
    """A filled square with an outline, so that white and black show on any paper."""
    square = Image.new("RGB", (SWATCH, SWATCH), colour)
    ImageDraw.Draw(square).rectangle((0, 0, SWATCH - 1, SWATCH - 1), outline=INK)
    return square

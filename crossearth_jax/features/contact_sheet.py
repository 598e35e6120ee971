"""Images and their feature maps in one picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from crossearth_jax.pixels.drawing import PAPER, TEXT, write_line

PANEL = 256  # pixels of a panel's longer side
GAP, LINE = 12, 22
MOST = 24  # rows


def shown_rows(count: int) -> list[int]:
    """Rows of a sheet: all, or `MOST` of them evenly spaced."""
    places = np.linspace(0, count - 1, min(count, MOST)).round().astype(int)
    return places.tolist()


def contact_sheet(
    names: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]],
) -> Image.Image:
    """A row per image under column headers.

    Args:
      names: of the images.
      columns: headers.
      rows: pictures of each image, one size a row.
    """
    panels = [[_panel(picture) for picture in row] for row in rows]
    width = GAP + len(columns) * (PANEL + GAP)
    heights = [LINE + row[0].height + GAP for row in panels]
    sheet = Image.new("RGB", (width, GAP + LINE + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [GAP + i * (PANEL + GAP) for i in range(len(columns))]
    for left, header in zip(lefts, columns, strict=True):
        write_line(draw, (left, GAP), header, PANEL)
    top = GAP + LINE
    for name, row, height in zip(names, panels, heights, strict=True):
        write_line(draw, (GAP, top + 4), name, width - 2 * GAP, TEXT - 3)
        for left, panel in zip(lefts, row, strict=True):
            sheet.paste(panel, (left, top + LINE))
        top += height
    return sheet


def _panel(picture: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
    scale = PANEL / max(picture.shape[:2])
    height, width = (max(1, round(n * scale)) for n in picture.shape[:2])
    image = Image.fromarray(picture)
    return image.resize((width, height), Image.Resampling.BICUBIC)

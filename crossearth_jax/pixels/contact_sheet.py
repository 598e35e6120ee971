"""Pictures in rows and columns with their names, headers and a legend below."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from crossearth_jax.pixels.drawing import GAP, INK, LINE, PAPER, TEXT, write_line
from crossearth_jax.pixels.labels import IGNORE, Colour, coloured
from crossearth_jax.pixels.legend import Entry, hatch, legend

PANEL = 288  # pixels of a panel's longer side

Picture = UInt8[np.ndarray, "_ _ 3"]
Cell = tuple[str, Sequence[Picture]]  # a name over panels of one size


def contact_sheet(
    cells: Sequence[Cell],
    *,
    columns: Sequence[str] = (),
    title: str = "",
    groups: Mapping[str, Sequence[Entry]] | None = None,
    across: int = 1,
    panel: int = PANEL,
) -> Image.Image:
    """Draws named cells of panels, each panel in a thin frame.

    Args:
      cells: from left to right and top to bottom. Without any name there is no line
        for names.
      columns: headers of the panels of a cell.
      title: printed at the top.
      groups: entries of the legend by heading, see `legend`.
      across: cells side by side.
      panel: width of a panel's place, pixels; narrower ones stand in its middle.
    """
    across = max(1, min(across, len(cells)))
    rows = [cells[i : i + across] for i in range(0, len(cells), across)]
    most = max((len(panels) for _, panels in cells), default=1)
    step = (len(columns) or most) * (panel + GAP)  # from cell to cell
    width = GAP + across * step
    above = LINE if any(name for name, _ in cells) else 0
    heights = [above + max(len(p[0]) for _, p in row) + GAP for row in rows]
    below = legend(groups or {}, width)
    top = GAP + LINE * (bool(title) + bool(columns))
    sheet = Image.new("RGB", (width, top + sum(heights) + below.height), PAPER)
    draw = ImageDraw.Draw(sheet)
    write_line(draw, (GAP, GAP), title, width - 2 * GAP, TEXT + 3)
    for i, header in enumerate((*columns,) * across):
        write_line(draw, (GAP + i * (panel + GAP), top - LINE + 4), header, panel)
    for row, height in zip(rows, heights, strict=True):
        for i, (name, panels) in enumerate(row):
            left = GAP + i * step
            write_line(draw, (left, top + 4), name, step - GAP, TEXT - 3)
            for k, picture in enumerate(panels):
                x = left + k * (panel + GAP) + (panel - picture.shape[1]) // 2
                _framed(sheet, (x, top + above), picture)
        top += height
    sheet.paste(below, (0, top))
    return sheet


def _framed(sheet: Image.Image, place: tuple[int, int], picture: Picture) -> None:
    """A frame of one pixel, for white classes on white paper."""
    (x, y), (height, width) = place, picture.shape[:2]
    frame = x - 1, y - 1, x + width, y + height
    ImageDraw.Draw(sheet).rectangle(frame, outline=INK)
    sheet.paste(Image.fromarray(picture), place)


def fitted(image: UInt8[np.ndarray, "H W 3"], panel: int = PANEL) -> Picture:
    """An image whose longer side is as long as a panel."""
    height, width = image.shape[:2]
    scale = panel / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(shrunk)


def fitted_ids(
    ids: UInt8[np.ndarray, "H W"], picture: UInt8[np.ndarray, "h w 3"]
) -> UInt8[np.ndarray, "h w"]:
    """Class ids at the size of a fitted image, none mixed."""
    size = picture.shape[1], picture.shape[0]
    return np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))


def class_map(ids: UInt8[np.ndarray, "h w"], palette: Sequence[Colour]) -> Picture:
    """Class ids in their colours, hatched where they are ignored."""
    ignored = (ids == IGNORE)[..., None]
    return np.where(ignored, hatch(*ids.shape), coloured(ids, palette))


def evenly_spaced(count: int, most: int) -> list[int]:
    """Places of at most `most` of `count` things, the first and the last included."""
    places = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    return places.tolist()

"""One picture per domain: prepared images beside their coloured labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.system.whole_file import whole_file

PANEL = 224  # pixels of a panel's longer side
GAP, LINE = 8, 16
PAIRS_ACROSS, PAIRS = 2, 8
INK, PAPER, IGNORED = (32, 32, 32), (245, 245, 245), (128, 128, 128)


def write_contact_sheet(
    path: Path,
    pairs: Sequence[tuple[Path, Path]],
    classes: ClassSet,
    pixels: Mapping[str, int],
) -> None:
    """Draws evenly spaced pairs and a legend with every class's share.

    Args:
      path: PNG to write.
      pairs: (image, label) files of a domain, in order.
      classes: names and palette; ignored pixels are grey.
      pixels: written pixels by class name, and "ignored".
    """
    picks = np.linspace(0, len(pairs) - 1, min(PAIRS, len(pairs))).round().astype(int)
    rows = -(-len(picks) // PAIRS_ACROSS)
    cell_width, cell_height = 2 * PANEL + 2 * GAP, PANEL + LINE + GAP
    legend = (len(classes.names) + 1) * LINE + GAP
    size = PAIRS_ACROSS * cell_width + GAP, rows * cell_height + legend + GAP
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, pick in enumerate(picks.tolist()):
        image_file, label_file = pairs[pick]
        left = GAP + place % PAIRS_ACROSS * cell_width
        top = GAP + place // PAIRS_ACROSS * cell_height
        title = f"{image_file.parent.parent.name} {image_file.stem}"
        draw.text((left, top), title[:60], fill=INK)
        image = _shrunk(read_image(image_file), cv2.INTER_AREA)
        label = _shrunk(read_label(label_file, indexed=True), cv2.INTER_NEAREST)
        sheet.paste(Image.fromarray(image), (left, top + LINE))
        panel = Image.fromarray(_coloured(label, classes))
        sheet.paste(panel, (left + PANEL + GAP // 2, top + LINE))
    _draw_legend(draw, rows * cell_height + GAP, classes, pixels)
    with whole_file(path) as place:
        sheet.save(place, format="PNG")


def _draw_legend(
    draw: ImageDraw.ImageDraw, top: int, classes: ClassSet, pixels: Mapping[str, int]
) -> None:
    total = max(sum(pixels.values()), 1)
    entries = zip((*classes.names, "ignored"), (*classes.palette, IGNORED), strict=True)
    for line, (name, colour) in enumerate(entries):
        y = top + line * LINE
        box = GAP, y + 2, GAP + LINE, y + LINE - 2
        draw.rectangle(box, fill=colour, outline=INK)
        text = f"{name}  {pixels.get(name, 0) / total:.2%}"
        draw.text((2 * GAP + LINE, y + 1), text, fill=INK)


def _shrunk(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    scale = PANEL / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    if scale > 1:
        interpolation = cv2.INTER_NEAREST
    return cv2.resize(pixels, (width, height), interpolation=interpolation)


def _coloured(
    label: UInt8[np.ndarray, "h w"], classes: ClassSet
) -> UInt8[np.ndarray, "h w 3"]:
    colours = np.full((256, 3), IGNORED, np.uint8)
    colours[: len(classes.palette)] = classes.palette
    return colours[label]

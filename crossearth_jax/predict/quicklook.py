"""A picture of a map: the scene, the classes over it, and their names."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict import geo
from crossearth_jax.predict.scene import Scene
from crossearth_jax.predict.write import quiet

SIDE = 1024  # pixels of the longer side of a panel
GAP, LINE, TEXT = 12, 24, 16
OPACITY = 0.5  # of the classes over the scene
PAPER, INK = (255, 255, 255), (32, 32, 32)


def write_quicklook(scene: Scene, label: Path, target: Path, classes: ClassSet) -> None:
    """Writes scene and overlay side by side, no data in white, as PNG."""
    rasterio = geo.needed("rasterio")
    source = scene.source
    scale = min(1.0, SIDE / max(source.height, source.width))
    size = max(1, round(source.height * scale)), max(1, round(source.width * scale))
    image, valid = scene.thumbnail(*size)
    image = np.where(valid[..., None], image, np.uint8(255))
    with quiet(), rasterio.open(label) as file:
        ids = file.read(1, out_shape=size)
        known = file.read_masks(1, out_shape=size) > 0
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(classes.palette)] = classes.palette
    mixed = (1 - OPACITY) * image + OPACITY * colours[ids]
    overlay = np.where(known[..., None], mixed.round(), 255).astype(np.uint8)
    _sheet(image, overlay, classes).save(target, format="PNG")


def _sheet(
    image: UInt8[np.ndarray, "h w 3"],
    overlay: UInt8[np.ndarray, "h w 3"],
    classes: ClassSet,
) -> Image.Image:
    height, width = image.shape[:2]
    font = ImageFont.load_default(size=TEXT)
    total = 3 * GAP + 2 * width
    places = _legend_places(classes.names, font, total)
    bottom = height + 2 * GAP
    sheet = Image.new("RGB", (total, bottom + places[-1][1] + LINE + GAP), PAPER)
    sheet.paste(Image.fromarray(image), (GAP, GAP))
    sheet.paste(Image.fromarray(overlay), (2 * GAP + width, GAP))
    draw = ImageDraw.Draw(sheet)
    for (x, y), name, colour in zip(
        places, classes.names, classes.palette, strict=True
    ):
        box = x, bottom + y, x + TEXT, bottom + y + TEXT
        draw.rectangle(box, fill=colour, outline=INK)
        draw.text((x + TEXT + 6, bottom + y - 2), name, fill=INK, font=font)
    return sheet


def _legend_places(
    names: tuple[str, ...],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> list[tuple[int, int]]:
    """Where each entry of the legend begins, wrapped to the width."""
    places, x, y = [], GAP, 0
    for name in names:
        step = TEXT + 6 + int(font.getlength(name)) + 2 * GAP
        if x > GAP and x + step > width:
            x, y = GAP, y + LINE
        places.append((x, y))
        x += step
    return places

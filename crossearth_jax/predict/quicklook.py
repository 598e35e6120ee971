"""A picture of a map: the scene, the classes over it, and their names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import PngImagePlugin

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.contact_sheet import contact_sheet
from crossearth_jax.pixels.labels import coloured
from crossearth_jax.pixels.legend import class_entries
from crossearth_jax.predict import geo
from crossearth_jax.predict.scene import Scene

SIDE = 1024  # pixels of the longer side of a panel
OPACITY = 0.5  # of the classes over the scene


def write_quicklook(
    scene: Scene,
    label: Path,
    target: Path,
    classes: ClassSet,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes scene and overlay side by side, no data in white, as PNG with tags."""
    rasterio = geo.needed("rasterio")
    source = scene.source
    scale = min(1.0, SIDE / max(source.height, source.width))
    size = max(1, round(source.height * scale)), max(1, round(source.width * scale))
    image, valid = scene.thumbnail(*size)
    image = np.where(valid[..., None], image, np.uint8(255))
    with geo.quiet(), rasterio.open(label) as file:
        ids = file.read(1, out_shape=size)
        known = file.read_masks(1, out_shape=size) > 0
    colours = coloured(ids, classes.palette)
    mixed = (1 - OPACITY) * image + OPACITY * colours
    overlay = np.where(known[..., None], mixed.round(), 255).astype(np.uint8)
    sheet = contact_sheet(
        [("", [image, overlay])],
        groups={"": class_entries(classes.names, classes.palette)},
        panel=size[1],
    )
    text = PngImagePlugin.PngInfo()
    for key, value in (tags or {}).items():
        text.add_text(key, value)
    sheet.save(target, format="PNG", pnginfo=text)

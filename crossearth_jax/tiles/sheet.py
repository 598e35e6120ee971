"""`contact_sheet.png`: tiles beside their coloured labels; a shift is seen at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import UInt8

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.contact_sheet import (
    Cell,
    class_map,
    contact_sheet,
    evenly_spaced,
    fitted,
    fitted_ids,
)
from crossearth_jax.pixels.legend import class_entries, not_annotated
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.tiles.cut import CutTile

SHEET = "contact_sheet.png"
MOST = 8  # tiles
ACROSS = 2


def write_sheet(
    out: Path,
    tiles: Sequence[CutTile],
    classes: ClassSet,
    manifest: Mapping[str, Any],
) -> None:
    """Draws evenly spaced tiles and a legend with every class's share.

    Args:
      out: folder of the tiles.
      tiles: that were made.
      classes: names and palette; ignored pixels are hatched.
      manifest: of the folder.
    """
    pixels = {name: 0 for name in (*classes.names, "ignored")}
    for split in manifest["pixels"].values():
        pixels = {name: count + split[name] for name, count in pixels.items()}
    total = max(sum(pixels.values()), 1)
    shares = [f"{terminal(name)} {n / total:.2%}" for name, n in pixels.items()]
    entries = class_entries(shares[:-1], classes.palette)
    scale = manifest["images"]["scale"]
    chosen = _telling(tiles, len(classes.names))
    sheet = contact_sheet(
        [
            _cell(out, chosen[i], classes, scale)
            for i in evenly_spaced(len(chosen), MOST)
        ],
        groups={"": [*entries, not_annotated(shares[-1])]},
        across=ACROSS,
    )
    with whole_file(out / SHEET) as place:
        sheet.save(place, format="PNG")


def _telling(tiles: Sequence[CutTile], classes: int) -> Sequence[CutTile]:
    """Those with two classes and more, if there are any."""
    found = [t for t in tiles if sum(n > 0 for n in t.pixels[:classes]) > 1]
    return found or tiles


def _cell(
    out: Path,
    tile: CutTile,
    classes: ClassSet,
    scale: Sequence[Sequence[float]] | None,
) -> Cell:
    folder, name = out / tile.split, f"{tile.name}.tif"
    image = _eight_bits(tifffile.imread(folder / "images" / name), scale)
    ids = tifffile.imread(folder / "labels" / name)
    image = fitted(image)
    shown = class_map(fitted_ids(ids, image), classes.palette)
    return f"{tile.split} {terminal(tile.name)}", [image, shown]


def _eight_bits(
    colours: np.ndarray, scale: Sequence[Sequence[float]] | None
) -> UInt8[np.ndarray, "h w 3"]:
    if colours.ndim == 2:
        colours = colours[..., None]
    if scale is not None:
        low, high = np.array(scale, np.float64).T
        colours = np.nan_to_num((colours - low) / (high - low) * 255).clip(0, 255)
    colours = np.rint(colours).astype(np.uint8)
    return colours.repeat(3, axis=2) if colours.shape[2] == 1 else colours

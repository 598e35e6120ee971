"""What `crossearth tiles` prints."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossearth_jax.system.escape import terminal
from crossearth_jax.tiles.cut import EMPTY, MADE, NOTHING, CutTile
from crossearth_jax.tiles.geometry import crs_name, crs_of
from crossearth_jax.tiles.scene_labels import Labels, SceneLabels
from crossearth_jax.tiles.scenes import TiledScene
from crossearth_jax.tiles.settings import TileSettings

MOST = 6  # classes in a line
ALIKE = 1.1  # sizes of pixels that differ by less are taken as equal


def scene_line(labels: SceneLabels, tiles: Sequence[CutTile], classes: Labels) -> str:
    """a.tif: 121 tiles, 10.9 % building, 3 empty skipped; labels A → B.

    Args:
      labels: of the scene.
      tiles: of the scene.
      classes: names, and which is the background.
    """
    states = Counter(tile.state for tile in tiles)
    parts = [f"{states[MADE]} tiles"]
    parts += _shares([t.pixels for t in tiles if t.state == MADE], classes)
    if states[EMPTY]:
        parts.append(f"{states[EMPTY]} empty skipped")
    if states[NOTHING]:
        parts.append(f"{states[NOTHING]} without labelled pixels skipped")
    name = terminal(labels.scene.source.name)
    here = terminal(crs_name(crs_of(labels.scene.grid.crs)))
    there = terminal(", ".join(labels.came_from))
    line = f"{name}: {', '.join(parts)}; labels {there}"
    line += "" if there == here else f" → {here}"
    if labels.repaired:
        line += f"; {labels.repaired} invalid geometries repaired"
    if labels.unclassified:
        line += f"; {labels.unclassified} polygons without a class are ignored"
    return line


def _shares(rows: Sequence[tuple[int, ...]], classes: Labels) -> list[str]:
    """Shares of the classes but the background among labelled pixels."""
    totals = [sum(column) for column in zip(*rows, strict=True)]
    labelled = max(sum(totals[:-1]), 1)
    pairs = [
        (name, count)
        for k, (name, count) in enumerate(zip(classes.names, totals, strict=False))
        if k != classes.background
    ]
    shown = [f"{100 * n / labelled:.1f} % {terminal(name)}" for name, n in pairs[:MOST]]
    return [*shown, f"{len(pairs) - MOST} more classes"] if pairs[MOST:] else shown


def total_line(out: Path, manifest: Mapping[str, Any], has_val: bool) -> str:
    """What is in the folder, and what to do with it.

    Args:
      out: the folder.
      manifest: its content.
      has_val: whether there are validation tiles.
    """
    made = Counter[str]()
    for source in manifest["sources"]:
        made.update(source["tiles"])
    counts = ", ".join(f"{n} {split}" for split, n in made.items())
    none = "" if has_val else ", none for validation"
    folder = terminal(shlex.quote(str(out)))
    return (
        f"{terminal(out)}: {counts} tiles{none}; look at contact_sheet.png, then\n"
        f"  crossearth train --config folder --config.data.root={folder}"
    )


def difference_of_pixels(
    scenes: Sequence[TiledScene], asked: TileSettings
) -> str | None:
    """A warning where scenes have pixels of different sizes and none is asked for."""
    sizes = [scene.gsd for scene in scenes]
    if asked.gsd is not None or max(sizes) <= ALIKE * min(sizes):
        return None
    return (
        f"scenes have pixels of {min(sizes):g} to {max(sizes):g} m and are cut as they "
        "are; --gsd METRES makes them alike"
    )

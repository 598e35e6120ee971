"""`manifest.json` and `classes.yaml`: what tiles are and what they were made of."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from crossearth_jax import __version__
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.tile_folder import CLASSES, FORMAT, MANIFEST, VERSION
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.tiles.cut import EMPTY, MADE, CutTile
from crossearth_jax.tiles.pixels import tile_type
from crossearth_jax.tiles.plan import TRAIN, VAL
from crossearth_jax.tiles.scenes import TiledScene, digest
from crossearth_jax.tiles.settings import TileSettings


def build_manifest(
    scenes: Sequence[TiledScene],
    labels: Sequence[Path],
    classes: ClassSet,
    asked: TileSettings,
    cut: Sequence[Sequence[CutTile]],
) -> dict[str, Any]:
    """The content of `manifest.json`; docs/own_scenes.md has the meaning of its keys.

    Args:
      scenes: in order.
      labels: files.
      classes: names and colours.
      asked: settings.
      cut: the tiles of each scene.
    """
    first = scenes[0]
    scaling = first.scene.scaling
    scale = None
    if scaling is not None:
        scale = [list(pair) for pair in zip(*scaling, strict=True)][: len(first.bands)]
    keeps = asked.keep_bits and first.scene.table is None
    splits = (TRAIN,) if asked.split == "none" else (TRAIN, VAL)
    every = [tile for tiles in cut for tile in tiles]
    names = classes.names
    return {
        "format": FORMAT,
        "version": VERSION,
        "size": asked.size,
        "stride": asked.stride,
        "seed": asked.seed,
        "split": asked.split,
        "classes": list(names),
        "images": {
            "dtype": tile_type(first, asked.keep_bits),
            "bands": list(range(1, 1 + len(first.bands))),
            "scale": scale if keeps else None,
        },
        "scenes": {"bands": list(first.bands), "scale": scale, "gsd": gsd_of(scenes)},
        "sources": [
            _source(scene, tiles, splits)
            for scene, tiles in zip(scenes, cut, strict=True)
        ],
        "pixels": {split: pixels_of(every, split, names) for split in splits},
        "labels": [{"path": str(p), "sha256": digest(p)} for p in labels],
        "options": asdict(asked),
        "tool": f"crossearth_jax {__version__}",
    }


def gsd_of(scenes: Sequence[TiledScene]) -> float:
    """Metres of a tile's pixel on the ground; the median where scenes differ."""
    found = sorted((s.pixel[0] * s.pixel[1]) ** 0.5 for s in scenes)
    return float(f"{found[len(found) // 2]:.6g}")


def _source(
    scene: TiledScene, tiles: Sequence[CutTile], splits: Sequence[str]
) -> dict[str, Any]:
    from crossearth_jax.tiles.geometry import crs_name, crs_of

    made = Counter(tile.split for tile in tiles if tile.state == MADE)
    return {
        "path": str(scene.source),
        "sha256": digest(scene.source) if isinstance(scene.source, Path) else None,
        "crs": crs_name(crs_of(scene.grid.crs)),
        "gsd": scene.gsd,
        "size": list(scene.size),
        "dtype": scene.dtype,
        "tiles": {split: made[split] for split in splits},
        "skipped_empty": sum(tile.state == EMPTY for tile in tiles),
    }


def pixels_of(
    tiles: Sequence[CutTile], split: str, names: Sequence[str]
) -> dict[str, int]:
    """Pixels of a split's tiles by class, and "ignored".

    Args:
      tiles: of all splits.
      split: "train" or "val".
      names: of the classes.
    """
    rows = [t.pixels for t in tiles if t.split == split and t.state == MADE]
    totals = [sum(column) for column in zip(*rows, strict=True)]
    totals = totals or [0] * (len(names) + 1)
    return dict(zip((*names, "ignored"), totals, strict=True))


def read_manifest(out: Path) -> dict[str, Any]:
    """What `write_manifest` wrote.

    Raises:
      ValueError: the file is damaged.
    """
    path = out / MANIFEST
    try:
        return dict(read_json(path, max_bytes=64 << 20))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"got a damaged {path} ({error}): remove it and start again"
        ) from error


def write_manifest(out: Path, manifest: Mapping[str, Any]) -> None:
    """Writes it, at once or not at all."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    with whole_file(out / MANIFEST) as place:
        place.write_text(text + "\n", encoding="utf-8")


def write_classes(out: Path, classes: ClassSet) -> None:
    """Writes `classes.yaml`, and reads it back as training will.

    Raises:
      ValueError: it cannot be read as it is meant, because of a class's name.
    """
    entries = [
        {"name": name, "color": list(colour)}
        for name, colour in zip(classes.names, classes.palette, strict=True)
    ]
    content = {"classes": entries, "encoding": "ids", "ignore": IGNORE}
    with whole_file(out / CLASSES) as place:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        place.write_text(text, encoding="utf-8")
        again = ClassSet.from_file(place)
        if again.names != classes.names:
            raise ValueError(f"{out / CLASSES}: got {again.names}: rename the classes")

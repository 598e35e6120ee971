"""Scenes and labels to a folder of tiles: planned, cut, described."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.data.classes import ENCODINGS, ClassSet
from crossearth_jax.data.infer import distinct_colours
from crossearth_jax.predict import geo
from crossearth_jax.predict.sources import Source, identity
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.progress import progress
from crossearth_jax.tiles.area import Area
from crossearth_jax.tiles.cut import MADE, CutTile, Piece, name_of, pieces_of
from crossearth_jax.tiles.journal import Journal, Notes
from crossearth_jax.tiles.labels import labels_of
from crossearth_jax.tiles.manifest import (
    MANIFEST,
    build_manifest,
    read_manifest,
    write_classes,
    write_manifest,
)
from crossearth_jax.tiles.overlap import boxes_of, without_shared_ground
from crossearth_jax.tiles.plan import TRAIN, VAL, Ground, Tile, plan_tiles
from crossearth_jax.tiles.scene_labels import Labels, SceneLabels
from crossearth_jax.tiles.scenes import TiledScene, look_at
from crossearth_jax.tiles.settings import SCENE, TileSettings
from crossearth_jax.tiles.sheet import write_sheet
from crossearth_jax.tiles.tell import difference_of_pixels, scene_line, total_line
from crossearth_jax.tiles.threads import cut_all

Key = tuple[str, str]  # split and name of a tile


@dataclass(frozen=True)
class _Job:
    """Everything that is known before the first tile is cut.

    Attributes:
      scenes: in order.
      labels: files.
      classes: names and colours.
      tiles: all of all scenes, in order.
      out: gets them.
      asked: settings.
      labels_of: the labels of a scene by its number.
    """

    scenes: list[TiledScene]
    labels: Labels
    classes: ClassSet
    tiles: list[Tile]
    out: Path
    asked: TileSettings
    labels_of: Callable[[int], SceneLabels]

    def keys(self, tiles: Sequence[Tile]) -> list[Key]:
        """Split and name of tiles."""
        size = self.asked.size
        return [(t.split, name_of(t, self.scenes[t.scene], size)) for t in tiles]

    def of_scene(self, number: int) -> list[Tile]:
        """The tiles of one scene."""
        return [tile for tile in self.tiles if tile.scene == number]


def make_tiles(
    sources: Sequence[Source],
    labels: Sequence[Path],
    out: Path,
    asked: TileSettings,
    *,
    part: tuple[int, int] = (1, 1),
    workers: int = 1,
    tell: Callable[[str], None] = print,
) -> dict[str, Any] | None:
    """Cuts a folder of tiles, or what is missing of it.

    Args:
      sources: the scenes.
      labels: files of polygons, or rasters of class ids.
      out: gets {train,val}/{images,labels}, classes.yaml, manifest.json and a picture.
      asked: settings.
      part: number of this share of the tiles, from 1, and how many there are.
      workers: threads.
      tell: takes lines about what is done.

    Returns:
      The manifest; None while other parts are not done.

    Raises:
      ValueError: scenes, labels or options are wrong, or do not fit together or what
        is in the folder.
      OSError: a file is damaged, or the disk is full.
    """
    job = _planned(sources, labels, out, asked, tell)
    settings = _settings(job, labels)
    journal = Journal(out, part)
    is_begun = journal.check(settings)
    keys = job.keys(job.tiles)
    if is_begun and (out / MANIFEST).exists() and set(keys) <= journal.done().keys():
        tell(f"{terminal(out)}: complete, nothing to do")
        return read_manifest(out)
    journal.begin(settings, val=asked.split != "none")
    with journal.alone():
        done = journal.done()
        (out / MANIFEST).unlink(missing_ok=True)
        with geo.quiet(), journal.noting() as notes:
            _cut(job, done, notes, part, workers, tell)
        done = journal.done()
    if missing := sum(key not in done for key in keys):
        left = f"{missing} of {len(keys)} tiles are left for other parts"
        tell(f"{left}; the last of them writes the manifest")
        return None
    cut = [
        [done[key] for key in job.keys(job.of_scene(number))]
        for number in range(len(job.scenes))
    ]
    made = {tile.split for tiles in cut for tile in tiles if tile.state == MADE}
    journal.remove_empty()
    if TRAIN not in made:
        raise ValueError(
            f"{out}: got no training tile with labelled pixels, expected some: correct "
            "--area or the labels, or raise --keep-empty"
        )
    return _finish(job, labels, cut, tell)


def _planned(
    sources: Sequence[Source],
    paths: Sequence[Path],
    out: Path,
    asked: TileSettings,
    tell: Callable[[str], None],
) -> _Job:
    """Looks at everything and writes nothing."""
    scenes = look_at(sources, asked)
    labels = labels_of(paths, asked.labels)
    last: dict[int, SceneLabels] = {}

    def labels_over(number: int) -> SceneLabels:
        if number not in last:
            last.clear()  # those of one scene are in memory at a time
            last[number] = labels.over(scenes[number])
        return last[number]

    areas = [labels_over(number).area for number in range(len(scenes))]
    pairs = zip(scenes, areas, strict=True)
    planned = plan_tiles(
        [_ground(scene, area, asked.size) for scene, area in pairs],
        size=asked.size,
        stride=asked.stride,
        split=asked.split,
        val=asked.val,
        seed=asked.seed,
    )
    tiles = without_shared_ground(planned, scenes, asked.size)
    _check_left(planned, tiles, asked)
    if len(tiles) < len(planned):
        tell(
            f"{len(planned) - len(tiles)} training tiles left out, which touch "
            "validation tiles of other scenes"
        )
    if asked.labels.area == SCENE and labels.background is not None:
        name = labels.names[labels.background]
        tell(
            f"labelled area: whole scenes, so what nothing covers is {name} (--area "
            "hull or FILE: of an area alone)"
        )
    reached = {tile.scene for tile in tiles}
    for number, scene in enumerate(scenes):
        if number not in reached:
            tell(f"{terminal(scene.source.name)}: no tile in the labelled area")
    if warning := difference_of_pixels(scenes, asked):
        tell(warning)
    colours = distinct_colours(len(labels.names))
    classes = ClassSet(labels.names, colours, ENCODINGS["ids"])
    return _Job(scenes, labels, classes, tiles, out, asked, labels_over)


def _ground(scene: TiledScene, area: Area, size: int) -> Ground:
    def allowed(corners: Sequence[tuple[int, int]]) -> np.ndarray:
        if area.shape is None:
            return np.ones(len(corners), bool)
        return area.within(boxes_of(scene, corners, size))

    return Ground(scene.grid.height, scene.grid.width, allowed)


def _check_left(
    planned: Sequence[Tile], tiles: Sequence[Tile], asked: TileSettings
) -> None:
    """Raises where no tile is left, of a split or at all."""
    if not planned:
        raise ValueError(
            f"got no tile in the area {asked.labels.area}, expected some: take another "
            "--area"
        )
    wanted = {tile.split for tile in planned}
    if {tile.split for tile in tiles} != wanted:
        raise ValueError(
            "got scenes of the same ground, whose training tiles all touch validation "
            "tiles, expected ground for both: pass --split blocks, or --split none and "
            "other scenes for validation"
        )


def _settings(job: _Job, labels: Sequence[Path]) -> dict[str, Any]:
    """What must not change until a folder is complete."""
    options = asdict(job.asked)
    about_labels = options.pop("labels")
    scenes = {
        scene.name: {
            "identity": identity(scene.source)[1:],
            "scale": scene.scene.scaling,
            "bands": scene.bands,
        }
        for scene in job.scenes
    }
    files = {path.name: identity(path)[1:] for path in labels}
    known = {"scenes": list(scenes), "classes": job.classes.names}
    return {**options, **about_labels, **known, "files": {**scenes, **files}}


def _cut(
    job: _Job,
    done: dict[Key, CutTile],
    notes: Notes,
    part: tuple[int, int],
    workers: int,
    tell: Callable[[str], None],
) -> None:
    """Cuts this part's tiles that are not there yet, scene by scene."""
    size, count = job.asked.size, 0
    classes = len(job.labels.names), job.labels.background
    work = []
    for number, scene in enumerate(job.scenes):
        pieces = pieces_of(job.of_scene(number), scene, size)
        first = (part[0] - 1 - count) % part[1]  # pieces are dealt over all scenes
        count += len(pieces)
        work.append(pieces[first :: part[1]])
    mine = [[key for p in pieces for key in job.keys(p.tiles)] for pieces in work]
    total = sum(key not in done for keys in mine for key in keys)
    with progress("cutting", total, "tiles", quiet=not total) as advance:
        for number, (pieces, keys) in enumerate(zip(work, mine, strict=True)):
            left = [_left(job, piece, done) for piece in pieces]
            left = [piece for piece in left if piece.tiles]
            if not keys:
                continue
            scene_labels = job.labels_of(number)
            found = cut_all(scene_labels, left, job.asked, classes, job.out, workers)
            for tile in found:
                notes.add(tile)
                done[tile.key] = tile
                advance()
            cut = [done[key] for key in keys]
            tell(scene_line(scene_labels, cut, job.labels))


def _left(job: _Job, piece: Piece, done: dict[Key, CutTile]) -> Piece:
    """A piece without the tiles that are there."""
    pairs = zip(piece.tiles, job.keys(piece.tiles), strict=True)
    return replace(piece, tiles=tuple(tile for tile, key in pairs if key not in done))


def _finish(
    job: _Job,
    labels: Sequence[Path],
    cut: Sequence[Sequence[CutTile]],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Classes, picture, and last the manifest, which marks a folder as complete."""
    made = [tile for tiles in cut for tile in tiles if tile.state == MADE]
    manifest = build_manifest(job.scenes, labels, job.classes, job.asked, cut)
    write_classes(job.out, job.classes)
    write_sheet(job.out, made, job.classes, manifest)
    write_manifest(job.out, manifest)
    tell(total_line(job.out, manifest, any(t.split == VAL for t in made)))
    return manifest

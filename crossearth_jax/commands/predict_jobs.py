"""Which map is made of which scene, and that no two files meet."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from crossearth_jax.predict.outputs import Wanted, outputs
from crossearth_jax.predict.sources import Source, address_of
from crossearth_jax.predict.tiles import Tile
from crossearth_jax.predict.vector import DRIVERS


class Job(NamedTuple):
    """One scene.

    Attributes:
      source: the raster.
      target: the class map.
      vector: the polygons; None makes none.
      tile: the part of the scene that is mapped; None maps all.
    """

    source: Source
    target: Path
    vector: Path | None
    tile: Tile | None = None

    def wanted(self, wanted: Wanted) -> Wanted:
        """What is made of this scene, where `wanted` is made of all."""
        picture = wanted.quicklook and self.tile is None
        own = {"vector": self.vector, "tile": self.tile, "quicklook": picture}
        return replace(wanted, **own)


def plan_jobs(
    scenes: Sequence[Source], out: str, vector: str | None, keep_folders: bool = False
) -> list[Job]:
    """The maps to make of each scene.

    Args:
      scenes: files.
      out: a folder, or for a single scene a .tif.
      vector: "gpkg" or "geojson", or for a single scene a path of that kind.
      keep_folders: maps lie in the folders of their scenes, below the one that all
        share.

    Raises:
      ValueError: two scenes would get the same map, or a name is invalid.
    """
    if Path(out).suffix.lower() in (".tif", ".tiff"):
        if len(scenes) != 1:
            raise ValueError(
                f"got {len(scenes)} scenes for --out {out}, expected a folder"
            )
        targets = [Path(out)]
    else:
        targets = _targets(scenes, Path(out), keep_folders)
    for target, count in Counter(targets).items():
        if count > 1:
            pairs = zip(scenes, targets, strict=True)
            same = [str(scene) for scene, t in pairs if t == target]
            raise ValueError(
                f"got several scenes for the map {target}: {' and '.join(same)}; pass "
                "--keep-folders, or map them one by one into different folders"
            )
    return [
        Job(scene, target, _vector_path(vector, target, len(scenes)))
        for scene, target in zip(scenes, targets, strict=True)
    ]


def _targets(scenes: Sequence[Source], out: Path, keep_folders: bool) -> list[Path]:
    if not keep_folders:
        return [out / f"{scene.stem}.tif" for scene in scenes]
    here = [scene.absolute() for scene in scenes if isinstance(scene, Path)]
    shared = os.path.commonpath([path.parent for path in here]) if here else ""
    inside = [
        scene.absolute().relative_to(shared)
        if isinstance(scene, Path)
        else Path(scene.name)
        for scene in scenes
    ]
    stems = Counter(path.with_suffix("") for path in inside)
    return [
        # x.tif beside x.png: x.tif.tif and x.png.tif.
        out / path.parent / f"{path.stem if alone else path.name}.tif"
        for path, alone in ((p, stems[p.with_suffix("")] == 1) for p in inside)
    ]


def _vector_path(vector: str | None, target: Path, scenes: int) -> Path | None:
    if vector is None:
        return None
    kinds = [suffix[1:] for suffix in DRIVERS]
    if vector in kinds:
        return target.with_suffix(f".{vector}")
    path = Path(vector)
    if path.suffix not in DRIVERS or scenes > 1:
        raise ValueError(
            f"got --vector {vector} for {scenes} scene(s), expected "
            f"{' or '.join(kinds)} to write beside each map, or for one scene a path "
            f"that ends in {' or '.join(DRIVERS)}"
        )
    return path


def check_apart(
    jobs: Iterable[Job], wanted: Wanted, over_all: Iterable[Path] = ()
) -> None:
    """Raises before the first map if a file would overwrite another map's, or a scene.

    Args:
      jobs: of all scenes.
      wanted: what is made of each.
      over_all: files that are made of all maps together.

    Raises:
      ValueError: names both.
    """
    jobs = list(jobs)
    owner = {_place(job.source): f"the scene {job.source}" for job in jobs}
    owner |= {os.path.realpath(path): "made of all maps together" for path in over_all}
    for job in jobs:
        for path in outputs(job.target, job.wanted(wanted)):
            place = os.path.realpath(path)
            if place == _place(job.source):
                raise ValueError(
                    f"got --out {path}, which is the input itself: choose another "
                    "folder"
                )
            if place in owner:
                raise ValueError(
                    f"got {path} as a result of {job.source}, which is also "
                    f"{owner[place]}: rename one, or map them into different folders"
                )
            owner[place] = f"a result of {job.source}"


def _place(source: Source) -> str:
    address = address_of(source)
    return os.path.realpath(address) if os.path.exists(address) else address

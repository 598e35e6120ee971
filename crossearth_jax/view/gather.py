"""Everything that a page shows, found from what was named on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossearth_jax.predict.vector import DRIVERS
from crossearth_jax.system.escape import terminal
from crossearth_jax.view.layers import SHARES, Kind, Layer, share_colours
from crossearth_jax.view.maps import (
    ClassEntry,
    ClassMap,
    index_colours,
    kind_of,
    open_map,
)
from crossearth_jax.view.polygons import Polygons, open_polygons, polygons_beside
from crossearth_jax.view.scenes import Wanted, open_scene_below

GAP = 64  # pixels between maps that have no place on the earth


@dataclass(frozen=True)
class Group:
    """Maps of one folder with the same classes; they are drawn as one.

    Attributes:
      name: shown.
      classes: by id.
      maps: at least one.
      layers: "classes", and "confidence" and "trust" where any map has them.
    """

    name: str
    classes: tuple[ClassEntry, ...]
    maps: tuple[ClassMap, ...]
    layers: dict[Kind, Layer]


@dataclass(frozen=True)
class View:
    """What a page shows.

    Attributes:
      groups: at least one.
      scene: below the maps.
      polygons: over them.
    """

    groups: tuple[Group, ...]
    scene: Layer | None
    polygons: tuple[Polygons, ...]

    @property
    def maps(self) -> tuple[ClassMap, ...]:
        """Of all groups, in the order of areas."""
        return tuple(one for group in self.groups for one in group.maps)

    @property
    def on_earth(self) -> bool:
        """Whether places have longitudes."""
        return self.maps[0].place.on_earth

    @property
    def layers(self) -> dict[str, Layer]:
        """Those of tiles, by name."""
        found = [layer for group in self.groups for layer in group.layers.values()]
        return {one.name: one for one in (*found, self.scene) if one is not None}


def gather(
    inputs: Sequence[Path],
    scenes: Sequence[Path] = (),
    wanted: Wanted | None = None,
    *,
    polygons: bool = True,
) -> View:
    """Looks at all files.

    Args:
      inputs: class maps, and files of polygons.
      scenes: rasters below the maps.
      wanted: how scenes are shown.
      polygons: also those beside the maps.

    Raises:
      ValueError: a file cannot be shown, or they do not fit together.
      OSError: a file is damaged.
    """
    vectors = [path for path in inputs if path.suffix.lower() in DRIVERS]
    maps = _open_maps([path for path in inputs if path not in vectors])
    groups = _grouped(maps)
    ordered = [one for group in groups for one in group.maps]
    beside = [(p, m) for m in ordered for p in polygons_beside(m) if polygons]
    owners = {path.absolute(): one for path, one in beside}
    files = [*owners, *(p for p in vectors if p.absolute() not in owners)]
    found = [
        open_polygons(path, f"polygons{number}", owners.get(path))
        for number, path in enumerate(files)
    ]
    return View(groups, _scene(scenes, ordered, wanted or Wanted()), tuple(found))


def class_maps_in(folder: Path, files: Sequence[Path]) -> list[Path]:
    """The class maps among the rasters of a folder, without mosaics over them.

    Where some are made by `predict`, they alone count: others may be scenes.

    Raises:
      ValueError: there is none.
    """
    kinds = {path: kind_of(path) for path in files}
    ours = [path for path, kind in kinds.items() if kind == "ours"]
    found = ours or [path for path, kind in kinds.items() if kind == "theirs"]
    maps = [path for path in found if path.suffix.lower() != ".vrt"] or found
    if not maps:
        raise ValueError(
            f"got the folder {folder} without a class map, expected one, as "
            "`crossearth predict --out` writes them"
        )
    return maps


def _open_maps(paths: Sequence[Path]) -> list[ClassMap]:
    if not paths:
        raise ValueError("got polygons alone, expected a class map too: name one")
    maps: list[ClassMap] = []
    lefts: dict[tuple[str, tuple[int, int]], int] = {}
    left = 0
    for path in paths:
        one = open_map(path, left)
        # Maps of one scene by several runs lie over each other without longitudes too.
        same = lefts.setdefault((path.name, one.size), left)
        if same < left and not one.place.on_earth:
            one = open_map(path, same)
        elif same == left:
            left += one.size[1] + GAP
        maps.append(one)
        _check_kind(maps[0], one)
    return maps


def _check_kind(first: ClassMap, one: ClassMap) -> None:
    """Raises `ValueError` where only one of two maps has longitudes."""
    if one.place.on_earth == first.place.on_earth:
        return
    placed, loose = (first, one) if first.place.on_earth else (one, first)
    raise ValueError(
        f"got {placed.path} with and {loose.path} without longitudes and latitudes, "
        "expected maps of one kind: view them apart"
    )


def _grouped(maps: Sequence[ClassMap]) -> tuple[Group, ...]:
    by_kind: dict[tuple, list[ClassMap]] = {}
    for one in maps:
        key = one.path.absolute().parent, one.classes
        by_kind.setdefault(key, []).append(one)
    names = _names([[one.path for one in members] for members in by_kind.values()])
    groups = []
    for number, ((_, classes), members) in enumerate(by_kind.items()):
        layers = _layers(f"group{number}", classes, members)
        groups.append(Group(terminal(names[number]), classes, tuple(members), layers))
    return tuple(groups)


def _names(groups: Sequence[Sequence[Path]]) -> list[str]:
    """A name for each group: its map's or its folder's, or both, all different."""
    folders = [paths[0].absolute().parent.name or "maps" for paths in groups]
    short = [
        paths[0].name if len(paths) == 1 else folder
        for paths, folder in zip(groups, folders, strict=True)
    ]
    pairs = zip(short, folders, strict=True)
    long = [
        f"{folder}/{name}" if short.count(name) > 1 else name for name, folder in pairs
    ]
    found: list[str] = []
    for number, name in enumerate(long):
        again = long[:number].count(name)
        found.append(f"{name} ({again + 1})" if again else name)
    return found


def _layers(
    name: str, classes: Sequence[ClassEntry], maps: Sequence[ClassMap]
) -> dict[Kind, Layer]:
    rasters = tuple(raster for one in maps for raster in one.rasters)
    colours = index_colours(classes)
    found: dict[Kind, Layer] = {
        "classes": Layer(f"{name}-classes", "classes", rasters, colours)
    }
    for kind in SHARES:
        own = tuple(raster for one in maps for raster in one.beside.get(kind, ()))
        if own:
            found[kind] = Layer(f"{name}-{kind}", kind, own, share_colours())
    return found


def _scene(
    paths: Sequence[Path], maps: Sequence[ClassMap], wanted: Wanted
) -> Layer | None:
    if not paths:
        return None
    opened = [open_scene_below(path, maps, wanted) for path in paths]
    rasters, colours = zip(*opened, strict=True)
    return Layer("scene", "scene", rasters, eight_bits=colours)

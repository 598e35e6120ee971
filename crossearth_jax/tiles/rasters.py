"""Labels as rasters of class ids, laid on a scene's pixels: the nearest one counts."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.predict.values import DAMAGED
from crossearth_jax.system.escape import quoted
from crossearth_jax.tiles.area import labelled_area
from crossearth_jax.tiles.geometry import bounds_in, crs_name, crs_of
from crossearth_jax.tiles.layers import Box
from crossearth_jax.tiles.scene_labels import ReadIds, SceneLabels, no_overlap
from crossearth_jax.tiles.scenes import TiledScene
from crossearth_jax.tiles.settings import HULL, LabelSettings, check_class_name

BLOCK = 2048  # pixels of the side of what is read at a time to see which ids occur
BEYOND = -1  # marks what a file does not cover, or has no data for
EXACT = 1e-3  # of a pixel; GDAL would take an eighth


@dataclass(frozen=True)
class LabelRaster:
    """One file.

    Attributes:
      path: the file.
      crs: of pyproj.
      box: its extent.
      values: ids in it, without those for no data.
    """

    path: Path
    crs: Any
    box: Box
    values: frozenset[int]


class RasterLabels:
    """Label rasters, of which each scene takes those that reach it.

    Args:
      paths: the files; where they overlap, a later one counts.
      asked: how they become class ids.

    Raises:
      ValueError: a file is no raster of class ids, or an option is for polygons.
    """

    def __init__(self, paths: Sequence[Path], asked: LabelSettings) -> None:
        _refuse_options_of_polygons(asked, paths[0])
        self.asked = asked
        self.files = [_looked_at(path) for path in paths]
        values = sorted(frozenset().union(*(file.values for file in self.files)))
        self.names, self.meaning = _classes(values, asked, paths[0])
        has_background = asked.background in self.names
        self.background = 0 if has_background else None

    def over(self, scene: TiledScene) -> SceneLabels:
        """The labels of one scene.

        Raises:
          ValueError: no file reaches the scene.
        """
        boxes = [bounds_in(scene, file.crs, margin=0) for file in self.files]
        pairs = list(zip(self.files, boxes, strict=True))
        near = [file for file, box in pairs if _meet(file.box, box)]
        if not near:
            file, box = pairs[0]
            raise no_overlap(scene, file.path, file.box, box, crs_name(file.crs))
        area = labelled_area(self.asked, scene, np.empty(0, object))
        names = tuple(dict.fromkeys(crs_name(file.crs) for file in near))
        mosaic = Mosaic(scene, tuple(near), self.meaning)
        return SceneLabels(scene, mosaic, area, self.asked.edge_ignore, names)


@dataclass(frozen=True)
class Mosaic:
    """Label rasters on the pixels of a scene.

    Attributes:
      scene: whose pixels.
      files: later ones cover earlier ones.
      meaning: {value: class id}; others are ignored.
    """

    scene: TiledScene
    files: tuple[LabelRaster, ...]
    meaning: dict[int, int]

    @contextmanager
    def opened(self) -> Iterator[ReadIds]:
        """Opens the files for one thread."""
        rasterio = geo.needed("rasterio")
        with ExitStack() as stack:
            opened = [
                (file, stack.enter_context(rasterio.open(file.path)))
                for file in self.files
            ]

            def read(
                top: int, left: int, height: int, width: int
            ) -> UInt8[np.ndarray, "h w"]:
                ids = np.full((height, width), IGNORE, np.uint8)
                for file, dataset in opened:
                    values = self._warped(file, dataset, top, left, height, width)
                    covered = values != BEYOND
                    ids[covered] = IGNORE
                    for value, class_id in self.meaning.items():
                        ids[values == value] = class_id
                return ids

            yield read

    def _warped(
        self,
        file: LabelRaster,
        dataset: Any,
        top: int,
        left: int,
        height: int,
        width: int,
    ) -> np.ndarray:
        """Values of the pixels that the middles of a window's pixels lie in."""
        warp = geo.needed("rasterio.vrt")
        enums = geo.needed("rasterio.enums")
        with (
            geo.explained(file.path, DAMAGED),
            warp.WarpedVRT(
                dataset,
                crs=self.scene.grid.crs,
                transform=self.scene.transform_at(top, left),
                height=height,
                width=width,
                resampling=enums.Resampling.nearest,
                tolerance=EXACT,
                dtype="float64",
                src_nodata=BEYOND if dataset.nodata is None else dataset.nodata,
                nodata=BEYOND,
            ) as laid,
        ):
            return laid.read(1)


def _looked_at(path: Path) -> LabelRaster:
    """Reads a whole file once, for the ids in it.

    Raises:
      ValueError: it has no coordinate system, several bands, or other values than ids.
    """
    rasterio = geo.needed("rasterio")
    windows = geo.needed("rasterio.windows")
    with geo.explained(path, DAMAGED), rasterio.open(path) as dataset:
        if dataset.crs is None:
            raise ValueError(
                f"{path}: got labels without coordinate system, expected one: set it, "
                "such as `gdal_edit.py -a_srs EPSG:32645 FILE`"
            )
        if dataset.count != 1:
            raise ValueError(
                f"{path}: got {dataset.count} bands, expected one of class ids: write "
                "the ids of the colours first"
            )
        values: set[int] = set()
        for top in range(0, dataset.height, BLOCK):
            for left in range(0, dataset.width, BLOCK):
                size = (
                    min(BLOCK, dataset.width - left),
                    min(BLOCK, dataset.height - top),
                )
                block = dataset.read(1, window=windows.Window(left, top, *size))
                values |= _ids_in(path, block, dataset.nodata)
        box = tuple(map(float, dataset.bounds))
        west, east = min(box[0], box[2]), max(box[0], box[2])
        south, north = min(box[1], box[3]), max(box[1], box[3])
        crs = crs_of(dataset.crs)
    return LabelRaster(path, crs, (west, south, east, north), frozenset(values))


def _ids_in(path: Path, block: np.ndarray, nodata: float | None) -> set[int]:
    found = np.unique(block)
    if nodata is not None:
        found = found[found != nodata]
    found = found[np.isfinite(found)]
    if (found != np.trunc(found)).any() or (found < 0).any() or len(found) > IGNORE:
        shown = ", ".join(f"{x:g}" for x in found[:5].tolist())
        raise ValueError(
            f"{path}: got the values {shown}, …, expected at most {IGNORE} class ids "
            "from 0 on: give a raster of classes"
        )
    return {int(value) for value in found.tolist()}


def _classes(
    values: Sequence[int], asked: LabelSettings, path: Path
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names of the classes, and {value: class id}."""
    if asked.burn is not None:
        ids = {value: int(value != 0) for value in values}
        if asked.background is None:
            raise ValueError(
                f"{path}: got --no-background with --burn, expected a raster's zeros "
                "to be a class: leave --no-background out"
            )
        return (asked.background, asked.burn), ids
    known = [value for value in values if value != IGNORE]
    if known == [0] and IGNORE in values:
        raise ValueError(
            f"{path}: got labels of 0 and 255 alone, which may be a mask or ids with "
            "ignored pixels: pass --burn NAME for a mask"
        )
    names = [str(value) for value in known]
    if known[:1] == [0] and asked.background is not None:
        names[0] = asked.background
    for name in names:
        check_class_name("--background", name)
    return tuple(names), {value: k for k, value in enumerate(known)}


def _refuse_options_of_polygons(asked: LabelSettings, path: Path) -> None:
    given = {
        "--layer": asked.layer,
        "--where": asked.where,
        "--attribute": asked.attribute,
        "--order": asked.order or None,
        "--buffer": asked.buffer,
        "--all-touched": asked.all_touched or None,
        "--area hull": asked.area == HULL or None,
        "--strict": asked.strict or None,
    }
    wrong = [option for option, value in given.items() if value is not None]
    if wrong:
        raise ValueError(
            f"{path}: got {quoted(wrong[0])} for a label raster, expected it with "
            "polygons alone: leave it out"
        )


def _meet(mine: Box, other: Box | None) -> bool:
    if other is None:
        return True
    across = mine[0] < other[2] and other[0] < mine[2]
    return across and mine[1] < other[3] and other[1] < mine[3]

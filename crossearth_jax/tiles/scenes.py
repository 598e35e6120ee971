"""The scenes that tiles are cut from: checked together, read by windows.

A scene is read as `crossearth predict` reads it, with the same bands and pixels.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from crossearth_jax.predict import geo
from crossearth_jax.predict.ground import pixel_metres
from crossearth_jax.predict.scaling import sample_of
from crossearth_jax.predict.scene import Grid, Reading, Scene, open_scene
from crossearth_jax.predict.sources import Source, address_of, settings_of
from crossearth_jax.tiles.settings import TileSettings

CACHE = 64 << 20  # bytes that GDAL keeps of decoded blocks, in all
NAME = 120  # characters of a scene's name in those of its tiles
EIGHT_BITS = 255
STRIP = 64  # rows of blocks that are as wide as the scene
MOST_VALUES = 2**22  # of all scenes together, for percentiles


@dataclass(frozen=True)
class TiledScene:
    """What is known of a scene before it is cut.

    Attributes:
      source: the file.
      name: as tiles carry it.
      scene: bands, grid and scaling; its dataset is closed.
      size: columns and rows of the file.
      dtype: of its chosen bands.
      metres: width and height of a pixel of the file on the ground.
      is_striped: stored in strips as wide as the scene.
      identity: bytes and time of the file; empty for what is no local file.
    """

    source: Source
    name: str
    scene: Scene
    size: tuple[int, int]
    dtype: str
    metres: tuple[float, float]
    is_striped: bool
    identity: tuple[int, ...]

    @property
    def grid(self) -> Grid:
        """The pixels that tiles have."""
        return self.scene.grid

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based numbers; one for a grey scene, three otherwise."""
        bands = self.scene.bands
        is_grey = len(set(bands)) == 1 and self.scene.table is None
        return bands[:1] if is_grey else bands

    @property
    def gsd(self) -> float:
        """Metres of the side of a square as large as a pixel of the file."""
        return float(f"{(self.metres[0] * self.metres[1]) ** 0.5:.6g}")

    @property
    def pixel(self) -> tuple[float, float]:
        """Metres of the width and height of a pixel of tiles."""
        across, down = self.metres
        grid = self.grid
        return across * self.size[0] / grid.width, down * self.size[1] / grid.height

    @property
    def per_metre(self) -> float:
        """Units of the coordinate system in a metre on the ground."""
        step, (across, down) = self.grid.transform, self.pixel
        return (abs(step.a * step.e - step.b * step.d) / (across * down)) ** 0.5

    def transform_at(self, top: int, left: int) -> Any:
        """Pixel to map coordinates of what begins at a row and column."""
        a, b, c, d, e, f = self.grid.transform[:6]
        corner = a * left + b * top + c, d * left + e * top + f
        return geo.needed("rasterio").Affine(a, b, corner[0], d, e, corner[1])

    @contextmanager
    def opened(self) -> Iterator[Scene]:
        """Opens the file; each thread needs its own."""
        rasterio = geo.needed("rasterio")
        with limits(self.source), rasterio.open(address_of(self.source)) as dataset:
            values = replace(self.scene.values, dataset=dataset)
            yield replace(self.scene, source=dataset, values=values)


@contextmanager
def limits(source: Source) -> Iterator[None]:
    """GDAL with a small cache, so that memory does not grow with the scene."""
    with geo.needed("rasterio").Env(GDAL_CACHEMAX=CACHE, **settings_of(source)):
        yield


def look_at(sources: Sequence[Source], asked: TileSettings) -> list[TiledScene]:
    """Opens every scene, and finds the one scaling that all share.

    With percentiles, the values are those of an overview of each scene or of 64
    windows spread evenly over it, at most four million in all, and as many of each.

    Raises:
      ValueError: a scene cannot be cut, or the scenes do not fit together.
    """
    percentiles = asked.percentiles
    # A scale that stands for all keeps `open_scene` from sampling each alone.
    reading = Reading(_three(asked.bands), asked.scale or (0.0, 1.0), gsd=asked.gsd)
    found, samples = [], []
    for source, name in zip(sources, _names(sources), strict=True):
        with limits(source), open_scene(source, reading) as scene:
            one = _checked(source, name, scene, asked)
            found.append(one)
            is_deep = one.dtype != "uint8" or percentiles is not None
            if asked.scale is None and is_deep and scene.table is None:
                most = max(1, MOST_VALUES // len(sources))
                values = sample_of(scene.values)
                samples.append(values[:: max(1, -(-len(values) // most))])
    _check_alike(found, asked)
    limits_ = _joint(samples, percentiles or (2.0, 98.0))
    if asked.scale is not None:
        limits_ = (asked.scale[0],) * 3, (asked.scale[1],) * 3
    return [
        replace(one, scene=replace(one.scene, scaling=limits_))
        if one.scene.table is None
        else one
        for one in found
    ]


def _three(bands: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    if bands is None:
        return None
    red, green, blue = bands * 3 if len(bands) == 1 else bands
    return red, green, blue


def _joint(
    samples: Sequence[Num[np.ndarray, "_ 3"]], percentiles: tuple[float, float]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Percentiles of each band over all samples; None where nothing is scaled."""
    if not samples:
        return None
    values = np.concatenate(samples)
    if not len(values):
        return (0.0,) * 3, (1.0,) * 3
    low, high = np.percentile(values.astype(np.float32), percentiles, axis=0)
    shown = [[float(f"{x:.7g}") for x in one] for one in (low, high)]
    pairs = [(x, y if y > x else x + 1.0) for x, y in zip(*shown, strict=True)]
    return tuple(x for x, _ in pairs), tuple(y for _, y in pairs)


def _checked(
    source: Source, name: str, scene: Scene, asked: TileSettings
) -> TiledScene:
    """Facts about an open scene.

    Raises:
      ValueError: it has no coordinate system, or is smaller than a tile.
    """
    dataset, grid = scene.source, scene.grid
    if dataset.crs is None:
        hint = "set it, such as `gdal_edit.py -a_srs EPSG:32645 FILE`"
        if dataset.gcps[0]:
            hint = "warp it by its ground control points first, such as with `gdalwarp`"
        raise ValueError(
            f"{source}: got a scene without coordinate system, expected one, by which "
            f"labels are laid on it: {hint}"
        )
    if min(grid.height, grid.width) < asked.size:
        at = "" if asked.gsd is None else f" at --gsd {asked.gsd:g}"
        raise ValueError(
            f"{source}: got {grid.width} x {grid.height} pixels{at}, expected at least "
            f"a tile of {asked.size} x {asked.size}: take a smaller --size"
        )
    rows, columns = dataset.block_shapes[0]
    types = {dataset.dtypes[band - 1] for band in scene.bands}
    if len(types) > 1:
        raise ValueError(
            f"{source}: got bands of types {', '.join(sorted(types))}, expected one "
            "type: convert the file first, such as with `gdal_translate -ot UInt16`"
        )
    if types == {"uint8"} and asked.scale is not None and asked.scale[1] > EIGHT_BITS:
        low, high = asked.scale
        raise ValueError(
            f"{source}: got 8 bits with --scale {low:g},{high:g}, expected values to "
            f"{EIGHT_BITS}: leave --scale out, and cut scenes of other types into "
            "another folder"
        )
    identity: tuple[int, ...] = ()
    if isinstance(source, Path):
        state = source.stat()
        identity = state.st_size, state.st_mtime_ns
    return TiledScene(
        source,
        name,
        scene,
        (dataset.width, dataset.height),
        types.pop(),
        pixel_metres(dataset),
        columns >= dataset.width and rows <= STRIP,
        identity,
    )


def _check_alike(scenes: Sequence[TiledScene], asked: TileSettings) -> None:
    """Raises where one description cannot fit all scenes."""
    first = scenes[0]
    for one in scenes[1:]:
        if one.bands != first.bands:
            mine, others = (",".join(map(str, s.bands)) for s in (one, first))
            raise ValueError(
                f"{one.source}: got bands {mine}, expected {others} as in "
                f"{first.source}: name the bands of all scenes, such as --bands 3,2,1"
            )
        same = one.dtype == first.dtype
        if not same and (asked.keep_bits or asked.scale is None):
            way = (
                "leave --keep-bits out" if asked.keep_bits else "pass --scale LOW,HIGH"
            )
            raise ValueError(
                f"{one.source}: got {one.dtype} values, expected {first.dtype} as in "
                f"{first.source}: {way}, or cut them into different folders"
            )


def _names(sources: Sequence[Source]) -> list[str]:
    """A name for each scene: its stem, behind its folder's where stems are the same."""
    stems = Counter(source.stem for source in sources)
    names = []
    for source in sources:
        name = source.stem
        if stems[name] > 1 and isinstance(source, Path):
            name = f"{source.absolute().parent.name}.{name}"
        names.append(name.lstrip(".")[:NAME] or "scene")
    for name, count in Counter(names).items():
        if count > 1:
            pairs = zip(sources, names, strict=True)
            same = " and ".join(str(s) for s, n in pairs if n == name)
            raise ValueError(
                f"got {same}, whose tiles would have the same names, expected "
                "different ones: rename a scene or its folder"
            )
    return names


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder such as a .gdb."""
    if path.is_dir():
        parts = sorted(p for p in path.rglob("*") if p.is_file())
        text = "".join(f"{p.relative_to(path)} {digest(p)}\n" for p in parts)
        return hashlib.sha256(text.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Finished rows to rasters: cloud-optimised GeoTIFFs on the grid of the scene.

Rows go to a plain GeoTIFF first, because a COG wants its overviews before its pixels.
"""

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict import geo
from crossearth_jax.predict.judge import Judge
from crossearth_jax.predict.map_tags import PIXELS, UNIT
from crossearth_jax.predict.resample import ReadValues, Span, nearest, resampled
from crossearth_jax.predict.scene import STRIP, Scene, grid_part
from crossearth_jax.predict.strip import Block
from crossearth_jax.predict.tiles import Tile
from crossearth_jax.system.escape import terminal, xml_text

ROWS = 16  # of a strip in the plain file
TAG = 4_000  # characters of a tag
BLOCK = 512  # tile of a COG, pixels


@dataclass(frozen=True)
class Layer:
    """One raster of a map.

    Attributes:
      suffix: of the file's stem.
      bands: their names.
      dtype: NumPy's name.
      nodata: value of pixels without data.
      overview: GDAL's name of the resampling.
      encode: block → [bands, r, W].
      half: floating-point numbers of 16 bits in the COG; the plain file has 32, since
        newer GDALs make no overviews of a file that has 16 already.
      unit: value that means 1.
    """

    suffix: str
    bands: tuple[str, ...]
    dtype: str
    nodata: float | int
    overview: str
    encode: Callable[[Block], np.ndarray]
    half: bool = False
    unit: int = 1


def label_layer() -> Layer:
    """Class ids."""
    return Layer(
        "", ("class",), "uint8", IGNORE, "mode", lambda block: block.labels()[None]
    )


def probability_layer(names: Sequence[str], kind: str) -> Layer:
    """A band per class: "float16", or "uint8" in 250ths."""

    def encode(block: Block) -> np.ndarray:
        return np.moveaxis(block.probabilities(), 2, 0)

    if kind == "float16":
        return Layer(
            "_probabilities", tuple(names), "float32", np.nan, "average", encode, True
        )
    return Layer(
        "_probabilities",
        tuple(names),
        "uint8",
        IGNORE,
        "average",
        lambda block: _in_units(encode(block)),
        unit=UNIT,
    )


def confidence_layer() -> Layer:
    """Probability of the class that was chosen, in 250ths."""
    return Layer(
        "_confidence",
        ("confidence",),
        "uint8",
        IGNORE,
        "average",
        lambda block: _in_units(block.probabilities().max(2)[None]),
        unit=UNIT,
    )


def trust_layer(judge: Judge) -> Layer:
    """Calibrated chance that the class is right, in 250ths."""

    def encode(block: Block) -> np.ndarray:
        chance = np.where(block.valid, judge.chance(block.scores), np.nan)
        return _in_units(chance[None])

    return Layer("_trust", ("trust",), "uint8", IGNORE, "average", encode, unit=UNIT)


def _in_units(probabilities: np.ndarray) -> np.ndarray:
    known = np.isfinite(probabilities)
    scaled = np.where(known, probabilities, 0) * UNIT
    return np.where(known, scaled.round(), IGNORE).astype(np.uint8)


# ---- rows ---------------------------------------------------------------------------


@contextmanager
def row_writer(
    layers: Mapping[Path, Layer], grid: Any
) -> Iterator[Callable[[Block], None]]:
    """Yields a function that writes finished rows into plain GeoTIFFs, one per layer.

    Args:
      layers: what to write, by file.
      grid: rasterio dataset with the extent, size and coordinate system.
    """
    rasterio = geo.needed("rasterio")
    window = geo.needed("rasterio.windows").Window
    with ExitStack() as stack, geo.quiet():
        files = [
            (
                stack.enter_context(rasterio.open(path, "w", **_plain(layer, grid))),
                layer,
            )
            for path, layer in layers.items()
        ]

        def write(block: Block) -> None:
            rows, width = block.valid.shape
            for file, layer in files:
                values = layer.encode(block)
                with geo.written(file.name):
                    file.write(values, window=window(0, block.top, width, rows))

        yield write


def _plain(layer: Layer, grid: Any) -> dict[str, Any]:
    """Profile of the plain file."""
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(layer.bands),
        "dtype": layer.dtype,
        "nodata": layer.nodata,
        "crs": grid.crs,
        "blockysize": ROWS,
        "compress": "lzw",
        "bigtiff": "if_safer",
    }
    if not grid.transform.is_identity:
        profile["transform"] = grid.transform
    return profile


# ---- maps ---------------------------------------------------------------------------


def write_map(
    plain: Path,
    target: Path,
    layer: Layer,
    *,
    scene: Scene,
    tile: Tile | None,
    classes: ClassSet,
    tags: Mapping[str, str],
) -> None:
    """Turns a plain file into a COG on the grid of the source.

    Args:
      plain: written by `row_writer`; gets names, colours and tags.
      target: the COG.
      layer: what it holds.
      scene: whose pixels it gets; the plain file may have others.
      tile: the part of the scene that it is; None is all.
      classes: names and colours.
      tags: provenance.

    Raises:
      OSError: the target cannot be written in full, as on a full disk.
    """
    rasterio = geo.needed("rasterio")
    is_label, source = layer.suffix == "", scene.source
    tile = tile or Tile(0, 0, source.height, source.width)
    with geo.quiet(), geo.written(target):
        if scene.is_resampled:
            fine = plain.with_name(f"fine{layer.suffix}.tif")
            _on_source_pixels(plain, fine, layer, scene, tile)
            os.replace(fine, plain)
        if is_label:
            tags = {**tags, PIXELS: json.dumps(_counts(plain, classes))}
        with rasterio.open(plain, "r+") as file:
            file.descriptions = tuple(map(terminal, layer.bands))
            file.update_tags(**tags)
            if layer.unit != 1:
                file.scales = (1 / layer.unit,) * file.count
            _carry_points(file, source, tile)
            if is_label:
                file.write_colormap(1, colour_table(classes))
        with rasterio.open(plain) as file:
            # Halves only here: from a plain file of halves, which GDAL 3.11 and newer
            # call float16, GDAL makes no overviews.
            options = {"nbits": 16, "predictor": "no"} if layer.half else {}
            geo.needed("rasterio.shutil").copy(
                file,
                target,
                driver="COG",
                compress="deflate",
                blocksize=BLOCK,
                overview_resampling=layer.overview,
                bigtiff="if_safer",
                **options,
            )
        _check_whole(target)


def _counts(plain: Path, classes: ClassSet) -> dict[str, int]:
    """Pixels of each class, and without data."""
    counts = np.zeros(256, np.int64)
    with geo.needed("rasterio").open(plain) as file:
        for _, window in file.block_windows(1):
            counts += np.bincount(file.read(1, window=window).ravel(), minlength=256)
    found = dict(zip(classes.names, counts.tolist(), strict=False))
    return {**found, "nodata": int(counts[IGNORE])}


def write_class_names(target: Path, classes: ClassSet) -> None:
    """Writes the sidecar file of a class map, see `class_names_xml`."""
    target.write_text(class_names_xml(classes), encoding="utf-8")


def _carry_points(file: Any, source: Any, tile: Tile) -> None:
    """Ground control points and RPCs of the source, counted from the tile's corner."""
    points, crs = source.gcps
    if source.crs is None and points:
        point = geo.needed("rasterio.control").GroundControlPoint
        file.gcps = (
            [point(p.row - tile.top, p.col - tile.left, p.x, p.y, p.z) for p in points],
            crs,
        )
    if source.rpcs is not None:
        rpcs = copy.copy(source.rpcs)
        rpcs.line_off -= tile.top
        rpcs.samp_off -= tile.left
        file.rpcs = rpcs


def _on_source_pixels(
    plain: Path, target: Path, layer: Layer, scene: Scene, tile: Tile
) -> None:
    """Part of a resampled scene to the pixels of its source, nodata exactly its.

    Classes are those of the nearest pixel, other layers bilinear.
    """
    rasterio = geo.needed("rasterio")
    window = geo.needed("rasterio.windows").Window
    corner, columns = scene.on_grid(tile), tile.spans[1]
    sizes = (scene.grid.height, scene.grid.width), scene.source.shape
    with (
        rasterio.open(plain) as file,
        rasterio.open(
            target, "w", **_plain(layer, grid_part(scene.source, tile))
        ) as fine,
    ):

        def read(rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
            (top, bottom), (left, right) = rows, columns
            place = left - corner.left, top - corner.top, right - left, bottom - top
            values = np.moveaxis(file.read(window=window(*place)), 0, 2)
            known = np.isfinite(values) & (values != layer.nodata)
            return values, known.all(2)

        for start in range(0, tile.height, STRIP):
            stop = min(start + STRIP, tile.height)
            rows = tile.top + start, tile.top + stop
            if layer.suffix:
                values, _ = resampled(read, *sizes, rows, columns)
                values = values if layer.half else values.round()
            else:
                values = _nearest_values(read, *sizes, rows, columns)
            values[~scene.values.read_part(rows, columns)[1]] = layer.nodata
            values = np.moveaxis(values, 2, 0).astype(layer.dtype)
            fine.write(values, window=window(0, start, tile.width, stop - start))


def _nearest_values(
    read: ReadValues,
    size: tuple[int, int],
    wanted: tuple[int, int],
    rows: Span,
    columns: Span,
) -> np.ndarray:
    down = nearest(size[0], wanted[0], *rows)
    along = nearest(size[1], wanted[1], *columns)
    first = int(down[0]), int(along[0])
    values, _ = read((first[0], int(down[-1]) + 1), (first[1], int(along[-1]) + 1))
    return values[down - first[0]][:, along - first[1]]


def _check_whole(path: Path) -> None:
    """Decodes every tile of every level: GDAL may lose an error when it closes a file.

    Raises:
      OSError: the file is not whole.
    """
    rasterio = geo.needed("rasterio")
    with rasterio.open(path) as file:
        for level in (None, *range(len(file.overviews(1)))):
            extra = {} if level is None else {"overview_level": level}
            with rasterio.open(path, **extra) as view:
                for _, window in view.block_windows(1):
                    view.read(window=window)


def colour_table(classes: ClassSet) -> dict[int, tuple[int, int, int, int]]:
    """Colours by class id; nodata is transparent."""
    table = {k: (*colour, 255) for k, colour in enumerate(classes.palette)}
    return table | {IGNORE: (0, 0, 0, 0)}


def class_names_xml(classes: ClassSet) -> str:
    """GDAL's sidecar file: category names, and an attribute table with the colours.

    GeoTIFF has no place for class names; GDAL and QGIS read them from here.
    """
    categories = "".join(f"<Category>{xml_text(n)}</Category>" for n in classes.names)
    # Name, type (0 integer, 2 text) and usage (5 value, 2 name, 6 to 8 colours).
    fields = ("Value", 0, 5), ("Class", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)
    columns = "".join(
        f'<FieldDefn index="{i}"><Name>{name}</Name><Type>{kind}</Type>'
        f"<Usage>{usage}</Usage></FieldDefn>"
        for i, (name, kind, usage) in enumerate(fields)
    )
    rows = "".join(
        f'<Row index="{k}">'
        + "".join(f"<F>{xml_text(value)}</F>" for value in (k, name, *colour))
        + "</Row>"
        for k, (name, colour) in enumerate(
            zip(classes.names, classes.palette, strict=True)
        )
    )
    return (
        '<PAMDataset><PAMRasterBand band="1">'
        f"<CategoryNames>{categories}</CategoryNames>"
        f'<GDALRasterAttributeTable tableType="thematic">{columns}{rows}'
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>\n"
    )


def tags_of(about: Mapping[str, Any], classes: ClassSet) -> dict[str, str]:
    """Provenance as GeoTIFF tags, other values than text in JSON."""
    named = {**about, "classes": dict(enumerate(classes.names))}
    return {
        # GDAL keeps tags in XML, which has no control characters.
        f"CROSSEARTH_{key.upper()}": terminal(v, TAG)
        if isinstance(v, str)
        else json.dumps(v)
        for key, v in named.items()
    }

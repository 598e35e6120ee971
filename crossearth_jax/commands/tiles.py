"""`crossearth tiles SCENE… --labels FILE… --out DIR`: scenes and polygons to tiles."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.commands.part import part_of
from crossearth_jax.commands.predict_inputs import find_sources
from crossearth_jax.commands.values import count, numbers, pixels
from crossearth_jax.predict import geo
from crossearth_jax.tiles.make import make_tiles
from crossearth_jax.tiles.settings import SPLITS, LabelSettings, TileSettings

MOST_THREADS = 8

EPILOG = """\
examples:
  crossearth tiles a.tif --labels houses.gpkg --burn building --bands 3,2,1 \\
      --scale 0,4000 --out tiles
  crossearth tiles scenes/*.tif --labels cover.gpkg --attribute kind --area hull \\
      --split scenes --out tiles

A label raster has class ids; its nearest pixel counts, and what it does not cover is
ignored. docs/own_scenes.md walks the whole way to a map.
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; an error of the user's input becomes one line."""
    stopped = "stopped; the same command goes on from here"
    return guarded(run, tiles_parser().parse_args(argv), stopped)


def run(options: argparse.Namespace) -> None:
    """Cuts the tiles, or what is missing of them."""
    for library in ("rasterio", "geopandas", "pyogrio"):
        geo.needed(library)
    make_tiles(
        find_sources(options.scenes),
        options.labels,
        options.out,
        asked_of(options),
        part=part_of(options.part),
        workers=options.workers or _cores(),
    )


def asked_of(options: argparse.Namespace) -> TileSettings:
    """What the options ask for.

    Raises:
      ValueError: they do not fit together.
    """
    labels = LabelSettings(
        layer=options.layer,
        where=options.where,
        attribute=options.attribute,
        burn=options.burn,
        order=options.order,
        buffer=options.buffer,
        background=options.background,
        area=options.area,
        all_touched=options.all_touched,
        edge_ignore=options.edge_ignore,
        strict=options.strict,
    )
    return TileSettings(
        size=options.size,
        stride=options.stride or options.size,
        bands=options.bands,
        scale=options.scale,
        percentiles=options.percentiles,
        gsd=options.gsd,
        keep_bits=options.keep_bits,
        split=options.split,
        val=options.val,
        seed=options.seed,
        keep_empty=options.keep_empty,
        labels=labels,
    )


def tiles_parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = make_parser(
        "crossearth tiles",
        "Cuts scenes and their labels into DIR/{train,val}/{images,labels}, with "
        "classes.yaml,\nmanifest.json and a contact sheet. Run again, it goes on.",
        EPILOG,
    )
    add = parser.add_argument
    add(
        "scenes",
        nargs="+",
        metavar="SCENE",
        help="raster, folder, pattern or address; @FILE has one of them a line",
    )
    add(
        "--labels",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help="GeoPackage, GeoJSON, Shapefile or GeoParquet in any coordinate system, "
        "or a raster of class ids",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="gets the tiles")
    _add_labels(parser)
    _add_images(parser)
    _add_split(parser)
    _add_work(parser)
    return parser


def _add_labels(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("labels").add_argument
    add("--layer", metavar="NAME", help="of files with several")
    add("--where", metavar="SQL", help="features to take, such as \"kind = 'roof'\"")
    add("--attribute", metavar="COLUMN", help="column that holds the class")
    add("--burn", metavar="CLASS", help="one class for all features")
    add(
        "--order",
        type=_words,
        default=(),
        metavar="CLASS,…",
        help="from below to above, where polygons overlap; others lie below, and "
        "later features cover earlier ones",
    )
    add(
        "--buffer",
        type=float,
        metavar="METRES",
        help="width of lines to either side",
    )
    add(
        "--area",
        default="scene",
        metavar="scene|hull|FILE",
        help="what is labelled: whole scenes (default), the hull of the polygons, or "
        "polygons of a file; outside, pixels are ignored",
    )
    add(
        "--background",
        default="background",
        metavar="NAME",
        help="class of what nothing covers in that area (default background)",
    )
    add(
        "--no-background",
        dest="background",
        action="store_const",
        const=None,
        help="ignore what nothing covers",
    )
    add(
        "--all-touched",
        action="store_true",
        help="polygons take every pixel that they touch, not only those whose middle "
        "they cover",
    )
    add(
        "--edge-ignore",
        type=pixels,
        default=0,
        metavar="PX",
        help="ignore pixels this close to an edge between classes",
    )
    add(
        "--strict",
        action="store_true",
        help="refuse invalid geometries instead of repairing them",
    )


def _add_images(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images")
    add = group.add_argument
    add("--size", type=count, default=512, metavar="PX", help="of a tile (512)")
    add(
        "--stride",
        type=count,
        metavar="PX",
        help="from tile to tile; default the size, smaller ones overlap",
    )
    add(
        "--bands",
        type=_bands,
        metavar="R,G,B",
        help="band numbers from 1, or one for grey; default the file's own colours",
    )
    scaling = group.add_mutually_exclusive_group()
    scaling.add_argument(
        "--scale",
        type=_low_high,
        metavar="LOW,HIGH",
        help="values that become 0 and 255",
    )
    scaling.add_argument(
        "--percentiles",
        type=_low_high,
        metavar="LOW,HIGH",
        help="the same from each band of all scenes together; default 2,98, and none "
        "for 8 bits",
    )
    add("--gsd", type=float, metavar="METRES", help="resample to this pixel size")
    add(
        "--keep-bits",
        action="store_true",
        help="tiles hold the scenes' values; training scales them",
    )


def _add_split(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("train and val").add_argument
    add(
        "--split",
        choices=SPLITS,
        default="blocks",
        help="blocks (default) of each scene, with a gap between the two; whole "
        "scenes; or none",
    )
    add(
        "--val",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the tiles for validation (0.2)",
    )
    add("--seed", type=int, default=0, help="of the split and of empty tiles (0)")
    add(
        "--keep-empty",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of the training tiles with nothing but background (0.1); val keeps all",
    )


def _add_work(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("work").add_argument
    add(
        "--workers",
        type=count,
        metavar="N",
        help=f"threads; default one for each core, at most {MOST_THREADS}",
    )
    add(
        "--part",
        metavar="I/N",
        help="the I-th of N shares of the tiles; in a Slurm array `auto`, in an "
        "Indexed Job of Kubernetes /N; the last to end writes the manifest",
    )


def _cores() -> int:
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _bands(text: str) -> tuple[int, ...]:
    return numbers(text, int, (3, 1), "3,2,1")


def _low_high(text: str) -> tuple[float, float]:
    return numbers(text, float, (2,), "0,4000")

"""The command line of `crossearth predict`."""

import argparse
import re

from crossearth_jax.commands.parser import add_palette, add_step, make_parser
from crossearth_jax.commands.values import count, numbers, pixels
from crossearth_jax.predict import tta
from crossearth_jax.predict.outputs import Wanted
from crossearth_jax.predict.scene import Reading
from crossearth_jax.run.trained import PRECISIONS


def wanted_of(options: argparse.Namespace) -> Wanted:
    """What the options ask for."""
    return Wanted(
        reading=reading_of(options),
        blend=options.blend,
        probabilities=options.probabilities,
        confidence=options.confidence,
        specks=options.sieve if options.vector else 0,
        quicklook=options.quicklook,
        trust=options.trust,
    )


def reading_of(options: argparse.Namespace) -> Reading:
    """How the options of `add_reading` have rasters read."""
    return Reading(
        bands=options.bands,
        scale=options.scale,
        percentiles=options.percentiles or (2.0, 98.0),
        nodata=options.nodata,
        gsd=options.gsd,
        ignore_alpha=options.ignore_alpha,
    )


def words(text: str | None) -> tuple[str, ...]:
    """Comma-separated words."""
    return () if text is None else tuple(text.split(","))


def _three_bands(text: str) -> tuple[int, int, int]:
    return numbers(text, int, (3,), "4,3,2")


def _low_high(text: str) -> tuple[float, float]:
    return numbers(text, float, (2,), "0,3000")


def _cluster(text: str) -> str:
    """An address of Ray's; scenes that follow --ray are none."""
    if text in ("", "auto", "local") or re.fullmatch(r"(ray://)?[^/\s]+:\d+", text):
        return text
    raise argparse.ArgumentTypeError(
        f"got {text}, expected HOST:PORT, ray://HOST:PORT, auto or local: put --ray "
        "without an address behind the inputs"
    )


def predict_parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = make_parser(
        "crossearth predict",
        "Class maps of rasters of any size, on the grid of each raster.",
    )
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="MODEL",
        help="workdir of a run, converted file, mmseg checkpoint (.pth), or a name of "
        "`crossearth models`",
    )
    add_step(parser)
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="raster, folder, pattern, STAC item, or address such as https://…, "
        "s3://…, /vsizip/…; @FILE has one of them a line",
    )
    add("--out", required=True, help="folder, or for one input a .tif")
    add(
        "--block",
        type=count,
        metavar="PIXELS",
        help="map scenes larger than this in blocks, which --part and processes share",
    )
    add("--asset", metavar="KEY", help="of STAC items; default visual")
    add("--overwrite", action="store_true", help="replace maps made differently")
    add(
        "--keep-folders",
        action="store_true",
        help="maps in the folders of their scenes, below the one that all share",
    )
    add_palette(parser)
    _add_released(parser)
    add_reading(parser)
    _add_scoring(parser)
    _add_results(parser)
    return parser


def _add_released(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("a released checkpoint").add_argument
    add("--classes", metavar="FILE", help="class file, or a known set such as loveda")
    add(
        "--backbone",
        metavar="NAME",
        help="name or converted file, where the checkpoint leaves its backbone out",
    )
    add(
        "--crop",
        type=count,
        metavar="PIXELS",
        help="of a window; default the benchmark's or what positions show, else 512",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds what `reading_of` reads."""
    reading = parser.add_argument_group("what the model sees")
    add = reading.add_argument
    add("--bands", type=_three_bands, metavar="R,G,B", help="band numbers from 1")
    add(
        "--scale",
        type=_low_high,
        metavar="LOW,HIGH",
        help="values that become 0 and 255",
    )
    add(
        "--percentiles",
        type=_low_high,
        metavar="LOW,HIGH",
        help="the same from each band of the scene; default 2,98, not for 8 bits",
    )
    add("--nodata", type=float, help="value without data, besides the file's own")
    add(
        "--ignore-alpha",
        action="store_true",
        help="a band marked as alpha masks nothing, as when it is near infrared",
    )
    add("--gsd", type=float, metavar="METRES", help="resample to this pixel size")


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    scoring = parser.add_argument_group("scoring")
    add = scoring.add_argument
    add("--blend", choices=("flat", "cosine"), default="flat", help="of overlaps")
    add("--stride", type=count, help="step between windows; default the run's")
    add("--batch", type=count, help="windows per call; default the run's eval.batch")
    add("--tta", metavar="KINDS", help=f"comma-separated: {', '.join(tta.KINDS)}")
    add("--precision", choices=sorted(PRECISIONS), help="default the run's")
    add(
        "--part",
        metavar="I/N",
        help="the I-th of N shares of the inputs; in a Slurm array `auto`, in an "
        "Indexed Job of Kubernetes /N",
    )
    add(
        "--ray",
        nargs="?",
        const="",
        type=_cluster,
        metavar="ADDRESS",
        help="workers on a Ray cluster share all scenes and blocks: HOST:PORT, "
        "ray://HOST:PORT, or local; default the one that runs here, else local",
    )
    add(
        "--ray-workers",
        type=count,
        metavar="N",
        help="default one per GPU of the cluster, or per node without GPUs",
    )
    add(
        "--distributed",
        action="store_true",
        help="share the inputs with the other processes of this job",
    )
    add("--coordinator", metavar="HOST:PORT", help="of process 0, if it is not found")
    add("--hosts", type=int, metavar="N", help="number of processes")
    add("--host", type=int, metavar="I", help="number of this one, from 0")


def _add_results(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("more results")
    add = results.add_argument
    add(
        "--probabilities",
        nargs="?",
        const="uint8",
        choices=("uint8", "float16"),
        help="a band per class: 250ths (default) or float16",
    )
    add("--confidence", action="store_true", help="of the chosen class, in 250ths")
    add(
        "--trust",
        action="store_true",
        help="calibrated chance that the class is right, in 250ths, and the accuracy "
        "to expect, in the summary; docs/trust.md",
    )
    add("--vector", metavar="KIND|PATH", help="polygons: gpkg, geojson or a path")
    add(
        "--sieve",
        type=pixels,
        default=8,
        metavar="PIXELS",
        help="smaller areas get no polygon; default 8",
    )
    add("--quicklook", action="store_true", help="PNG of scene and classes")
    add(
        "--mosaic",
        choices=("vrt",),
        help="one virtual raster over all maps, which must share one grid",
    )
    add(
        "--zones",
        metavar="FILE",
        help="polygons, in which the areas of the classes are summed up as CSV and "
        "GeoPackage",
    )
    add("--timing", action="store_true", help="report where the time went")

"""`crossearth predict CHECKPOINT INPUT… --out DIR|FILE`: maps of real scenes."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TimeRemainingColumn

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.options import find_scenes
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.predict import geo, tta
from crossearth_jax.predict.files import (
    Done,
    Wanted,
    is_done,
    predict_file,
)
from crossearth_jax.predict.predictor import load
from crossearth_jax.predict.scene import Reading
from crossearth_jax.predict.vector import DRIVERS
from crossearth_jax.run.trained import PRECISIONS
from crossearth_jax.system import hosts
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import error_line


def main(argv: Sequence[str]) -> int:
    """Runs the command; an error of the user's input becomes one line."""
    stopped = "stopped; the same command makes the rest"
    return guarded(run, _parser().parse_args(argv), stopped)


def run(options: argparse.Namespace) -> int:
    """Makes this process's share of the maps; 1 if some could not be made."""
    set_up_compiler()
    geo.needed("rasterio")
    if options.vector:
        geo.needed("geopandas")
        geo.needed("pyogrio")
    scenes = find_scenes(options.inputs)
    jobs = plan_jobs(scenes, options.out, options.vector)
    if options.distributed or options.coordinator or hosts.expected():
        hosts.join(options.coordinator, options.hosts, options.host)
    wanted = _wanted(options)
    predictor = load(
        options.checkpoint,
        precision=options.precision,
        batch=options.batch,
        stride=options.stride,
        tta=_words(options.tta),
    )
    share = jobs[jax.process_index() :: jax.process_count()]
    # A map made with other options must stop the run now, not after hours.
    ready = [
        is_done(
            predictor, source, target, _for(wanted, vector), overwrite=options.overwrite
        )
        for source, target, vector in share
    ]
    failed = 0
    for done, (source, target, vector) in zip(ready, share, strict=True):
        if done:
            print(f"{source}: already there, {target}")
            continue
        try:
            with _progress(source.name) as progress:
                made = predict_file(
                    predictor, source, target, _for(wanted, vector), progress
                )
            _report(source, made, options.timing)
        except (ValueError, OSError) as error:
            if options.traceback or len(jobs) == 1:
                raise
            failed += 1
            print(f"left out: {error_line(error)}", file=sys.stderr, flush=True)
    if failed:
        print(f"{failed} of {len(share)} scenes left out", file=sys.stderr)
    return 1 if failed else 0


Job = tuple[Path, Path, Path | None]  # scene, class map, polygons


def plan_jobs(scenes: Sequence[Path], out: str, vector: str | None) -> list[Job]:
    """The maps to make of each scene.

    Args:
      scenes: files.
      out: a folder, or for a single scene a .tif.
      vector: "gpkg" or "geojson", or for a single scene a path of that kind.

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
        targets = [Path(out) / f"{scene.stem}.tif" for scene in scenes]
    if len(set(targets)) < len(targets):
        repeated = next(t for t in targets if targets.count(t) > 1)
        raise ValueError(
            f"got several scenes named {repeated.stem}, expected different names: map "
            "them into different folders"
        )
    return [
        (scene, target, _vector_path(vector, target, len(scenes)))
        for scene, target in zip(scenes, targets, strict=True)
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


def _for(wanted: Wanted, vector: Path | None) -> Wanted:
    return replace(wanted, vector=vector)


def _report(source: Path, done: Done, timing: bool) -> None:
    speed = done.pixels / 1e6 / done.seconds
    names = ", ".join(str(path) for path in done.files if path.suffix != ".xml")
    print(f"{source}: {names} ({done.seconds:.1f} s, {speed:.2f} MP/s)", flush=True)
    if timing:
        read, write = done.waiting.read, done.waiting.write
        share, rest = (read + write) / done.scoring, done.seconds - done.scoring
        print(
            f"  scoring {done.scoring:.1f} s, of which waiting for files "
            f"{100 * share:.1f} % (read {read:.1f} s, write {write:.1f} s); "
            f"finishing {rest:.1f} s"
        )


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda rows, height: None
        return
    columns = "{task.description}", BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda rows, height: bar.update(task, completed=rows, total=height)


# ---- options ------------------------------------------------------------------------


def _wanted(options: argparse.Namespace) -> Wanted:
    reading = Reading(
        bands=options.bands,
        scale=options.scale,
        percentiles=options.percentiles,
        nodata=options.nodata,
        gsd=options.gsd,
    )
    return Wanted(
        reading=reading,
        blend=options.blend,
        probabilities=options.probabilities,
        confidence=options.confidence,
        specks=options.sieve if options.vector else 0,
        quicklook=options.quicklook,
    )


def _words(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(text.split(","))


def _three_bands(text: str) -> tuple[int, int, int]:
    red, green, blue = (int(band) for band in text.split(","))
    return red, green, blue


def _low_high(text: str) -> tuple[float, float]:
    low, high = (float(value) for value in text.split(","))
    return low, high


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "crossearth predict",
        "Class maps of rasters of any size, on the grid of each raster.",
    )
    add = parser.add_argument
    add("checkpoint", help="workdir of a run, or its newest checkpoint folder")
    add("inputs", nargs="+", metavar="INPUT", help="raster, folder or pattern")
    add("--out", required=True, help="folder, or for one input a .tif")
    add("--overwrite", action="store_true", help="replace maps made differently")
    _add_reading(parser)
    _add_scoring(parser)
    _add_results(parser)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
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
        default=(2.0, 98.0),
        metavar="LOW,HIGH",
        help="the same from each band of the scene; default 2,98, not for 8 bits",
    )
    add("--nodata", type=float, help="value without data, besides the file's own")
    add("--gsd", type=float, metavar="METRES", help="resample to this pixel size")


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    scoring = parser.add_argument_group("scoring")
    add = scoring.add_argument
    add("--blend", choices=("flat", "cosine"), default="flat", help="of overlaps")
    add("--stride", type=int, help="step between windows; default the run's")
    add("--batch", type=int, help="windows per call; default the run's eval.batch")
    add("--tta", metavar="KINDS", help=f"comma-separated: {', '.join(tta.KINDS)}")
    add("--precision", choices=sorted(PRECISIONS), help="default the run's")
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
    add("--vector", metavar="KIND|PATH", help="polygons: gpkg, geojson or a path")
    add(
        "--sieve",
        type=int,
        default=8,
        metavar="PIXELS",
        help="smaller areas get no polygon; default 8",
    )
    add("--quicklook", action="store_true", help="PNG of scene and classes")
    add("--timing", action="store_true", help="report where the time went")
